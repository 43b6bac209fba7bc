"""HEIC pictures in and out, through pillow-heif (`pip install "dimrt[photo]"`).

Its samples of 10 and 12 bits come shifted to 16; here they span all of 0 to 65535, so that white is white.
"""

from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from dimrt.errors import ResourceError
from dimrt.photo.coded import coded_profile
from dimrt.photo.deep import EXTRA, squeezed, stretched
from dimrt.photo.header import unreadable
from dimrt.photo.limits import Limits
from dimrt.photo.metadata import BROKEN, fitted_exif, fitted_xmp, normal_exif
from dimrt.photo.photo import Native, Photo, Samples


def heif_size(file: BinaryIO, name: str, limits: Limits) -> tuple[int, int]:
    """Width and height of the upright main picture. Raises as `read_heif`."""
    image = _opened(file, name, limits)[0]
    return int(image.size[0]), int(image.size[1])


def read_heif(file: BinaryIO, name: str, limits: Limits) -> Photo:
    """Read the main picture of a HEIC file, which libheif turns upright, as a photo without path.

    Raises:
        InputError: damaged, or over the limits.
        ResourceError: pillow-heif isn't installed.
    """
    image, several = _opened(file, name, limits)
    try:
        samples = np.asarray(image)
    except BROKEN as error:
        raise unreadable(name, error) from error
    bits = int(image.info.get("bit_depth", 8))
    samples = stretched(samples, bits) if samples.dtype == np.uint16 else samples
    if samples.ndim == 2:
        samples = samples[..., None]
    gray = samples.shape[2] < 3
    alpha = np.ascontiguousarray(samples[..., -1]) if samples.shape[2] in (2, 4) else None
    pixels = np.repeat(samples[..., :1], 3, axis=2) if gray else np.ascontiguousarray(samples[..., :3])
    icc = image.info.get("icc_profile") or None
    if icc is not None and icc[16:20] != b"RGB ":
        icc = None
    coded = image.info.get("nclx_profile") or {}
    told = None if icc or gray else (coded.get("color_primaries", 2), coded.get("transfer_characteristics", 2))
    profile, said = coded_profile(told)
    icc = icc or profile
    exif, xmp = normal_exif(image.info.get("exif")), image.info.get("xmp") or None
    limits.check_metadata(len(exif or b"") + len(xmp or b"") + len(icc or b""), name)
    notes = (*(("several pictures: the main one is used",) if several else ()), *said)
    native = Native("L" if gray else "RGB", bits=bits) if gray or bits > 8 else None
    size = image.size
    return Photo(pixels, alpha, icc, fitted_exif(exif, size), None, notes, fitted_xmp(xmp, size), native)


def write_heif(file: BinaryIO, pixels: Samples, bits: int, settings: dict[str, Any], name: str) -> None:
    """Write a HEIC file of 8, 10 or 12 bits a channel.

    Args:
        pixels: uint8 or uint16 [H, W, 3 or 4].
        bits: of the file; 8 exactly for uint8.
        settings: quality and metadata, as pillow-heif names them.

    Raises:
        ResourceError: pillow-heif, or the encoder in it, isn't installed.
    """
    library = _library(name)
    height, width, channels = pixels.shape
    mode = "RGBA" if channels == 4 else "RGB"
    if pixels.dtype == np.uint16:
        mode, pixels = f"{mode};16", squeezed(pixels, bits)
    try:
        library.from_bytes(mode, (width, height), pixels.tobytes()).save(file, **settings)
    except RuntimeError as error:
        raise ResourceError(f"{name}: this pillow-heif can't write HEIC ({error}); use .avif or .png") from error


def _opened(file: BinaryIO, name: str, limits: Limits) -> tuple[Any, bool]:
    """The main picture, not yet decoded, and whether there are others."""
    try:
        opened = _library(name).open_heif(file, convert_hdr_to_8bit=False)
        image = opened[opened.primary_index]
    except BROKEN as error:
        raise unreadable(name, error) from error
    limits.check_size(image.size, name)
    return image, len(opened) > 1


def _library(name: str) -> ModuleType:
    try:
        import pillow_heif
    except (ImportError, OSError) as error:
        raise ResourceError(f"{name}: HEIC needs pillow-heif: {EXTRA}") from error
    module: ModuleType = pillow_heif
    return module
