"""Finished pictures as files: their format, their size, the photo's metadata."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dimrt.photo.read import Photo
from dimrt.photo.write import encode_photo
from dimrt.result import EditResult

KINDS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
"""Formats by the name that callers use; the media type is image/NAME."""

PREVIEW_QUALITY = 85

Size = tuple[int, int]


def encode(result: EditResult, photo: Photo | None, name: str, quality: int, fit: Size | None = None) -> bytes:
    """The file of a finished picture.

    Args:
        result: the picture.
        photo: where its profile and metadata come from.
        name: png, jpeg or webp.
        quality: of JPEG and WebP, 0 to 100.
        fit: width and height that the picture is made to fit in, when it's larger.
    """
    pixels = result.image if fit is None else shrunk(result.image, fit)
    if photo is not None and pixels is not result.image:
        photo = replace(photo, native=None)  # what the file had in place of RGB is of the old size
    return encode_photo(KINDS[name], pixels, photo, max(quality, 1))[0]


def encode_shown(photo: Photo, name: str, quality: int, fit: Size | None = None) -> bytes:
    """The photo itself as a file to look at: upright, its profile and none of its other metadata."""
    pixels = photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])
    return encode_photo(
        KINDS[name], pixels if fit is None else shrunk(pixels, fit), Photo(photo.pixels, icc=photo.icc), quality
    )[0]


def encode_preview(image: NDArray[np.uint8], name: str) -> bytes:
    """The file of an unfinished picture, uint8 [h, w, 3]."""
    return encode_photo(KINDS[name], image, None, PREVIEW_QUALITY)[0]


def parse_size(text: str) -> Size | None:
    """Width and height that a picture is to fit in, of "auto" (None: its own) or "WIDTHxHEIGHT"."""
    width, _, height = text.partition("x")
    return None if text == "auto" else (int(width), int(height))


def size_within(pixels: NDArray[Any], fit: Size | None) -> Size:
    """Width and height of a picture [H, W, C] made to fit in (width, height) with its own proportions."""
    height, width = pixels.shape[:2]
    scale = 1.0 if fit is None else min(fit[0] / width, fit[1] / height, 1.0)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def shrunk(pixels: NDArray[Any], fit: Size) -> NDArray[Any]:
    """The picture [H, W, C], made smaller to fit in (width, height); itself when it fits."""
    size = size_within(pixels, fit)
    if size == (pixels.shape[1], pixels.shape[0]):
        return pixels
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    planes = [Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(pixels, 2, 0)]
    resized = [np.asarray(plane.resize(size, Image.Resampling.LANCZOS)) for plane in planes]
    levels = np.rint(np.stack(resized, axis=2)).clip(0, np.iinfo(pixels.dtype).max)
    resized_pixels: NDArray[Any] = levels.astype(pixels.dtype)
    return resized_pixels
