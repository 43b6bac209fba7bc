"""What a result is written as: RGB, or gray, palette or CMYK again where the photo was that and the result allows it.

Pixels that the edit left alone get exactly the samples that the file had.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dimrt.photo import cmyk
from dimrt.photo.gray import gray_from_srgb
from dimrt.photo.photo import Native, Photo, Pixels, Samples
from dimrt.photo.planes import Box, strips

NEUTRAL = 8
"""Levels of 255: a result whose channels are nowhere further apart is gray. Painters tint a gray photo by up to 5 when
asked for no colour, and by tens when asked for one."""
COLOURS = 256
"""Most that a palette holds."""
GRAY_KINDS = {"JPEG", "PNG", "TIFF"}
PALETTE_KINDS = {"PNG", "TIFF"}
CMYK_KINDS = {"JPEG", "TIFF"}


@dataclass(frozen=True)
class Form:
    """Samples as they go into the file.

    Attributes:
        kind: what they are.
        samples: [H, W] for gray and palette, else [H, W, 3] or [H, W, 4] (CMYK).
        alpha: [H, W], or None.
        icc: their profile, or None.
        palette: uint8 [n, 4], RGBA, for palette.
    """

    kind: Literal["rgb", "gray", "palette", "cmyk"]
    samples: Samples
    alpha: Samples | None
    icc: bytes | None
    palette: Pixels | None = None


def formed(kind: str, pixels: Samples, alpha: Samples | None, photo: Photo | None, notes: list[str]) -> Form:
    """Choose what to write.

    Args:
        kind: the format, as `write.encode_photo` names it.
        pixels: uint8 or uint16 [H, W, 3], in the colours of the photo's pixels.
        alpha: the same type [H, W], or None.
        photo: what was edited, or None.
        notes: what the format can't hold is added here.
    """
    plain = Form("rgb", pixels, alpha, None if photo is None else photo.icc)
    if photo is None or photo.native is None:
        return plain
    native = photo.native
    if native.mode == "CMYK":
        if kind in CMYK_KINDS:
            return _cmyk(pixels, alpha, photo, native)
        notes.append(f"{kind} holds no CMYK: written as sRGB")
    elif native.mode in {"L", "1"} and kind in GRAY_KINDS:
        if _is_gray(pixels):
            return _gray(pixels, alpha, photo, native)
        notes.append("the photo was gray and the result has colours: written as RGB")
    elif native.mode == "P" and kind in PALETTE_KINDS and pixels.dtype == np.uint8:
        form = _palette(pixels, alpha if kind == "PNG" else None, plain, native)
        if form is not None and (alpha is None or kind == "PNG"):
            return form
        notes.append(f"the result has more colours than a palette of {kind} holds: written as RGB")
    return plain


def _boxes(pixels: Samples) -> list[Box]:
    return list(strips((0, 0, pixels.shape[1], pixels.shape[0])))


def _untouched(pixels: Samples, photo: Photo, rows: slice) -> NDArray[np.bool_] | None:
    """Which pixels of some rows are the photo's own, bool [h, W]; None when the result is of another size or type."""
    if photo.pixels.shape != pixels.shape or photo.pixels.dtype != pixels.dtype:
        return None
    same: NDArray[np.bool_] = (pixels[rows] == photo.pixels[rows]).all(axis=-1)
    return same


def _is_gray(pixels: Samples) -> bool:
    apart = NEUTRAL * (257 if pixels.dtype == np.uint16 else 1)
    for _, top, _, bottom in _boxes(pixels):
        part = pixels[top:bottom]
        if int((part.max(axis=-1) - part.min(axis=-1)).max(initial=0)) > apart:
            return False
    return True


def _gray(pixels: Samples, alpha: Samples | None, photo: Photo, native: Native) -> Form:
    result = np.empty(pixels.shape[:2], pixels.dtype)
    table = None
    if native.icc is not None:
        table = gray_from_srgb(native.icc, 256 if pixels.dtype == np.uint8 else 65536)
    for _, top, _, bottom in _boxes(pixels):
        part = pixels[top:bottom].sum(axis=-1, dtype=np.uint32)
        gray = ((part + 1) // 3).astype(pixels.dtype)
        if table is not None:
            gray = table[gray]
        same = _untouched(pixels, photo, slice(top, bottom))
        if native.samples is not None and same is not None:
            gray = np.where(same, native.samples[top:bottom], gray)
        result[top:bottom] = gray
    return Form("gray", result, alpha, native.icc or photo.icc)


def _cmyk(pixels: Samples, alpha: Samples | None, photo: Photo, native: Native) -> Form:
    convert, _ = cmyk.from_rgb(native.icc)
    result = np.empty((*pixels.shape[:2], 4), np.uint8)
    for _, top, _, bottom in _boxes(pixels):
        inks = convert(pixels[top:bottom])
        same = _untouched(pixels, photo, slice(top, bottom))
        if native.samples is not None and same is not None:
            inks = np.where(same[..., None], native.samples[top:bottom], inks)
        result[top:bottom] = inks
    return Form("cmyk", result, alpha, native.icc)


def _palette(pixels: Pixels, alpha: Pixels | None, plain: Form, native: Native) -> Form | None:
    """The result by its palette, the photo's own as far as it goes; None when it has too many colours."""
    own = np.empty(0, np.uint32) if native.palette is None else _packed(native.palette)
    found = np.empty(0, np.uint32)
    for _, top, _, bottom in _boxes(pixels):
        found = np.union1d(found, _packed(_with(pixels, alpha, top, bottom)))
        if len(found) > COLOURS:
            return None
    added = np.setdiff1d(found, own)
    if len(own) + len(added) > COLOURS:
        # Without the unused end, where decoders pad a palette to its full length.
        values, first = np.unique(own, return_index=True)
        own = own[: first[np.isin(values, found)].max(initial=-1) + 1]
    colours = np.concatenate([own, added]) if len(own) + len(added) <= COLOURS else found
    order = np.argsort(colours, kind="stable")
    result = np.empty(pixels.shape[:2], np.uint8)
    for _, top, _, bottom in _boxes(pixels):
        part = _packed(_with(pixels, alpha, top, bottom))
        result[top:bottom] = order[np.searchsorted(colours[order], part)].reshape(bottom - top, -1)
    palette = np.ascontiguousarray(colours).view(np.uint8).reshape(-1, 4)
    return Form("palette", result, None, plain.icc, palette)


def _with(pixels: Pixels, alpha: Pixels | None, top: int, bottom: int) -> Pixels:
    """RGBA of some rows, uint8 [n, 4]."""
    part = pixels[top:bottom]
    full = np.full(part.shape[:2], 255, np.uint8) if alpha is None else alpha[top:bottom]
    return np.dstack([part, full]).reshape(-1, 4)


def _packed(colours: Pixels) -> NDArray[np.uint32]:
    """Colours uint8 [n, 4] as one number each."""
    return np.ascontiguousarray(colours).view(np.uint32).reshape(-1)
