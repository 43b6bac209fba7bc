"""Photo reading: one upright RGB picture of 8 or 16 bits, with alpha and metadata kept apart.

Colours are taken as stored: a photo in Display P3 or Adobe RGB is edited in that space and its profile travels to the
result, so that pixels the edit doesn't touch stay identical. CMYK, and gray with a profile of its own, are converted to
sRGB for the edit; what was stored is kept for writing.
"""

import io
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from dimrt.errors import InputError, ResourceError
from dimrt.photo.coded import coded_profile
from dimrt.photo.deep import read_deep
from dimrt.photo.header import Header, look, unreadable
from dimrt.photo.heif import heif_size, read_heif
from dimrt.photo.limits import LIMITS, Limits
from dimrt.photo.metadata import (
    BROKEN,
    EXTENDED,
    exif_of_tiff,
    fitted_exif,
    fitted_xmp,
    kept_exif,
    normal_exif,
    orientation,
)
from dimrt.photo.parts import Parts
from dimrt.photo.photo import Native, Photo, Pixels
from dimrt.photo.unpack import unpack
from dimrt.photo.upright import upright_size

__all__ = ["Photo", "Pixels", "photo_size", "read_photo"]

COMMON_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM")
OTHER_FORMATS = ("WEBP", "TIFF", "AVIF", "JPEG2000")
"""Formats that need more of Pillow loaded."""
MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
SIXTEEN = {"I;16", "I;16L", "I;16B", "I;16N"}
"""Modes of Pillow pictures of 16 bits; files of 16 bits don't come this way."""

_bomb_filter = threading.Lock()


def read_photo(source: str | Path | bytes | Image.Image | NDArray[Any], limits: Limits = LIMITS) -> Photo:
    """Read a photo.

    Args:
        source: a file, the bytes of one, a Pillow image, or a uint8 or uint16 array [H, W], [H, W, 3] or [H, W, 4]
            (RGB order).
        limits: on pixels, bytes and metadata.

    Raises:
        InputError: no such file, not an image, damaged, over the limits (150 megapixels, 1 GiB), or of a kind that
            would lose precision without notice (over 16 bits a channel, floating point).
        ResourceError: it doesn't fit into memory, or needs a package that isn't installed (16 bits, HEIC).
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, limits)
    if isinstance(source, Image.Image):
        return _from_image(source, "the given image", Header(), limits)
    if isinstance(source, bytes):
        limits.check_bytes(len(source), "the given bytes")
        return _from_file(io.BytesIO(source), "the given bytes", limits)
    path = Path(source)
    with _opened(path, limits) as file:
        return replace(_from_file(file, str(path), limits), path=path)


def photo_size(source: str | Path | bytes, limits: Limits = LIMITS) -> tuple[int, int]:
    """Width and height of the upright photo in a file (or the bytes of one), from its header alone.

    Raises:
        InputError: as `read_photo`, for what the header tells; damage behind it stays unseen.
    """
    if isinstance(source, bytes):
        return _upright_size(io.BytesIO(source), "the given bytes", limits)
    path = Path(source)
    with _opened(path, limits) as file:
        return _upright_size(file, str(path), limits)


def _upright_size(file: BinaryIO, name: str, limits: Limits) -> tuple[int, int]:
    header = look(file, name, limits)
    if header.kind == "HEIF":
        return heif_size(file, name, limits)
    if header.bits > 8 and header.size is not None:
        return upright_size(header.size, _turned(header))
    image = _open(file, name, header)
    limits.check_size(image.size, name)
    _check_mode(image, name)
    # A TIFF's size is upright already, in Pillow.
    return upright_size(image.size, 1 if header.kind == "TIFF" else orientation(_exif(image, header)))


def _turned(header: Header) -> int:
    """Orientation that a deep file tells of and its decoder doesn't apply."""
    if header.kind == "TIFF":
        found = (header.tags["orientation"] or [1])[0]
        return found if 1 <= found <= 8 else 1
    return orientation(normal_exif(header.exif)) if header.kind == "PNG" else 1


def _from_array(array: NDArray[Any], limits: Limits) -> Photo:
    if array.dtype not in (np.uint8, np.uint16):
        raise InputError(f"the given array is {array.dtype}; give uint8 values from 0 to 255, or uint16 to 65535")
    native = Native("L") if array.ndim == 2 else None
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in (3, 4):
        raise InputError(f"the given array has shape {array.shape}; give [H, W], [H, W, 3] or [H, W, 4]")
    limits.check_size((array.shape[1], array.shape[0]), "the given array")
    alpha = np.ascontiguousarray(array[:, :, 3]) if array.shape[2] == 4 else None
    return Photo(pixels=np.ascontiguousarray(array[:, :, :3]), alpha=alpha, native=native)


def _opened(path: Path, limits: Limits) -> BinaryIO:
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; give an image file")
        limits.check_bytes(path.stat().st_size, str(path))
        return path.open("rb")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except OSError as error:
        raise unreadable(str(path), error) from error


def _from_file(file: BinaryIO, name: str, limits: Limits) -> Photo:
    header = look(file, name, limits)
    try:
        if header.kind == "HEIF":
            return read_heif(file, name, limits)
        return _coded(_pixels(file, name, header, limits), header)
    except MemoryError as error:
        size = "" if header.size is None else f" ({header.size[0]} x {header.size[1]})"
        raise ResourceError(f"{name} doesn't fit into memory{size}; make it smaller") from error


