"""Carrying the painted change back to the full-size photo.

The painter works on a small picture, and the autoencoder alters it a little even when nothing is edited. Both the
source and the edit went through the same autoencoder, so what counts is their difference; it's carried over in the
form that leaves the photo as sharp as it was: one map of colours ("tone") or a change in places ("local").
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dimrt.photo.local import Field, add_field, changed_region, fit_field
from dimrt.photo.planes import Floats, box_mean
from dimrt.photo.read import Pixels
from dimrt.photo.tone import Tone, fit_tone

Mode = Literal["auto", "tone", "local", "none"]
Ran = Literal["tone", "local", "none", "unchanged"]

STILL = (1.5, 8.0)
"""Levels: a change whose root mean square and whose largest local mean lie below these is no change."""
TONE_SHARE = 0.8
"""Share of the change that one map of colours must explain to be called a change of tone."""
LOCAL_EXTENT = 0.12
"""A change that covers less of the picture than this is local, however well a map of colours explains it."""
LOCAL_RADIUS = 1 / 32
TONE_RADIUS = 1 / 10
"""Windows of the affine fits, as a share of the longer side."""
UNEXPLAINED = 0.12
"""Share of a tone's change that is put down to the painter's own unevenness and not carried over."""


def composite(
    photo: Pixels, decoded_source: NDArray[Any], decoded_edit: NDArray[Any], mode: Mode = "auto"
) -> tuple[Pixels, Ran]:
    """Carry the change between two small pictures over to the photo.

    Args:
        photo: uint8 [H, W, 3].
        decoded_source, decoded_edit: [h, w, 3], 0 to 255 (float or uint8): the photo and the edit at the painter's
            resolution, both through the autoencoder.
        mode: "tone" for one map of colours with slow local corrections; "local" for a change in places, outside which
            every pixel stays exactly; "auto" chooses between them; "none" for the small edit itself.

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
    if mode == "local":
        return _local(photo, source, change), "local"
    tone = fit_tone(source, edit)
    toned = _on_small(tone, source)
    if mode == "auto" and not _is_tone(change, edit - toned):
        return _local(photo, source, change), "local"
    return _tone(photo, source, edit - toned, change, tone), "tone"


def _is_still(change: Floats) -> bool:
    smooth = box_mean(change, 1)
    return float(np.sqrt((change**2).mean())) < STILL[0] and float(np.abs(smooth).max()) < STILL[1]


def _is_tone(change: Floats, rest: Floats) -> bool:
    """Whether one map of colours explains the change, and the change is not confined to a small part."""
    extent = float((changed_region(change) > 0.5).mean())
    return extent > LOCAL_EXTENT and _energy(rest) < (1 - TONE_SHARE) * _energy(change)


def _local(photo: Pixels, source: Floats, change: Floats) -> Pixels:
    return add_field(photo, photo, fit_field(source, change, LOCAL_RADIUS), changed_region(change))


def _tone(photo: Pixels, source: Floats, rest: Floats, change: Floats, tone: Tone) -> Pixels:
    """The map of colours, and what it leaves over as slow local corrections when that is more than unevenness."""
    toned = tone.apply(photo)
    unexplained = _energy(rest) / max(_energy(change), 1e-6)
    strength = max(0.0, 1 - UNEXPLAINED / max(unexplained, 1e-6))
    if not strength:
        return toned
    field = fit_field(source, rest, TONE_RADIUS)
    share = np.full(source.shape[:2], strength, np.float32)
    return add_field(toned, photo, Field(field.affine, np.zeros_like(field.rest)), share)


def _on_small(tone: Tone, source: Floats) -> Floats:
    levels = np.floor(np.clip(source, 0, 255) + np.float32(0.5)).astype(np.uint8)
    return tone.apply(levels).astype(np.float32)


def _energy(change: Floats) -> float:
    """Mean square of the change without its finest grain, which is noise of the painter and the autoencoder."""
    return float((box_mean(change, 1) ** 2).mean())
