"""The part of a photo that is painted when an edit is bound to a place: the place and what surrounds it.

A painter has one number of pixels for whatever it is shown. Shown the place alone, it paints that at a multiple of the
detail; shown nothing else, it wouldn't know what belongs there.
"""

from dimrt.manifest import Resolution
from dimrt.photo.fit import painter_frame
from dimrt.photo.planes import Box

CONTEXT = 0.5
"""What is shown on each side of the place, as a share of its longer side."""
LEAST = 1 / 5
"""Shortest side of a window, as a share of the photo's same side: so much is shown of what the photo is."""
LONGEST = 2.0
"""A window is at most so many times longer than wide, where the painter takes any aspect ratio and the photo allows."""
TRIES = 4
"""A longer window may have another picture."""
NEARLY_ALL = 0.8
"""A window that takes more than this share of both sides becomes the whole photo."""


def context_window(size: tuple[int, int], box: Box, resolution: Resolution) -> Box:
    """Choose the window for an edit inside `box`.

    It holds the box, with context around it where the photo has some; neither side is shorter than the painter's
    picture (more detail than the photo has is of no use) or than a share of the photo; and it has the aspect ratio of
    the painter's picture, so that nothing is stretched, unless the photo is too narrow for that.

    Args:
        size: width and height of the photo.
        box: left, top, right, bottom, inside the photo.
        resolution: of the painter.

    Returns:
        Left, top, right, bottom; the whole photo where the window would be nearly that.
    """
    lengths = box[2] - box[0], box[3] - box[1]
    margin = CONTEXT * max(lengths)
    wanted = [
        min(max(length + 2 * margin, resolution.side, LEAST * whole), whole)
        for length, whole in zip(lengths, size, strict=True)
    ]
    limit = 1.0 if resolution.aspect == "square" else LONGEST
    for axis in (0, 1):
        wanted[axis] = min(max(wanted[axis], wanted[1 - axis] / limit), size[axis])
    if all(length > NEARLY_ALL * whole for length, whole in zip(wanted, size, strict=True)):
        return 0, 0, *size
    width, height = _unstretched((round(wanted[0]), round(wanted[1])), size, resolution)
    left, top = _placed(box[0], box[2], width, size[0]), _placed(box[1], box[3], height, size[1])
    return left, top, left + width, top + height


def _unstretched(wanted: tuple[int, int], size: tuple[int, int], resolution: Resolution) -> tuple[int, int]:
    """The window's sides, made longer so that they have the painter's aspect ratio, if the photo allows."""
    width, height = wanted
    for _ in range(TRIES):
        across, down = painter_frame((width, height), resolution, "whole").size
        longer = max(width, round(height * across / down)), max(height, round(width * down / across))
        if longer == (width, height):
            break
        width, height = min(longer[0], size[0]), min(longer[1], size[1])
    return width, height


def _placed(start: int, end: int, length: int, whole: int) -> int:
    """Where an interval of `length` around `start` to `end` begins, inside the photo's side."""
    return min(max((start + end - length) // 2, 0), whole - length)
