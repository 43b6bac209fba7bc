"""A Pillow picture of any 8-bit kind as upright RGB and alpha, strip by strip, with what it was before."""

import numpy as np
from PIL import Image

from dimrt.photo import cmyk
from dimrt.photo.gray import gray_to_srgb
from dimrt.photo.photo import Native, Photo, Pixels, Samples
from dimrt.photo.planes import strips
from dimrt.photo.upright import Canvas

GRAY = {"1", "L", "LA", "La"}
WITH_ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}


def unpack(image: Image.Image, orientation: int, icc: bytes | None) -> Photo:
    """The picture as a photo without path, EXIF and XMP.

    Colours under transparency stay as stored. CMYK and gray with a profile of its own become sRGB; what was stored is
    kept in `native`, as are a palette and the fact that the picture was gray.

    Args:
        image: loaded; its mode one of those that have 8 bits a channel.
        orientation: EXIF orientation that is still to be applied.
        icc: the file's profile.
    """
    if image.mode == "CMYK":
        return _cmyk(image, orientation, icc)
    if image.mode in GRAY and icc is not None and icc[16:20] == b"GRAY":
        return _profiled_gray(image, orientation, icc)
    notes: tuple[str, ...] = ()
    if icc is not None and icc[16:20] != b"RGB ":
        icc, notes = None, (_unusable(image.mode),)
    alpha = Canvas(image.size, 1, orientation) if _has_alpha(image) else None
    pixels = Canvas(image.size, 3, orientation)
    for box in strips((0, 0, *image.size)):
        part = _converted(image.crop(box), "RGB" if alpha is None else "RGBA")
        pixels.stored[box[1] : box[3]] = part[..., :3]
        if alpha is not None:
            alpha.stored[box[1] : box[3]] = part[..., 3]
    native = _native(image)
    return Photo(pixels.upright, alpha.upright if alpha else None, icc, notes=notes, native=native)


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in WITH_ALPHA or "transparency" in image.info


def _converted(part: Image.Image, mode: str) -> Pixels:
    if part.mode in {"La", "RGBa"}:
        part = part.convert(part.mode.upper())
    return np.asarray(part.convert(mode))


def _native(image: Image.Image) -> Native | None:
    if image.mode == "P":
        return Native("P", palette=_palette(image))
    if image.mode == "1":
        return Native("1")
    return Native("L") if image.mode in GRAY else None


def _palette(image: Image.Image) -> Pixels:
    """The palette as RGBA, uint8 [n, 4]."""
    palette = np.array(image.getpalette("RGBA"), np.uint8).reshape(-1, 4)
    seen = image.info.get("transparency")
    if isinstance(seen, bytes):
        palette[:, 3] = 255
        palette[: len(seen), 3] = np.frombuffer(seen, np.uint8)[: len(palette)]
    elif isinstance(seen, int) and seen < len(palette):
        palette[seen, 3] = 0
    return palette


def _cmyk(image: Image.Image, orientation: int, icc: bytes | None) -> Photo:
    usable = icc if icc is not None and icc[16:20] == b"CMYK" else None
    convert, profiled = cmyk.to_rgb(usable)
    pixels, samples = Canvas(image.size, 3, orientation), Canvas(image.size, 4, orientation)
    for box in strips((0, 0, *image.size)):
        part = np.asarray(image.crop(box))
        samples.stored[box[1] : box[3]] = part
        pixels.stored[box[1] : box[3]] = convert(part)
    note = "CMYK edited as sRGB by its profile" if profiled else "CMYK without a profile: edited as sRGB by formula"
    if icc is not None and not profiled:
        note = _unusable("CMYK")
    return Photo(pixels.upright, notes=(note,), native=Native("CMYK", samples.upright, usable if profiled else None))


def _profiled_gray(image: Image.Image, orientation: int, icc: bytes) -> Photo:
    samples = Canvas(image.size, 1, orientation)
    alpha = Canvas(image.size, 1, orientation) if _has_alpha(image) else None
    for box in strips((0, 0, *image.size)):
        part = _converted(image.crop(box), "LA" if alpha is None else "RGBA")
        samples.stored[box[1] : box[3]] = part[..., 0]
        if alpha is not None:
            alpha.stored[box[1] : box[3]] = part[..., 3]
    return profiled_gray(samples.upright, alpha.upright if alpha else None, icc)


def profiled_gray(samples: Samples, alpha: Samples | None, icc: bytes) -> Photo:
    """A photo of gray samples (uint8 or uint16 [H, W]) under a gray profile."""
    table = gray_to_srgb(icc, 256 if samples.dtype == np.uint8 else 65536)
    if table is None:
        return Photo(np.repeat(samples[..., None], 3, axis=2), alpha, notes=(_unusable("gray"),), native=Native("L"))
    return Photo(np.repeat(table[samples][..., None], 3, axis=2), alpha, native=Native("L", samples, icc))


def _unusable(mode: str) -> str:
    return f"{mode} with an unusable profile: taken as sRGB without it"
