"""Pictures as the painter learns from them: cut to one of a few shapes near the model's area, aspect ratio kept."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dimrt.manifest import Resolution
from dimrt.photo.fit import Frame, to_painter
from dimrt.photo.read import Photo

Size = tuple[int, int]
"""Width and height in pixels."""
MOST_ASPECT = 4.0
"""Of a shape. Longer pictures are cut to it."""


@lru_cache
def shapes(resolution: Resolution) -> tuple[Size, ...]:
    """The shapes that pictures are cut to: the one square, or for a painter of free aspect every size whose sides are
    multiples and whose area is as near below the model's as its width (or its height) allows, up to 4 to 1.
    """
    side, multiple = resolution.side, resolution.multiple
    if resolution.aspect == "square":
        return ((side, side),)
    found = set()
    for length in range(multiple, int(side * MOST_ASPECT**0.5) + 1, multiple):
        other = side * side // length // multiple * multiple
        if other and max(length, other) <= MOST_ASPECT * min(length, other):
            found |= {(length, other), (other, length)}
    return tuple(sorted(found))


def shape_of(size: Size, resolution: Resolution) -> Size:
    """The shape for a picture: the one nearest in aspect ratio, the largest of those."""
    wanted = math.log(size[0] / size[1])
    choices = shapes(resolution)
    return min(choices, key=lambda own: (round(abs(math.log(own[0] / own[1]) - wanted), 9), -own[0] * own[1], own))


def covering_frame(size: Size, shape: Size) -> Frame:
    """How a picture of `size` becomes `shape`: resized until it covers it, then cut at the centre.

    For a square this is the original's training crop (shorter side to the square's, longer side floored).
    """
    width, height = size
    if shape[0] * height >= shape[1] * width:
        resized = shape[0], max(shape[1], height * shape[0] // width)
    else:
        resized = max(shape[0], width * shape[1] // height), shape[1]
    left, top = round((resized[0] - shape[0]) / 2), round((resized[1] - shape[1]) / 2)
    return Frame(photo=size, resize=resized, crop=(left, top, *shape))


def cut(photo: Photo, shape: Size) -> NDArray[np.float32]:
    """The painter's picture of a photo, float32 [3, H, W] in [-1, 1].

    Source and target of one shape get the same cut, whatever their sizes: it is a matter of proportions.
    """
    picture: NDArray[np.float32] = to_painter(photo, covering_frame(photo.size, shape))[0]
    return picture
