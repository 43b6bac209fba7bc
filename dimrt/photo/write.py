"""Photo writing: format from the suffix, metadata kept, atomically.

Rows go from the array to the encoder, and what it gives to the file: no encoded copy is held for the formats that can
be written as they are encoded.
"""

import io
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dimrt.errors import InputError
from dimrt.files import atomic_write
from dimrt.photo.colour import to_eight
from dimrt.photo.deep import check_extra, write_deep_avif, write_deep_png
from dimrt.photo.heif import write_heif
from dimrt.photo.metadata import fitted_exif, fitted_xmp
from dimrt.photo.native import Form, formed
from dimrt.photo.photo import Photo, Samples
from dimrt.photo.planes import strips
from dimrt.photo.png_write import PngStream, metadata_chunks
from dimrt.photo.tiff_write import write_tiff

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
DEPTHS = {"JPEG": 8, "WEBP": 8, "PNG": 16, "TIFF": 16, "AVIF": 10, "HEIF": 10}
"""Bits of a channel that a 16-bit picture keeps in a format; AVIF and HEIC hold 12 where the photo had them."""
JPEG_BLOCK = {"exif": 65_527, "xmp": 65_504}
"""Longest EXIF block (with its prefix) and XMP packet in bytes of a JPEG file."""
QUALITY = 95


def check_output(path: str | Path, quality: int = QUALITY) -> None:
    """Refuse an output that can't be written, before any work is done for it.

    Raises:
        InputError: unknown suffix, missing folder, a folder in the file's place, or a quality outside 1 to 100.
        ResourceError: a HEIC file, and pillow-heif isn't installed.
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
    if FORMATS[target.suffix.lower()] == "HEIF":
        check_extra("pillow_heif", f"{target}: HEIC")


def write_photo(
    path: str | Path, pixels: NDArray[Any], photo: Photo | None = None, quality: int = QUALITY
) -> list[str]:
    """Write a picture in the format of the suffix; a file already there is replaced whole.

    JPEG, PNG, WebP, TIFF and AVIF; HEIC with pillow-heif. A gray, palette or CMYK photo is written as that again where
    result and format allow, and its untouched pixels with the samples they had.

    Args:
        path: the file to write.
        pixels: uint8 or uint16 [H, W, 3], or [H, W, 4] with alpha.
        photo: the photo that was edited: where profile, EXIF and XMP come from, and alpha when `pixels` has none and
            is of the same size.
        quality: of JPEG (with full colour resolution), WebP, AVIF and HEIC, 1 to 100.

    Returns:
        Notes for the user on what the format couldn't hold.

    Raises:
        InputError: as `check_output`, or the picture is too large for the format.
        ResourceError: the disk is full, or a package for 16 bits or HEIC isn't installed.
    """
    target = Path(path)
    check_output(target, quality)
    picture = _Picture(FORMATS[target.suffix.lower()], pixels, photo, quality, str(target))
    with atomic_write(target) as file:
        picture.write(file)
    return picture.notes


def encode_photo(
    kind: str, pixels: NDArray[Any], photo: Photo | None = None, quality: int = QUALITY
) -> tuple[bytes, list[str]]:
    """The bytes of a file, and notes for the user on what the format couldn't hold.

    Args:
        kind: "JPEG", "PNG", "WEBP", "TIFF", "AVIF" or "HEIF".
        pixels, photo, quality: as for `write_photo`.

    Raises:
        InputError: an unknown kind or impossible quality, or the picture is too large for the format.
        ResourceError: a package for 16 bits or HEIC isn't installed.
    """
    if kind not in DEPTHS:
        raise InputError(f"{kind} is no picture format that dimrt writes; choose one of {', '.join(DEPTHS)}")
    if not 1 <= quality <= 100:
        raise InputError(f"quality {quality} is not from 1 to 100")
    picture = _Picture(kind, pixels, photo, quality, "the picture")
    buffer = io.BytesIO()
    picture.write(buffer)
    return buffer.getvalue(), picture.notes


class _Picture:
    """One picture on its way into a file: checked and formed at once, written when asked."""

    def __init__(self, kind: str, pixels: NDArray[Any], photo: Photo | None, quality: int, name: str) -> None:
        _check_array(pixels)
        longest = max(pixels.shape[:2])
        if longest > LONGEST.get(kind, longest):
            raise InputError(
                f"{name}: {kind} holds sides up to {LONGEST[kind]:,} pixels, this is {longest:,}; use .png"
            )
        self.notes: list[str] = []
        self._kind, self._quality, self._name = kind, quality, name
        self._bits = _bits(kind, pixels, photo)
        if pixels.dtype == np.uint16 and self._bits > 8 and kind != "TIFF":
            check_extra("pillow_heif" if kind == "HEIF" else "pyvips", f"{name}: more than 8 bits a channel")
        self._form = self._formed(pixels, photo)
        size = pixels.shape[1], pixels.shape[0]
        self._exif = fitted_exif(photo.exif, size) if photo is not None else None
        self._xmp = fitted_xmp(photo.xmp, size) if photo is not None else None
        if kind == "JPEG":
            self._exif = self._fitting("exif", self._exif)
            self._xmp = self._fitting("xmp", self._xmp)

    def write(self, file: BinaryIO) -> None:
        """Encode into a file at its start."""
        if self._kind == "TIFF":
            write_tiff(file, self._form, self._exif, self._xmp)
        elif self._kind == "PNG":
            self._write_png(file)
        elif self._kind == "HEIF":
            write_heif(file, _joined(self._form), self._bits, self._settings(), self._name)
        elif self._form.samples.dtype == np.uint16:
            metadata = {"icc-profile-data": self._form.icc, "exif-data": self._exif, "xmp-data": self._xmp}
            write_deep_avif(file, _joined(self._form), self._bits, self._quality, metadata, self._name)
        else:
            _as_image(self._form).save(_Plain(file), format=self._kind, **self._settings())  # type: ignore[arg-type]

    def _formed(self, pixels: NDArray[Any], photo: Photo | None) -> Form:
        """The samples to write: as what the photo was, in the bits of the format, on white where that has no alpha."""
        alpha = _alpha(pixels, photo)
        pixels = pixels[..., :3]
        if alpha is not None and self._kind == "JPEG":
            pixels, alpha = _on_white(pixels, alpha), None
            self.notes.append("JPEG holds no transparency: it was laid on white")
        form = formed(self._kind, pixels, alpha, photo, self.notes)
        if pixels.dtype != np.uint16 or self._bits == 16:
            return form
        self.notes.append(f"{self._kind} holds {self._bits} bits a channel: the photo's 16 were rounded")
        if self._bits > 8:
            return form
        alpha = None if form.alpha is None else to_eight(form.alpha)
        return Form(form.kind, to_eight(form.samples), alpha, form.icc)

    def _fitting(self, what: str, block: bytes | None) -> bytes | None:
        """The block when JPEG holds it."""
        if block is not None and len(block) > JPEG_BLOCK[what]:
            self.notes.append(f"{what.upper()} left out: {len(block):,} bytes, {self._kind} holds {JPEG_BLOCK[what]:,}")
            return None
        return block

    def _settings(self) -> dict[str, Any]:
        """Save parameters of Pillow and pillow-heif."""
        named = {"icc_profile": self._form.icc, "exif": self._exif, "xmp": self._xmp}
        settings: dict[str, Any] = {name: block for name, block in named.items() if block is not None}
        settings["quality"] = self._quality
        if self._kind == "JPEG":
            settings["subsampling"] = 0
        elif self._kind == "AVIF":
            settings["subsampling"] = "4:4:4"
        elif self._kind == "WEBP":
            settings.update(method=4, exact=True)
        return settings

    def _write_png(self, file: BinaryIO) -> None:
        stream = PngStream(file, metadata_chunks(self._form.icc, self._exif, self._xmp))
        if self._form.samples.dtype == np.uint16:
            write_deep_png(stream, self._form.samples, self._form.alpha, self._name)
            return
        settings: dict[str, Any] = {}
        if self._form.palette is not None and (self._form.palette[:, 3] < 255).any():
            settings["transparency"] = self._form.palette[:, 3].tobytes()
        _as_image(self._form).save(stream, format="PNG", **settings)  # type: ignore[arg-type]


class _Plain:
    """A file that only takes bytes: through its descriptor Pillow would not say that a disk is full."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def flush(self) -> None:
        pass


