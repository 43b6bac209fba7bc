"""Trilinear lookup of 16-bit colours, which Pillow has for 8 bits only."""

import numpy as np
from numpy.typing import NDArray

from dimrt.photo.planes import Floats

CHUNK = 1 << 16
"""Pixels worked on at a time: what is computed of them stays in the processor's cache."""


def interpolate(table: Floats, pixels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """A map of colours, given at the nodes of an even grid, on uint16 pixels.

    Args:
        table: float32 [n, n, n, 3], the new colour by red, green and blue, 0 to 1 before clipping.
        pixels: uint16 [H, W, 3].

    Returns:
        uint16 [H, W, 3], rounded half up and clipped.
    """
    nodes = table.shape[0]
    rows = np.ascontiguousarray(table.reshape(-1, 3)) * np.float32(65535)
    colours = pixels.reshape(-1, 3)
    result = np.empty(colours.shape, np.uint16)
    for start in range(0, len(colours), CHUNK):
        mapped = _mapped(rows, nodes, colours[start : start + CHUNK])
        result[start : start + CHUNK] = np.clip(mapped + np.float32(0.5), 0, 65535)
    return result.reshape(pixels.shape)


def _mapped(rows: Floats, nodes: int, colours: NDArray[np.uint16]) -> Floats:
    """The map's values [N, 3]: between the eight nodes around each colour, axis by axis."""
    place = colours * np.float32((nodes - 1) / 65535)
    lower = np.minimum(place.astype(np.int32), nodes - 2)
    part = place - lower
    first = (lower[:, 0] * nodes + lower[:, 1]) * nodes + lower[:, 2]
    red, green, blue = (part[:, channel, None] for channel in range(3))

    def along_blue(offset: int) -> Floats:
        near, far = rows.take(first + offset, axis=0), rows.take(first + (offset + 1), axis=0)
        return _between(near, far, blue)

    def along_green(offset: int) -> Floats:
        return _between(along_blue(offset), along_blue(offset + nodes), green)

    return _between(along_green(0), along_green(nodes * nodes), red)


def _between(near: Floats, far: Floats, share: Floats) -> Floats:
    """`near` where the share is 0, `far` where it is 1; both are overwritten."""
    far -= near
    far *= share
    far += near
    return far
