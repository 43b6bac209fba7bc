"""What is edited while measuring: synthetic photos, all different and always the same, and their instructions."""

import io
from functools import lru_cache

import msgspec
import numpy as np
from PIL import Image

from dimrt.bundle import Bundle

SIZE = (1632, 1224)
"""Width and height of the photos: 2 megapixels, what a camera of a device gives without its fine detail."""
INSTRUCTIONS = ("make it warmer", "make it cooler")
PROMPT = "a red ball on a green lawn"
"""For bundles that paint from text alone."""
RANDOM_PLAN = 255
"""Tokens of a plan where the model's weights are random, and with them the plan's end: what the published plans have in
the mean."""
QUALITY = 90
KEPT = 8
"""Photos that are kept, so that making them is no part of a run that goes round in a few."""


@lru_cache(maxsize=KEPT)
def photo(number: int) -> bytes:
    """A JPEG of soft colours with a few discs, another one for each number."""
    width, height = SIZE
    random = np.random.Generator(np.random.PCG64(number))
    coarse = random.uniform(40, 215, (6, 8, 3)).astype(np.uint8)
    picture = np.asarray(Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)).copy()
    y, x = np.ogrid[:height, :width]
    for _ in range(5):
        centre_x, centre_y = random.uniform(0, width), random.uniform(0, height)
        radius = random.uniform(0.05, 0.2) * height
        picture[(x - centre_x) ** 2 + (y - centre_y) ** 2 < radius**2] = random.integers(0, 255, 3)
    grain = random.integers(-6, 7, (height, width, 1))
    noisy = np.clip(picture.astype(np.int16) + grain, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def instructions(number: int) -> tuple[str, str]:
    """Of the first and the second edit of a photo: they change places, so that neither has the harder one."""
    first, second = INSTRUCTIONS[number % 2], INSTRUCTIONS[1 - number % 2]
    return first, second


def is_random(bundle: Bundle) -> bool:
    """Whether the bundle's weights are random numbers: then its plans, and when they end, mean nothing."""
    return bundle.manifest.provenance.random_seed is not None


def unending(bundle: Bundle) -> Bundle:
    """The bundle with a designer that goes on writing until the limit of tokens: no token ends its plan."""
    designer = bundle.manifest.designer
    tokens = msgspec.structs.replace(designer.tokens, stop=())
    manifest = msgspec.structs.replace(bundle.manifest, designer=msgspec.structs.replace(designer, tokens=tokens))
    return Bundle(bundle.path, manifest, bundle.digest)
