"""A picture in overlapping tiles, so that a graph takes the memory of one tile, and one picture again without a seam.

Lengths are in cells, the pixels of the latent. Tiles are of one size, so that one engine serves them all, and lie
evenly. Where two overlap, the picture goes from one to the other along a ramp: the graph's convolutions see an edge
where a tile ends, and its attention sums over a tile instead of the picture, so that neighbours differ a little where
they meet (benchmarks/tiles.py measures by how much).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Size = tuple[int, int]
"""Height and width."""
LEAST = 8
"""Cells of the smallest tile: of one with fewer, most is overlap."""


@dataclass(frozen=True)
class Grid:
    """How a picture is cut: its size and that of its tiles, height and width in cells."""

    whole: Size
    tile: Size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Top and left of each tile, in rows."""
        tops, lefts = (starts(*sides) for sides in zip(self.whole, self.tile, strict=True))
        return ((top, left) for top in tops for left in lefts)


def overlap(tile: int) -> int:
    """Cells that neighbours share at least: a quarter of a tile (measured in benchmarks/tiles.py)."""
    return max(tile // 4, 1)


def starts(length: int, tile: int) -> tuple[int, ...]:
    """Where tiles of one side begin so that they cover a length evenly; a length within a tile is one tile."""
    if length <= tile:
        return (0,)
    shared = overlap(tile)
    steps = -((tile - length) // (tile - shared))
    return tuple((2 * i * (length - tile) + steps) // (2 * steps) for i in range(steps + 1))


def side_of(length: int, count: int) -> int:
    """The smallest tile of which so many cover a length, in cells."""
    return next(tile for tile in range(2, length + 2) if len(starts(length, tile)) <= count)


def weights(length: int, tile: int, unit: int) -> dict[int, Floats]:
    """How much of each tile along one side is in the picture, by where the tile begins: float32 [tile * unit].

    At every sample they sum to one. Neighbours go over into each other in the middle of what they share, in half of
    `overlap`, by 3 u^2 - 2 u^3, which begins and ends level: neither the picture nor its slope jumps. What lies nearer
    to a tile's edge, where convolutions saw nothing beyond it, is left out.

    Args:
        unit: samples of the result in a cell.
    """
    begins = starts(length, tile)
    size = min(tile, length) * unit
    found = {begin: np.ones(size, np.float32) for begin in begins}
    width = max(overlap(tile) * unit / 2, 1)
    for left, right in pairwise(begins):
        shared = (left + tile - right) * unit
        ramp = np.clip((np.arange(shared) + 0.5 - (shared - width) / 2) / width, 0, 1)
        ramp = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
        found[left][size - shared :] *= 1 - ramp
        found[right][:shared] *= ramp
    return found


def in_tiles(run: Callable[[Floats], Floats], source: Floats, grid: Grid, units: Size) -> Floats:
    """What a graph makes of a picture, made tile by tile.

    Args:
        run: one tile [1, C, h, w] to its result [1, C', h', w'].
        source: float32 [1, C, H, W].
        grid: how it is cut.
        units: samples in a cell, of the source and of the result.

    Returns:
        float32 [1, C', H', W'].
    """
    reads, writes = units
    down, across = (weights(*sides, writes) for sides in zip(grid.whole, grid.tile, strict=True))
    tall, wide = grid.tile
    result: Floats | None = None
    for top, left in grid:
        made = run(source[:, :, top * reads : (top + tall) * reads, left * reads : (left + wide) * reads])
        if result is None:
            result = np.zeros((1, made.shape[1], grid.whole[0] * writes, grid.whole[1] * writes), np.float32)
        place = result[:, :, top * writes : (top + tall) * writes, left * writes : (left + wide) * writes]
        place += made * down[top][:, None] * across[left]
    assert result is not None
    return result