def _check_array(pixels: NDArray[Any]) -> None:
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise InputError(
            f"can't write an array of {pixels.dtype} {pixels.shape}; give uint8 or uint16 [H, W, 3] or [H, W, 4]"
        )


def _bits(kind: str, pixels: NDArray[Any], photo: Photo | None) -> int:
    """Bits of a channel that the file gets."""
    if pixels.dtype == np.uint8:
        return 8
    own = 8 if photo is None or photo.native is None else photo.native.bits
    return 12 if kind in {"AVIF", "HEIF"} and own == 12 else DEPTHS[kind]


def _alpha(pixels: NDArray[Any], photo: Photo | None) -> Samples | None:
    """The result's own alpha, or the photo's where that fits."""
    if pixels.shape[2] == 4:
        return pixels[..., 3]
    if photo is None or photo.alpha is None or photo.alpha.shape != pixels.shape[:2]:
        return None
    if photo.alpha.dtype == pixels.dtype:
        return photo.alpha
    return to_eight(photo.alpha) if pixels.dtype == np.uint8 else photo.alpha.astype(np.uint16) * np.uint16(257)


def _on_white(pixels: Samples, alpha: Samples) -> Samples:
    """The picture as it looks on white; opaque pixels stay exactly."""
    most = 255 if pixels.dtype == np.uint8 else 65535
    result = np.empty(pixels.shape, pixels.dtype)
    for _, top, _, bottom in strips((0, 0, pixels.shape[1], pixels.shape[0])):
        share = alpha[top:bottom, :, None].astype(np.uint64)
        result[top:bottom] = (pixels[top:bottom] * share + most * (most - share) + most // 2) // most
    return result


def _joined(form: Form) -> Samples:
    """[H, W, 3], or [H, W, 4] with alpha."""
    return form.samples if form.alpha is None else np.dstack([form.samples, form.alpha])


def _as_image(form: Form) -> Image.Image:
    """The samples for Pillow's encoders."""
    if form.kind == "palette" and form.palette is not None:
        image = Image.fromarray(form.samples, mode="P")
        image.putpalette(form.palette[:, :3].tobytes())
        return image
    if form.kind == "cmyk":
        return Image.fromarray(form.samples, mode="CMYK")
    if form.kind == "gray" and form.alpha is not None:
        return Image.merge("LA", [Image.fromarray(form.samples), Image.fromarray(form.alpha)])
    return Image.fromarray(_joined(form))
