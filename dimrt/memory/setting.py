"""What an edit is run with, as far as its memory goes, and the named dimensions of every graph that follow."""

from dataclasses import dataclass
from math import ceil

from dimrt.backends.base import Residency
from dimrt.language import CACHE_STEP, PREFILL_ROWS
from dimrt.manifest import Manifest
from dimrt.vision import condition_size, window_order

TEXT_TOKENS = 256
"""Of system turn, request and instruction: the published request has about 190."""
PLAN_TOKENS = 512
"""Of a plan, unless said otherwise: the published examples have 200 to 400."""


@dataclass(frozen=True)
class Setting:
    """What is asked for: the painter's picture (width, height), tokens of the plan, whether guidance is on, the rows of
    the cache (None: as many as the turn needs), tokens read in one run, which roles are loaded together, which graphs
    are loaded at all (None: all that the bundle has), and the side of the autoencoder's tiles (None: none).
    """

    size: tuple[int, int]
    plan_tokens: int = PLAN_TOKENS
    guided: bool = True
    length: int | None = None
    piece: int = PREFILL_ROWS
    residency: Residency = "all"
    graphs: tuple[str, ...] | None = None
    tile: int | None = None


def axes(manifest: Manifest, setting: Setting) -> dict[str, dict[str, int]]:
    """Every named dimension of every graph in a setting."""
    vision = manifest.designer.vision
    tokens = windows = 0
    if manifest.painter.task == "edit":
        width, height = condition_size(vision)
        source, order = window_order((height // vision.patch_size, width // vision.patch_size), vision)
        tokens, windows = len(order), len(source) // (vision.window_size // vision.patch_size) ** 2
    text = min(tokens + TEXT_TOKENS + setting.plan_tokens, manifest.designer.language.max_positions)
    rows = min(text, manifest.painter.max_condition)
    factor = manifest.resolution.latent_factor
    batch = 2 if setting.guided else 1
    pixels = {"width": setting.size[0], "height": setting.size[1]}
    latent = {name: side // factor for name, side in pixels.items()}
    tile = {name: min(side, setting.tile or side) for name, side in pixels.items()}
    patches = windows * (vision.window_size // vision.patch_size) ** 2
    return {
        "vision": {"windows": max(windows, 1), "patches": patches, "tokens": tokens},
        "language": {
            "tokens": min(setting.piece, text),
            "rows": 1,
            "length": setting.length or ceil(text / CACHE_STEP) * CACHE_STEP,
        },
        "connector": {"rows": rows},
        "context": {"batch": batch, "rows": rows},
        "step": {"batch": batch, "rows": rows, **latent},
        "encode": tile,
        "decode": {name: side // factor for name, side in tile.items()},
    }
