"""Whether an edit took the photo's detail away: a blur, a repainting. Nothing of the full-size photo then belongs into
the result, and what was painted is enlarged as it is."""

import numpy as np
from numpy.typing import NDArray

from dimrt.photo.planes import Floats, box_mean
from dimrt.photo.tone import fit_tone

FINEST, COARSEST = 2, 1 / 32
"""Radius of the window whose mean isn't detail: from so many pixels of the small picture to this share of its longer
side. The finest detail that the picture has decides."""
VISIBLE = 8.0
"""Levels: detail weaker than this (root mean square) says nothing, as autoencoder noise is of its size."""
ENOUGH = 0.02
"""Share of the picture that must have visible detail for it to decide."""
SURVIVES = (0.5, 0.4)
"""Detail survives in a place where the edit repeats more than the first share of it, or where the edit's own detail has
more than the second share of its energy (above the noise that the painter leaves everywhere)."""
GONE = 0.2
"""The detail is gone when it survives in less than this share of the places that had some."""


def detail_is_gone(source: Floats, edit: Floats, inside: NDArray[np.bool_]) -> bool:
    """Whether almost nowhere the edit shows the detail that it should have if only its colours had changed.

    What it should have follows from the coarse parts of both pictures, which a blur leaves alone: the map of colours
    between these, applied to the whole source. The share of it that the edit repeats is the coefficient of a regression
    through zero, which the painter's noise doesn't move; so a rough painting of the photo isn't taken for a blur of it.

    Args:
        source, edit: float32 [h, w, 3], 0 to 255.
        inside: [h, w], where to look.
    """
    coarse = max(FINEST, round(COARSEST * max(edit.shape[:2])))
    expected = fit_tone(box_mean(source, coarse), box_mean(edit, coarse), inside).predict(source)
    radius = FINEST
    while radius <= coarse:
        survives = _survives(expected, edit, inside, radius)
        if survives.size >= ENOUGH * inside.sum():
            return float(survives.mean()) < GONE
        radius *= 2
    return False


def _survives(expected: Floats, edit: Floats, inside: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """For every pixel inside around which `expected` has visible detail, whether the edit still shows it; bool [n]."""
    before, after = expected - box_mean(expected, radius), edit - box_mean(edit, radius)
    energy, left, common = (
        box_mean((one * other).mean(-1), 2 * radius + 1)
        for one, other in ((before, before), (after, after), (before, after))
    )
    detailed = inside & (energy > VISIBLE**2)
    above_noise = np.maximum(left - np.quantile(left, 0.2), 0)
    repeated, own = common[detailed] / energy[detailed], above_noise[detailed] / energy[detailed]
    survives: NDArray[np.bool_] = (repeated > SURVIVES[0]) | (own > SURVIVES[1])
    return survives
