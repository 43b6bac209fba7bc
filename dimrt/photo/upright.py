"""Turning a picture upright while it's copied, without a second copy of it."""

from collections.abc import Callable

import numpy as np

from dimrt.photo.photo import Samples

SIDEWAYS = {5, 6, 7, 8}
"""EXIF orientations that swap width and height."""
AS_STORED: dict[int, Callable[[Samples], Samples]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright.swapaxes(0, 1)[::-1, ::-1],
    8: lambda upright: np.rot90(upright, -1),
}
"""Views of an upright picture in the order in which a file of that orientation stores it."""


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height of the upright picture, of those as stored."""
    return (size[1], size[0]) if orientation in SIDEWAYS else size


class Canvas:
    """An upright picture that is filled row by row in the order of the file.

    Attributes:
        upright: [H, W] or [H, W, channels].
        stored: a view of it as the file has it: write rows here.
    """

    def __init__(self, size: tuple[int, int], channels: int, orientation: int, dtype: type = np.uint8) -> None:
        """Make room for a picture of a (width, height) as stored."""
        width, height = upright_size(size, orientation)
        self.upright: Samples = np.empty((height, width, channels) if channels > 1 else (height, width), dtype)
        self.stored = AS_STORED[orientation](self.upright)
