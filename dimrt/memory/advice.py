"""Settings that would fit where the asked one doesn't."""

from collections.abc import Sequence
from dataclasses import replace

from dimrt.backends.base import Flavour
from dimrt.bundle import Bundle
from dimrt.manifest import Manifest
from dimrt.memory.count import Estimate, count_bytes
from dimrt.memory.setting import axes
from dimrt.tiles import LEAST, side_of

TILES = (2, 3, 4)
"""Numbers of tiles along a side that are tried where the whole picture doesn't fit."""
SMALLER = {
    "int8": {"vision": 0.52, "language": 0.52, "context": 0.52, "step": 0.52},
    "int4": {"language": 0.29, "context": 0.52, "step": 0.52},
}
"""Weights of a recipe as a share of float16's, for the graphs that it makes smaller."""


def ways_to_fit(bundle: Bundle, found: Estimate, flavour: Flavour) -> tuple[str, ...]:
    """Settings that would fit, the least loss first; one that costs more and saves no more is left out."""
    available, setting = found.available or 0, found.setting
    multiple, square = bundle.manifest.resolution.multiple, bundle.manifest.resolution.aspect == "square"
    options: list[tuple[str, Estimate]] = []
    phased = replace(setting, residency="phased")
    if setting.residency == "all":
        how = "--residency phased" if flavour == "onnxruntime" else 'residency = "phased" in the target'
        options.append((how, count_bytes(bundle, phased, flavour, available)))
    for length in (2048, 1024):
        needed = axes(bundle.manifest, replace(setting, length=None))["language"]["length"]
        if setting.length is not None and needed <= length < setting.length:
            shorter = replace(phased, length=length)
            options.append((f"phased with a cache of {length} rows", count_bytes(bundle, shorter, flavour, available)))
    for tile in tile_sides(bundle.manifest, setting.size, TILES[:1]):
        tiled = replace(phased, tile=tile)
        options.append((f"phased with --tile {tile}", count_bytes(bundle, tiled, flavour, available)))
    for share in () if square else (0.75, 0.5):
        width, height = (max(multiple, int(n * share) // multiple * multiple) for n in setting.size)
        smaller = replace(phased, size=(width, height))
        options.append((f"phased with a picture of {width}x{height}", count_bytes(bundle, smaller, flavour, available)))
    if bundle.manifest.recipe == "fp16" and flavour != "onnxruntime":
        half = count_bytes(bundle, phased, flavour, available)
        for recipe, shares in SMALLER.items():
            uses = tuple(replace(u, weights=int(u.weights * shares.get(u.graph, 1.0))) for u in half.uses)
            options.append((f"phased with a bundle exported by --{recipe}", replace(half, uses=uses)))
    least, lines = available + 1, []
    for name, other in options:
        if other.peak < least:
            least = other.peak
            lines.append(f"{name} takes {other.peak / 1e9:.1f} GB")
    return tuple(lines)


def tile_sides(manifest: Manifest, size: tuple[int, int], counts: Sequence[int], least: int = 0) -> list[int]:
    """Sides in pixels of tiles for pictures of a size; none where the autoencoder knows one size.

    Args:
        counts: of tiles along the picture's longer side.
        least: cells that an engine takes at least.
    """
    factor = manifest.resolution.latent_factor
    if any(isinstance(side, int) for side in manifest.graphs["decode"].inputs[0].shape[2:]):
        return []
    sides = [side_of(max(size) // factor, count) for count in counts]
    return [side * factor for side in sides if side >= max(least, LEAST)]
