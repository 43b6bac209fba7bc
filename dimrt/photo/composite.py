"""Carrying the painted change back to the full-size photo.

The painter works on a small picture, and the autoencoder alters it a little even when nothing is edited. Both the
source and the edit went through the same autoencoder, so what counts is their difference; it's carried over in the
form that leaves the photo as sharp as it was: one map of colours ("tone") or a change in places ("local"). Only where
an edit took the detail of the whole photo away, as a blur does, is the painted picture itself enlarged ("painted").

Where a mask or a region bounds the edit, that part alone is looked at, and nothing outside changes in any mode.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dimrt.photo.blas import one_thread
from dimrt.photo.bounds import Bounds
from dimrt.photo.detail import detail_is_gone
from dimrt.photo.local import changed_region, fit_field, magnitude
from dimrt.photo.photo import Samples
from dimrt.photo.planes import Floats, box_mean
from dimrt.photo.tone import fit_tone
from dimrt.photo.transfer import Ran, Transfer

Mode = Literal["auto", "tone", "local", "painted", "none"]

STILL = (1.5, 8.0)
"""Levels: a change whose root mean square and whose largest local mean lie below these is no change."""
SMALL = 0.12
LARGE = 0.35
"""Shares of the picture: a smaller change is local; a larger one is a tone if a map of colours explains it. One in
between is kept to its region, where it's carried by the map of colours if that explains it. A larger one after which
the photo's detail is gone is no tone: the painted picture is enlarged."""
FAINT = (3.0, 0.5)
"""A small change is a faint tone after all where outside of its region more than the first (levels, root mean square)
changed, a map of colours explains more than the second (share of the energy) of that, and this is more energy than the
region holds (or the plan says that all is edited). Less is the painter's drift, which isn't carried over."""
UNEXPLAINED = 0.25
"""Share of the changed area in which a map of colours may fail for the change still to be one of tone."""
FAILED = (16.0, 0.25)
"""A map of colours fails where it leaves over more than this many levels and more than this share of the change."""
PATCH = 24.0
"""Levels: where a tone leaves over more than this (and twice this at a core), the rest is added as a local change."""
RADIUS = 1 / 32
"""Window of the local affine fits, as a share of the longer side."""


def composite(
    photo: Samples,
    decoded_source: NDArray[Any],
    decoded_edit: NDArray[Any],
    mode: Mode = "auto",
    bounds: Bounds | None = None,
) -> tuple[Samples, Ran]:
    """Carry the change between two small pictures over to the photo.

    Args:
        photo: uint8 or uint16 [H, W, 3].
        decoded_source, decoded_edit: [h, w, 3], 0 to 255 (float or uint8): the photo and the edit at the painter's
            resolution, both through the autoencoder, in the photo's own colour space.
        mode: "tone" for one map of colours, corrected where it fails; "local" for a change in places, outside which
            every pixel stays exactly; "painted" for the small edit enlarged; "auto" chooses between them; "none" for
            the small edit itself.
        bounds: outside these every pixel stays exactly, in every mode but "none".

    Returns:
        The result, of the photo's type and size (uint8 [h, w, 3] for "none"), and what ran; "unchanged" when the edit
        changed nothing beyond noise, and the photo itself is returned.
    """
    if mode == "none":
        return np.floor(np.clip(decoded_edit, 0, 255) + np.float32(0.5)).astype(np.uint8), "none"
    transfer = choose(decoded_source, decoded_edit, mode, bounds)
    return (photo if transfer.ran == "unchanged" else transfer.apply(photo, bounds)), transfer.ran


@one_thread()
def choose(
    decoded_source: NDArray[Any],
    decoded_edit: NDArray[Any],
    mode: Literal["auto", "tone", "local", "painted"] = "auto",
    bounds: Bounds | None = None,
    everywhere: bool = False,
) -> Transfer:
    """The form in which an edit is carried over.

    Args:
        decoded_source, decoded_edit, mode, bounds: as for `composite`.
        everywhere: the plan says that all of the picture is edited: then a change that a map of colours explains is
            a tone even where it's strong in few places only.
    """
    source, edit = np.asarray(decoded_source, np.float32), np.asarray(decoded_edit, np.float32)
    change = edit - source
    height, width = change.shape[:2]
    inside = np.ones((height, width), np.bool_) if bounds is None else bounds.inside((width, height))
    if _is_still(change, inside):
        return Transfer("unchanged")
    if mode == "painted":
        return Transfer("painted", painted=edit)
    region = changed_region(change)
    extent = float((region[inside] > 0.5).mean())
    faint = mode == "auto" and (extent < SMALL or (everywhere and extent <= LARGE))
    faint = faint and _is_faint_tone(source, edit, inside, region, everywhere)
    if mode == "auto" and extent < SMALL and not faint:
        return _local(source, change, region)
    if mode == "auto" and extent > LARGE and detail_is_gone(source, edit, inside):
        return Transfer("painted", painted=edit)
    tone = fit_tone(source, edit, inside)
    rest = edit - tone.predict(source)
    explained = not _fails(change, rest, inside)
    if mode == "tone" or (mode == "auto" and explained and (extent > LARGE or faint)):
        patch = changed_region(rest, PATCH)
        return Transfer("tone", tone, fit_field(source, rest, RADIUS), patch) if patch.any() else Transfer("tone", tone)
    if explained:
        return Transfer("local", tone, fit_field(source, rest, RADIUS), region)
    return _local(source, change, region)


def _local(source: Floats, change: Floats, region: Floats) -> Transfer:
    return Transfer("local", None, fit_field(source, change, RADIUS), region)


def _is_still(change: Floats, inside: NDArray[np.bool_]) -> bool:
    smooth = box_mean(np.where(inside[..., None], change, np.float32(0)), 1)
    return float(np.sqrt((change[inside] ** 2).mean())) < STILL[0] and float(np.abs(smooth).max()) < STILL[1]


def _is_faint_tone(source: Floats, edit: Floats, inside: NDArray[np.bool_], region: Floats, everywhere: bool) -> bool:
    """Whether a change that is strong in few places at most is a tone of all that is inside."""
    change = box_mean(edit - source, 1)
    quiet = inside & (region <= 0.5)
    loud = inside & ~quiet
    around = float((change[quiet] ** 2).sum())
    if around < FAINT[0] ** 2 * change[quiet].size:
        return False
    if not everywhere and around < float((change[loud] ** 2).sum()):
        return False
    rest = box_mean(edit - fit_tone(source, edit, quiet).predict(source), 1)
    return float((rest[quiet] ** 2).sum()) < (1 - FAINT[1]) * around


def _fails(change: Floats, rest: Floats, inside: NDArray[np.bool_]) -> bool:
    """Whether a map of colours leaves too much of the changed area unexplained."""
    changed, left = magnitude(change)[inside], magnitude(rest)[inside]
    failed = (left > FAILED[0]) & (left > FAILED[1] * changed)
    return float(failed.mean()) > UNEXPLAINED * max(float((changed > FAILED[0]).mean()), 1e-6)
