"""Training pictures that are not scenes: crops of public-domain photographs and synthetic colour fields."""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dimrt.export.nano.scenes import Rng
from dimrt.export.nano.shapes import SIDE, value_noise

FOLDER = Path(__file__).with_name("photos")
Picture = NDArray[np.uint8]


@cache
def training_photos() -> tuple[Picture, ...]:
    """The shipped training photographs, uint8 [h,w,3], in the order of their file names."""
    return tuple(read_rgb(path) for path in sorted(FOLDER.glob("*.jpg")))


def read_rgb(path: Path) -> Picture:
    """A picture file as uint8 [h,w,3]."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def photo_crop(rng: Rng) -> Picture:
    """A random crop of a training photograph, squashed to 128 x 128, at times mirrored and with other colours."""
    photos = training_photos()
    photo = photos[int(rng.integers(len(photos)))]
    height, width = photo.shape[:2]
    share = rng.uniform(0.3, 1.0)
    tall = int(height * np.clip(share * rng.uniform(0.8, 1.25), 0.3, 1))
    wide = int(width * np.clip(share * rng.uniform(0.8, 1.25), 0.3, 1))
    top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
    crop = Image.fromarray(photo[top : top + tall, left : left + wide]).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    pixels = np.asarray(crop)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return _other_colours(rng, pixels) if rng.random() < 0.7 else np.ascontiguousarray(pixels)


def _other_colours(rng: Rng, pixels: Picture) -> Picture:
    """The same picture in another light: other channels, exposure, white balance and saturation."""
    values = pixels.astype(np.float32) / 255
    if rng.random() < 0.5:
        values = values[..., rng.permutation(3)]
    grey = values.mean(axis=2, keepdims=True)
    values = grey + (values - grey) * np.float32(rng.uniform(0.3, 1.8))
    values = np.clip(values, 0, 1) ** np.float32(np.exp(rng.uniform(-0.6, 0.6)))
    values = values * rng.uniform(0.75, 1.2, size=3).astype(np.float32)
    return np.clip(values * 255 + 0.5, 0, 255).astype(np.uint8)


def texture(rng: Rng) -> Picture:
    """A synthetic colour picture, uint8 [128,128,3]: overlapping discs ("dead leaves") or smooth colour clouds."""
    picture = _leaves(rng) if rng.random() < 0.6 else _clouds(rng)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def _leaves(rng: Rng) -> NDArray[np.float32]:
    picture = np.empty((SIDE, SIDE, 3), np.float32)
    picture[:] = rng.uniform(0, 255, 3)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    for radius in sorted(np.minimum(6 / (1 - rng.random(60)) ** 0.7, 60), reverse=True):
        y, x = rng.uniform(0, SIDE, 2)
        cover = np.clip(radius - np.hypot(rows - y, columns - x), 0, 1)[..., None]
        shade = 1 + ((columns - x) * rng.uniform(-1, 1) + (rows - y) * rng.uniform(-1, 1))[..., None] / (radius * 5)
        picture += (rng.uniform(0, 255, 3) * shade - picture) * cover
    return picture


def _clouds(rng: Rng) -> NDArray[np.float32]:
    cells, weights = (2, 4, 8, 16), (1.0, 0.6, 0.35, 0.2)
    light = value_noise(rng, SIDE, cells, weights) / sum(weights)
    tint = np.stack([value_noise(rng, SIDE, (1, 3), (1.0, 0.7)) for _ in range(3)], axis=-1) / 1.7
    light = (light - light.min()) / np.ptp(light)
    return light[..., None] * 180 + tint * rng.uniform(40, 200, 3) - rng.uniform(0, 80)