def _pixels(file: BinaryIO, name: str, header: Header, limits: Limits) -> Photo:
    if header.bits <= 8:
        return _from_image(_open(file, name, header), name, header, limits, file)
    if header.kind == "AVIF":
        # libvips gives pixels that are turned already, and Pillow the metadata as it is.
        told = _open(file, name, header).info
        header.icc, header.exif, header.xmp = (told.get(key) for key in ("icc_profile", "exif", "xmp"))
    return _with_metadata(read_deep(file, header, _turned(header), name), file, header, limits, name)


def _coded(photo: Photo, header: Header) -> Photo:
    """The photo with a profile for colours that the file tells by code points only."""
    if photo.icc is not None or (photo.native is not None and photo.native.mode != "RGB"):
        return photo
    icc, notes = coded_profile(header.code)
    return replace(photo, icc=icc, notes=(*photo.notes, *notes))


def _with_metadata(photo: Photo, file: BinaryIO, header: Header, limits: Limits, name: str) -> Photo:
    """A deep photo with the EXIF and XMP of its file."""
    exif = exif_of_tiff(file) if header.kind == "TIFF" else normal_exif(header.exif)
    limits.check_metadata(sum(len(block or b"") for block in (header.icc, exif, header.xmp)), name)
    return replace(photo, exif=fitted_exif(exif, photo.size), xmp=fitted_xmp(header.xmp, photo.size))


def _open(file: BinaryIO, name: str, header: Header) -> Image.Image:
    """Read the header only. Pillow's own warning on large pictures is replaced by our limits."""
    if header.size is None and not file.read(1):
        raise InputError(f"{name}: the file is empty; give an image file")
    file.seek(0)
    if header.kind == "PNG":
        file = io.BufferedReader(Parts(file, header.pixels), 1 << 16)
    with _bomb_filter, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            try:
                return Image.open(file, formats=COMMON_FORMATS)
            except UnidentifiedImageError:
                Image.init()
                known = [kind for kind in OTHER_FORMATS if kind in Image.OPEN]
                return Image.open(file, formats=known)
        except Image.DecompressionBombError as error:
            raise InputError(f"{name} has more pixels than Pillow opens; make it smaller first") from error
        except UnidentifiedImageError as error:
            raise InputError(
                f"{name} is not an image that dimrt reads (JPEG, PNG, WebP, TIFF, AVIF, HEIC, JPEG 2000, GIF, BMP, "
                "PPM), or its beginning is damaged; convert it to JPEG or PNG first"
            ) from error
        except BROKEN as error:
            raise unreadable(name, error) from error


def _from_image(image: Image.Image, name: str, header: Header, limits: Limits, file: BinaryIO | None = None) -> Photo:
    limits.check_size(image.size, name)
    _check_mode(image, name)
    try:
        # An MPO's further frames are a phone's depth maps and previews, nothing the user calls frames.
        several = header.frames > 1 or (getattr(image, "is_animated", False) and image.format != "MPO")
        exif = exif_of_tiff(file) if header.kind == "TIFF" and file else _exif(image, header)
        # Some decoders turn the picture themselves while loading and then say so; what they left is done here.
        image.load()
        left = 1 if header.kind == "TIFF" else orientation(_exif(image, header))
        if image.mode in SIXTEEN:
            return _from_array(np.asarray(image).astype(np.uint16), limits)
        photo = unpack(image, left, header.icc or image.info.get("icc_profile") or None)
        xmp = header.xmp or image.info.get("xmp") or None
    except BROKEN as error:
        raise unreadable(name, error) from error
    limits.check_metadata(sum(len(block or b"") for block in (photo.icc, exif, xmp)), name)
    notes = [*(["several frames or pages: the first is used"] if several else []), *photo.notes]
    if isinstance(xmp, bytes) and EXTENDED in xmp:
        notes.append("the XMP goes on outside its packet: that part is left out")
    exif, xmp = fitted_exif(exif, photo.size), fitted_xmp(xmp if isinstance(xmp, bytes) else None, photo.size)
    return replace(photo, exif=exif, xmp=xmp, notes=tuple(notes))


def _exif(image: Image.Image, header: Header) -> bytes | None:
    """The EXIF block as the file has it; of a Pillow image that keeps none, what its tags say."""
    block = header.exif or image.info.get("exif")
    if block or header.kind:
        return normal_exif(block)
    return kept_exif(image.getexif())


def _check_mode(image: Image.Image, name: str) -> None:
    """Refuse what Pillow would cut down to 8 bits silently (it says so in the raw mode of its decoder only)."""
    raw = [str(tile[3]) for tile in getattr(image, "tile", [])]
    if image.mode in {"I", "F"} or any(";16" in mode or ";12" in mode for mode in raw):
        raise InputError(f"{name} isn't of 8 or 16 whole bits a channel; convert it to a 16-bit TIFF or PNG")
    if image.mode not in MODES | SIXTEEN:
        raise InputError(f"{name} has the pixel format {image.mode}, which dimrt doesn't read; convert it to 8-bit RGB")
