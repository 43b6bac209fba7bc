"""Photo reading: one upright 8-bit RGB picture, with alpha and metadata kept apart.

Colours are taken as stored: a photo in Display P3 or Adobe RGB is edited in that space and its profile travels to the
result, so that pixels the edit doesn't touch stay identical. Profiles of other colour models (CMYK, gray) can't
describe an RGB result; such photos are converted to sRGB.
"""

import io
import struct
import threading
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from dimrt.errors import InputError, ResourceError
from dimrt.photo.photo import Photo, Pixels

__all__ = ["Photo", "Pixels", "photo_size", "read_photo"]

MAX_PIXELS = 150_000_000
MAX_BYTES = 1 << 30
COMMON_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM")
OTHER_FORMATS = ("WEBP", "TIFF", "AVIF", "JPEG2000", "HEIF")
"""Formats that need more of Pillow loaded; HEIF is there when a plugin registered it."""
MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    EOFError,
    struct.error,
)
"""What Pillow's decoders raise on damaged files."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How to turn a picture upright, by its EXIF orientation."""
SIDEWAYS = {5, 6, 7, 8}
"""Orientations that swap width and height."""
STORAGE_TAGS = {*range(254, 267), *range(273, 282), 284, 292, 293, 301, 317, 318, 319, *range(320, 327)} | {
    *range(330, 333), *range(338, 348), *range(512, 533), 559, 700, 33723, 34377, 34675, 37724,
}  # fmt: skip
"""TIFF tags that describe how the old file stored its pixels (or hold the profile), not the photo."""
SUB_BLOCKS = {int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo)}

_bomb_filter = threading.Lock()


def read_photo(source: str | Path | bytes | Image.Image | NDArray[Any]) -> Photo:
    """Read a photo.

    Args:
        source: a file, the bytes of one, a Pillow image, or a uint8 or uint16 array [H, W], [H, W, 3] or [H, W, 4]
            (RGB order).

    Raises:
        InputError: no such file, not an image, damaged, over the limits (150 megapixels, 1 GiB), or of a kind that
            would lose precision without notice (16 bits a channel, floating point).
        ResourceError: it doesn't fit into memory.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _from_image(source, "the given image", None)
    if isinstance(source, bytes):
        return _from_bytes(source, "the given bytes", None)
    path = Path(source)
    return _from_bytes(_read_file(path), str(path), path)


def photo_size(source: str | Path | bytes) -> tuple[int, int]:
    """Width and height of the upright photo in a file (or the bytes of one), from its header alone.

    Raises:
        InputError: as `read_photo`, for what the header tells; damage behind it stays unseen.
    """
    if isinstance(source, bytes):
        return _upright_size(io.BytesIO(source), "the given bytes")
    path = Path(source)
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file; check the path")
        with path.open("rb") as file:
            return _upright_size(file, str(path))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from error


def _upright_size(file: BinaryIO, name: str) -> tuple[int, int]:
    image = _open(file, name)
    _check_size(image.size, name)
    _check_depth(image, name)
    # A PNG may keep its EXIF behind the pixels, and asking for it would decode them; a TIFF's size is upright.
    known = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
    turned = known and _orientation(image) in SIDEWAYS
    return (image.height, image.width) if turned else (image.width, image.height)


def _from_array(array: NDArray[Any]) -> Photo:
    if array.dtype not in (np.uint8, np.uint16):
        raise InputError(f"the given array is {array.dtype}; give uint8 values from 0 to 255, or uint16 to 65535")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in (3, 4):
        raise InputError(f"the given array has shape {array.shape}; give [H, W], [H, W, 3] or [H, W, 4]")
    _check_size((array.shape[1], array.shape[0]), "the given array")
    alpha = np.ascontiguousarray(array[:, :, 3]) if array.shape[2] == 4 else None
    return Photo(pixels=np.ascontiguousarray(array[:, :, :3]), alpha=alpha)


def _read_file(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise InputError(f"{path} is a folder; give an image file")
        if size > MAX_BYTES:
            raise InputError(f"{path} has {size:,} bytes, more than the limit of {MAX_BYTES:,}; give a smaller file")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from error


def _from_bytes(data: bytes, name: str, path: Path | None) -> Photo:
    if not data:
        raise InputError(f"{name}: the file is empty; give an image file")
    return _from_image(_open(io.BytesIO(data), name), name, path)


def _open(file: BinaryIO, name: str) -> Image.Image:
    """Read the header only. Pillow's own warning on large pictures is replaced by `MAX_PIXELS`."""
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
            raise InputError(
                f"{name} has more pixels than the limit of {MAX_PIXELS:,}; make it smaller first"
            ) from error
        except UnidentifiedImageError as error:
            raise InputError(
                f"{name} is not an image that dimrt reads (JPEG, PNG, WebP, TIFF, AVIF, JPEG 2000, GIF, BMP, PPM), "
                "or its beginning is damaged; convert it to JPEG or PNG first"
            ) from error
        except DECODE_ERRORS as error:
            raise _damaged(name, error) from error


