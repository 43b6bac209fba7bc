"""Small tools on picture planes: box windows, block averages, enlargement of a part."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""

STRIP_PIXELS = 1 << 20
"""Full-size pixels worked on at a time."""


def unit(pixels: NDArray[Any]) -> int:
    """What one level (of 0 to 255) is in these pixels: 1 in uint8, 257 in uint16."""
    return 257 if pixels.dtype == np.uint16 else 1


def rounded(values: Floats, like: NDArray[Any]) -> NDArray[Any]:
    """Values in units of `like`'s type (uint8 or uint16), rounded half up and cut to its range."""
    return np.asarray(np.clip(values + np.float32(0.5), 0, 255 * unit(like))).astype(like.dtype)


def box_mean(planes: Floats, radius: int) -> Floats:
    """Mean over the window of (2 radius + 1) squared around each pixel, cut at the border; [h, w, ...] to the same."""
    result = planes.astype(np.float64)
    for axis in (0, 1):
        length = result.shape[axis]
        centre = np.arange(length)
        low, high = np.maximum(centre - radius, 0), np.minimum(centre + radius + 1, length)
        start = np.zeros_like(result.take([0], axis))
        total = np.concatenate([start, np.cumsum(result, axis=axis)], axis=axis)
        count = (high - low).reshape([-1 if index == axis else 1 for index in range(result.ndim)])
        result = (total.take(high, axis) - total.take(low, axis)) / count
    return result.astype(np.float32)


def block_mean(planes: Floats, block: int) -> Floats:
    """Mean over blocks of `block` squared; [h, w, c] to [ceil(h / block), ceil(w / block), c], the border repeated."""
    if block == 1:
        return planes
    height, width, channels = planes.shape
    padded = np.pad(planes, ((0, -height % block), (0, -width % block), (0, 0)), mode="edge")
    rows, columns = padded.shape[0] // block, padded.shape[1] // block
    means: Floats = padded.reshape(rows, block, columns, block, channels).mean(axis=(1, 3), dtype=np.float32)
    return means


def grow(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask [h, w] and its eight neighbours."""
    wide: NDArray[np.bool_] = mask.copy()
    wide[:, 1:] |= mask[:, :-1]
    wide[:, :-1] |= mask[:, 1:]
    tall: NDArray[np.bool_] = wide.copy()
    tall[1:] |= wide[:-1]
    tall[:-1] |= wide[1:]
    return tall


def enlarge(planes: Floats, size: tuple[int, int], part: Box) -> Floats:
    """The part `part` of the planes [h, w, c] after bilinear enlargement to `size` (width, height).

    Neighbouring parts join without a seam: samples are placed on the whole picture.
    """
    height, width = planes.shape[:2]
    left, top, right, bottom = part
    across, down = width / size[0], height / size[1]
    window = (left * across, top * down, right * across, bottom * down)
    target = (right - left, bottom - top)
    enlarged = [
        np.asarray(Image.fromarray(planes[..., index]).resize(target, Image.Resampling.BILINEAR, box=window))
        for index in range(planes.shape[2])
    ]
    return np.stack(enlarged, axis=-1)


def strips(box: Box) -> Iterator[Box]:
    """Cut a box into full-width strips of about `STRIP_PIXELS` pixels."""
    left, top, right, bottom = box
    rows = max(1, STRIP_PIXELS // max(right - left, 1))
    for row in range(top, bottom, rows):
        yield left, row, right, min(row + rows, bottom)


def extent(share: Floats, size: tuple[int, int]) -> Box:
    """The full-size box outside which the enlarged share is zero; empty when the share is."""
    height, width = share.shape
    rows, columns = np.flatnonzero(share.any(axis=1)), np.flatnonzero(share.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    across, down = size[0] / width, size[1] / height
    left, right = (columns[0] - 1) * across, (columns[-1] + 2) * across
    top, bottom = (rows[0] - 1) * down, (rows[-1] + 2) * down
    return max(int(left), 0), max(int(top), 0), min(int(right) + 1, size[0]), min(int(bottom) + 1, size[1])
