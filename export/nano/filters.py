"""Photographic edits as exact functions of colour and of place in the picture, alike at every picture size."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Floats = NDArray[np.float32]

BLUR = 0.02
"""Standard deviation of the blur as a share of the mean side."""
CORNER = 0.75
"""What the vignette takes away in the corners; it grows with the square of the distance from the middle."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def _luma(picture: Floats) -> Floats:
    return (picture @ _LUMA)[..., None]


def _gain(picture: Floats, red: float, green: float, blue: float) -> Floats:
    return picture * np.array([red, green, blue], np.float32)


def _grayscale(picture: Floats) -> Floats:
    return np.repeat(_luma(picture), 3, axis=-1)


def _sepia(picture: Floats) -> Floats:
    return _gain(_luma(picture), 1.07, 0.86, 0.62) + np.array([16, 10, 4], np.float32)


def _negative(picture: Floats) -> Floats:
    return 255 - picture


def _brighter(picture: Floats) -> Floats:
    return 255 * (picture / 255) ** np.float32(0.6)


def _darker(picture: Floats) -> Floats:
    return 255 * (picture / 255) ** np.float32(1.7)


def _warmer(picture: Floats) -> Floats:
    return _gain(picture, 1.12, 1.0, 0.75) + np.array([12, 4, 0], np.float32)


def _cooler(picture: Floats) -> Floats:
    return _gain(picture, 0.75, 0.98, 1.12) + np.array([0, 2, 14], np.float32)


def _vivid(picture: Floats) -> Floats:
    grey = _luma(picture)
    return grey + (picture - grey) * 1.8


def _faded(picture: Floats) -> Floats:
    return (_luma(picture) * 0.5 + picture * 0.5) * 0.7 + 60


def _contrast(picture: Floats) -> Floats:
    return (picture - 128) * 1.6 + 128


def _night(picture: Floats) -> Floats:
    return _gain(picture * 0.35 + _luma(picture) * 0.15, 0.7, 0.85, 1.5)


def _vignette(picture: Floats) -> Floats:
    down, across = (((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1) ** 2 / 2 for side in picture.shape[:2])
    return picture * (1 - CORNER * (down[:, None] + across[None]))[..., None]


def _blur(picture: Floats) -> Floats:
    radius = BLUR * sum(picture.shape[:2]) / 2
    blurred = Image.fromarray(picture.astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(blurred).astype(np.float32)


FILTERS: dict[str, Callable[[Floats], Floats]] = {
    "grayscale": _grayscale,
    "sepia": _sepia,
    "warmer": _warmer,
    "cooler": _cooler,
    "brighter": _brighter,
    "darker": _darker,
    "night": _night,
    "faded": _faded,
    "vivid": _vivid,
    "contrast": _contrast,
    "negative": _negative,
    "vignette": _vignette,
    "blur": _blur,
}


def apply_filter(name: str, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture (uint8 [h,w,3], any size) after one of `FILTERS`, rounded and clipped to uint8."""
    return np.clip(FILTERS[name](picture.astype(np.float32)) + 0.5, 0, 255).astype(np.uint8)