def _from_image(image: Image.Image, name: str, path: Path | None) -> Photo:
    _check_size(image.size, name)
    _check_depth(image, name)
    notes = []
    try:
        # An MPO's further frames are a phone's depth maps and previews, nothing the user calls frames.
        if getattr(image, "is_animated", False) and image.format != "MPO":
            notes.append("several frames or pages: the first is used")
        exif = _metadata(image)
        # Some decoders turn the picture themselves while loading and then say so; what they left is done here.
        image.load()
        orientation = _orientation(image)
        icc = image.info.get("icc_profile") or None
        xmp = image.info.get("xmp") or None
        if orientation in TURNS:
            image = image.transpose(TURNS[orientation])
        image, alpha = _split_alpha(image)
        if icc is not None and icc[16:20] != b"RGB ":
            image, note = _to_srgb(image, icc)
            icc = None
            notes.append(note)
        pixels = np.asarray(image.convert("RGB"))
    except MemoryError as error:
        raise ResourceError(
            f"{name} doesn't fit into memory ({image.width} x {image.height}); make it smaller"
        ) from error
    except DECODE_ERRORS as error:
        raise _damaged(name, error) from error
    return Photo(pixels, alpha, icc, exif, path, tuple(notes), xmp)


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise InputError(f"{name} is empty ({width} x {height} pixels)")
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name} has {width:,} x {height:,} pixels, more than the limit of {MAX_PIXELS:,}; make it smaller first"
        )


def _check_depth(image: Image.Image, name: str) -> None:
    """Refuse what Pillow would cut down to 8 bits silently (it says so in the raw mode of its decoder only)."""
    raw = [str(tile[3]) for tile in getattr(image, "tile", [])]
    if image.mode.startswith("I") or any(";16" in mode for mode in raw):
        raise InputError(f"{name} has 16 or more bits a channel, dimrt edits 8; convert it to 8 bits first")
    if image.mode not in MODES:
        raise InputError(f"{name} has the pixel format {image.mode}, which dimrt doesn't read; convert it to 8-bit RGB")


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Pixels | None]:
    """The picture without transparency (colours under it as stored), and the alpha if it had any."""
    if image.mode in {"La", "RGBa"}:
        image = image.convert(image.mode.upper())
    if image.mode not in {"LA", "PA", "RGBA"} and "transparency" not in image.info:
        return image, None
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    return image.convert("L" if image.mode in {"1", "L", "LA"} else "RGB"), alpha


def _metadata(image: Image.Image) -> bytes | None:
    """The EXIF block for the upright result; broken metadata is no reason to refuse a good picture."""
    try:
        exif = image.getexif()
        kept = Image.Exif()
        for tag in exif.keys() - STORAGE_TAGS - SUB_BLOCKS:
            kept[tag] = exif[tag]
        for tag in exif.keys() & SUB_BLOCKS:
            kept[tag] = {key: value for key, value in exif.get_ifd(tag).items() if key != ExifTags.IFD.Interop}
        if ExifTags.Base.Orientation in exif:
            kept[ExifTags.Base.Orientation] = 1
        return kept.tobytes() if kept else None
    except DECODE_ERRORS:
        return None


def _orientation(image: Image.Image) -> int:
    """EXIF orientation; 1 (upright) when absent or unreadable."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except DECODE_ERRORS:
        return 1


def _to_srgb(image: Image.Image, icc: bytes) -> tuple[Image.Image, str]:
    """Convert a CMYK or gray picture by its profile; an unusable profile is ignored, as viewers do."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image, f"{image.mode} with an unusable profile: converted to sRGB without it"
    if converted is None:
        return image, f"{image.mode} with an unusable profile: converted to sRGB without it"
    return converted, f"{image.mode} converted to sRGB by its profile"


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(f"{name} is truncated or damaged ({error}); get a complete copy")
