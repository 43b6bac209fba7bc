"""Whether an edit took the photo's detail away: a blur, a repainting. Nothing of the full-size photo then belongs into
the result, and what was painted is enlarged as it is."""

import numpy as np

from dimrt.photo.planes import Floats, box_mean, enlarge, strips
from dimrt.photo.read import Pixels

DETAIL = 2
"""Radius, in pixels of the small picture, of the window whose mean isn't detail."""
PLACE = 5
"""Radius of the window in which detail is compared."""
VISIBLE = 8.0
"""Levels: detail weaker than this (root mean square) says nothing, as autoencoder noise is of its size."""
SURVIVES = (0.5, 0.4)
"""Detail survives in a place where the edit repeats more than the first share of it, or where the edit's own detail has
more than the second share of its energy (above the noise that the painter leaves everywhere)."""
GONE = 0.2
"""The detail is gone when it survives in less than this share of the places that had some."""


def detail_is_gone(expected: Floats, edit: Floats) -> bool:
    """Whether almost nowhere the edit shows the detail that it should have if only its colours had changed.

    The share that the edit repeats is the coefficient of a regression through zero, which the painter's noise doesn't
    move; so a rough painting of the photo isn't taken for a blur of it.

    Args:
        expected: float32 [h, w, 3], 0 to 255, the source with the map of colours that fits the edit best.
        edit: float32 [h, w, 3].
    """
    before, after = expected - box_mean(expected, DETAIL), edit - box_mean(edit, DETAIL)
    energy, left, common = (box_mean((one * other).mean(-1), PLACE) for one, other in _pairs(before, after))
    detailed = energy > VISIBLE**2
    if not detailed.any():
        return False
    above_noise = np.maximum(left - np.quantile(left, 0.2), 0)
    repeated, own = common[detailed] / energy[detailed], above_noise[detailed] / energy[detailed]
    survives = (repeated > SURVIVES[0]) | (own > SURVIVES[1])
    return float(survives.mean()) < GONE


def _pairs(before: Floats, after: Floats) -> tuple[tuple[Floats, Floats], ...]:
    return (before, before), (after, after), (before, after)


def enlarged(picture: Floats, size: tuple[int, int]) -> Pixels:
    """The small picture [h, w, 3], 0 to 255, as uint8 [H, W, 3] of a (width, height), bilinear."""
    width, height = size
    result = np.empty((height, width, 3), np.uint8)
    for part in strips((0, 0, width, height)):
        _, top, _, bottom = part
        result[top:bottom] = np.clip(enlarge(picture, size, part) + np.float32(0.5), 0, 255)
    return result
