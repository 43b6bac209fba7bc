"""Small tools on picture planes: box windows, block averages, enlargement of a part."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""

STRIP_PIXELS = 1 << 20
"""Full-size pixels worked on at a time."""


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
