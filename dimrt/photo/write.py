"""Photo writing: format from the suffix, metadata kept, atomically."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dimrt.errors import InputError
from dimrt.files import atomic_write
from dimrt.photo.read import Photo

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
}
LONGEST = {"JPEG": 65_535, "WEBP": 16_383, "AVIF": 65_536, "HEIF": 16_384}
"""Longest side in pixels that a format can hold, where an edit can reach it."""
JPEG_EXIF = 65_527
"""Longest EXIF block in bytes of a JPEG file."""
QUALITY = 95


def check_output(path: str | Path, quality: int = QUALITY) -> None:
    """Refuse an output that can't be written, before any work is done for it.

    Raises:
        InputError: unknown suffix, missing folder, a folder in the file's place, or a quality outside 1 to 100.
    """
    target = Path(path)
    if target.suffix.lower() not in FORMATS:
        known = ", ".join(FORMATS)
        raise InputError(f"{target}: unknown picture suffix {target.suffix!r}; end the name in one of {known}")
    if not target.parent.is_dir():
        raise InputError(f"can't write {target}: the folder {target.parent} doesn't exist; create it first")
    if target.is_dir():
        raise InputError(f"{target} is a folder; name a file to write")
    if not 1 <= quality <= 100:
        raise InputError(f"quality {quality} is not from 1 to 100")


def write_photo(
    path: str | Path, pixels: NDArray[Any], photo: Photo | None = None, quality: int = QUALITY
) -> list[str]:
    """Write a picture in the format of the suffix (JPEG, PNG, WebP, TIFF); a file already there is replaced whole.

    Args:
        path: the file to write.
        pixels: uint8 [H, W, 3], or [H, W, 4] with alpha.
        photo: where profile and EXIF come from, and alpha when `pixels` has none and is of the same size.
        quality: of JPEG (with full colour resolution) and WebP, 1 to 100.

    Returns:
        Notes for the user on what the format couldn't hold.

    Raises:
        InputError: as `check_output`, or the picture is too large for the format.
        ResourceError: the disk is full.
    """
    target = Path(path)
    check_output(target, quality)
    encoded, notes = encode_photo(FORMATS[target.suffix.lower()], pixels, photo, quality, str(target))
    with atomic_write(target) as file:
        file.write(encoded)
    return notes


def encode_photo(
    kind: str, pixels: NDArray[Any], photo: Photo | None = None, quality: int = QUALITY, name: str = "the picture"
) -> tuple[bytes, list[str]]:
    """The bytes of a file, and notes for the user on what the format couldn't hold.

    Args:
        kind: "JPEG", "PNG", "WEBP", "TIFF", "AVIF" or "HEIF".
        pixels, photo, quality: as for `write_photo`.
        name: of the picture in errors.

    Raises:
        InputError: the picture is too large for the format.
    """
    longest = max(pixels.shape[:2])
    if longest > LONGEST.get(kind, longest):
        raise InputError(f"{name}: {kind} holds sides up to {LONGEST[kind]:,} pixels, this is {longest:,}; use .png")
    notes: list[str] = []
    image = Image.fromarray(_with_alpha(pixels, photo))
    if image.mode == "RGBA" and kind == "JPEG":
        image = _on_white(image)
        notes.append("JPEG holds no transparency: it was laid on white")
    return _encode(image, kind, _settings(kind, photo, quality, notes)), notes


def _with_alpha(pixels: NDArray[Any], photo: Photo | None) -> NDArray[np.uint8]:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise InputError(f"can't write an array of {pixels.dtype} {pixels.shape}; give uint8 [H, W, 3] or [H, W, 4]")
    alpha = None if photo is None or pixels.shape[2] == 4 else photo.alpha
    return pixels if alpha is None or alpha.shape != pixels.shape[:2] else np.dstack([pixels, alpha])


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def _settings(kind: str, photo: Photo | None, quality: int, notes: list[str]) -> dict[str, Any]:
    """Pillow's save parameters."""
    settings: dict[str, Any] = {}
    if photo is not None and photo.icc is not None:
        settings["icc_profile"] = photo.icc
    if photo is not None and photo.exif is not None:
        if kind == "JPEG" and len(photo.exif) > JPEG_EXIF:
            notes.append(f"EXIF left out: {len(photo.exif):,} bytes, JPEG holds {JPEG_EXIF:,}")
        else:
            settings["exif"] = photo.exif
    # TIFF stays uncompressed: with compression Pillow hands the file to libtiff, which can't hold an EXIF block.
    if kind == "JPEG":
        settings.update(quality=quality, subsampling=0)
    elif kind == "WEBP":
        settings.update(quality=quality, method=4, exact=True)
    return settings


def _encode(image: Image.Image, kind: str, settings: dict[str, Any]) -> bytes:
    """Encode in memory: Pillow writing to a file itself reports a full disk without saying so."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **settings)
    return buffer.getvalue()
