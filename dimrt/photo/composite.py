"""Carrying the painted change back to the full-size photo.

The painter works on a small picture, and the autoencoder alters it a little even when nothing is edited. Both the
source and the edit went through the same autoencoder, so what counts is their difference; it's carried over in the
form that leaves the photo as sharp as it was: one map of colours ("tone") or a change in places ("local"). Only where
an edit took the detail of the whole photo away, as a blur does, is the painted picture itself enlarged ("painted").
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dimrt.photo.detail import detail_is_gone, enlarged
from dimrt.photo.local import blend, changed_region, fit_field, magnitude
from dimrt.photo.planes import Floats, box_mean
from dimrt.photo.read import Pixels
from dimrt.photo.tone import fit_tone

Mode = Literal["auto", "tone", "local", "painted", "none"]
Ran = Literal["tone", "local", "painted", "none", "unchanged"]

STILL = (1.5, 8.0)
"""Levels: a change whose root mean square and whose largest local mean lie below these is no change."""
SMALL = 0.12
LARGE = 0.35
"""Shares of the picture: a smaller change is local; a larger one is a tone if a map of colours explains it. One in
between is kept to its region, where it's carried by the map of colours if that explains it. A larger one after which
the photo's detail is gone is no tone: the painted picture is enlarged."""
UNEXPLAINED = 0.25
"""Share of the changed area in which a map of colours may fail for the change still to be one of tone."""
FAILED = (16.0, 0.25)
"""A map of colours fails where it leaves over more than this many levels and more than this share of the change."""
PATCH = 24.0
"""Levels: where a tone leaves over more than this (and twice this at a core), the rest is added as a local change."""
RADIUS = 1 / 32
"""Window of the local affine fits, as a share of the longer side."""


def composite(
    photo: Pixels, decoded_source: NDArray[Any], decoded_edit: NDArray[Any], mode: Mode = "auto"
) -> tuple[Pixels, Ran]:
    """Carry the change between two small pictures over to the photo.

    Args:
        photo: uint8 [H, W, 3].
        decoded_source, decoded_edit: [h, w, 3], 0 to 255 (float or uint8): the photo and the edit at the painter's
            resolution, both through the autoencoder.
        mode: "tone" for one map of colours, corrected where it fails; "local" for a change in places, outside which
            every pixel stays exactly; "painted" for the small edit enlarged; "auto" chooses between them; "none" for
            the small edit itself.

    Returns:
        uint8 [H, W, 3] ([h, w, 3] for "none"), and what ran; "unchanged" when the edit changed nothing beyond noise,
        and the photo itself is returned.
    """
    source, edit = decoded_source.astype(np.float32), decoded_edit.astype(np.float32)
    if mode == "none":
        return np.floor(np.clip(edit, 0, 255) + np.float32(0.5)).astype(np.uint8), "none"
    change = edit - source
    if _is_still(change):
        return photo, "unchanged"
    size = photo.shape[1], photo.shape[0]
    if mode == "painted":
        return enlarged(edit, size), "painted"
    region = changed_region(change)
    extent = float((region > 0.5).mean())
    if mode == "auto" and extent < SMALL:
        return _add(photo, photo, photo, source, change, region), "local"
    if mode == "auto" and extent > LARGE and detail_is_gone(source, edit):
        return enlarged(edit, size), "painted"
    tone = fit_tone(source, edit)
    rest = edit - tone.predict(source)
    explained = not _fails(change, rest)
    if mode == "tone" or (mode == "auto" and explained and extent > LARGE):
        toned = tone.apply(photo)
        return _add(toned, toned, photo, source, rest, changed_region(rest, PATCH)), "tone"
    if explained:
        return _add(photo, tone.apply(photo), photo, source, rest, region), "local"
    return _add(photo, photo, photo, source, change, region), "local"


def _is_still(change: Floats) -> bool:
    smooth = box_mean(change, 1)
    return float(np.sqrt((change**2).mean())) < STILL[0] and float(np.abs(smooth).max()) < STILL[1]


def _fails(change: Floats, rest: Floats) -> bool:
    """Whether a map of colours leaves too much of the changed area unexplained."""
    changed, left = magnitude(change), magnitude(rest)
    failed = (left > FAILED[0]) & (left > FAILED[1] * changed)
    return float(failed.mean()) > UNEXPLAINED * max(float((changed > FAILED[0]).mean()), 1e-6)


def _add(under: Pixels, over: Pixels, photo: Pixels, source: Floats, change: Floats, region: Floats) -> Pixels:
    """Inside the region, `over` plus the change, which follows the photo's own edges; `under` elsewhere."""
    if not region.any():
        return under
    return blend(under, over, photo, fit_field(source, change, RADIUS), region)
