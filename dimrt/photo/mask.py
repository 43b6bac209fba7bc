"""What a user lets an edit touch: a mask or a rectangle, read and checked against the photo.

A mask marks what is to be edited. Where it has transparency, its transparent part is edited (as in OpenAI's API), and
its colours say nothing; where it has none, its white part is. Values between are partial shares.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dimrt.errors import InputError
from dimrt.photo.planes import Box
from dimrt.photo.read import read_photo

MaskSource = str | Path | bytes | Image.Image | NDArray[Any]
BY_ALPHA = "its transparent part is edited (it has transparency; its colours are not looked at)"
BY_WHITE = "its white part is edited (it has no transparency)"
_NUMBER = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(%?)\s*")


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask that fits its photo.

    Attributes:
        share: uint8 [H, W]: 255 is edited, 0 stays exactly, between lies a partial share.
        reading: which part of it was taken for the one to edit, in words for the user.
    """

    share: NDArray[np.uint8]
    reading: str = BY_WHITE

    def __eq__(self, other: object) -> bool:
        """Whether both let the same pixels be edited."""
        return isinstance(other, Mask) and np.array_equal(self.share, other.share)

    def __hash__(self) -> int:
        """By its size: cheap, and equal masks agree."""
        return hash(self.share.shape)


def read_mask(source: MaskSource | Mask, size: tuple[int, int]) -> Mask:
    """Read a mask for a photo.

    Args:
        source: a file, the bytes of one, a Pillow image, or an array [H, W] (bool, or numbers where 0 stays and the
            highest is edited), [H, W, 3] or [H, W, 4]; its EXIF orientation is applied.
        size: width and height of the upright photo.

    Raises:
        InputError: it can't be read, has another size than the photo, or marks nothing to edit.
    """
    mask = source if isinstance(source, Mask) else _read(source)
    name = f"the mask {source}" if isinstance(source, str | Path) else "the mask"
    height, width = mask.share.shape
    if (width, height) != size:
        turned = " (it lies on its side: a mask is compared with the upright photo)" if (height, width) == size else ""
        raise InputError(
            f"{name} is {width} x {height} and the photo is {size[0]} x {size[1]}{turned}; "
            "give a mask of exactly the photo's size"
        )
    if not mask.share.any():
        missing = "opaque everywhere" if mask.reading == BY_ALPHA else "black everywhere and not transparent"
        raise InputError(f"{name} marks nothing to edit: it is {missing}; make white or transparent what is to change")
    return mask


def parse_region(text: str, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A rectangle from "x,y,width,height": pixels of the upright photo, or shares of its sides ("25%,0,50%,100%").

    Args:
        text: four numbers, each whole or with a % sign.
        size: width and height of the upright photo.

    Returns:
        x, y, width and height in pixels, inside the photo.

    Raises:
        InputError: not of this form, or not inside the photo.
    """
    found = [_NUMBER.fullmatch(part) for part in text.split(",")]
    if len(found) != 4 or any(match is None or ("." in match[1] and not match[2]) for match in found):
        raise InputError(
            f"region {text!r} isn't four numbers x,y,width,height; give pixels (120,80,400,300) or percent of the "
            "photo's sides (25%,0%,50%,100%)"
        )
    numbers = [(float(match[1]), bool(match[2])) for match in found if match is not None]
    start, end = [], []
    for axis in (0, 1):
        (first, first_share), (length, length_share) = numbers[axis], numbers[axis + 2]
        unit = size[axis] / 100
        exact = first * unit if first_share else first
        start.append(math.floor(exact + 0.5))
        end.append(math.floor(exact + (length * unit if length_share else length) + 0.5))
    region = start[0], start[1], end[0] - start[0], end[1] - start[1]
    region_box(region, size)
    return region


def region_box(region: Sequence[int], size: tuple[int, int]) -> Box:
    """The rectangle (x, y, width, height) as left, top, right, bottom.

    Raises:
        InputError: it is empty, or leaves a photo of this (width, height).
    """
    x, y, width, height = (int(value) for value in region)
    if width < 1 or height < 1:
        raise InputError(f"region {x},{y},{width},{height} is empty; give a width and a height of at least one pixel")
    if x < 0 or y < 0 or x + width > size[0] or y + height > size[1]:
        raise InputError(
            f"region {x},{y},{width},{height} leaves the photo, which is {size[0]} x {size[1]}; keep x + width within "
            f"{size[0]} and y + height within {size[1]}"
        )
    return x, y, x + width, y + height


def _read(source: MaskSource) -> Mask:
    photo = read_photo(_levels(source) if isinstance(source, np.ndarray) else source)
    if photo.alpha is not None:
        alpha = _eight_bits(photo.alpha)
        if (alpha < 255).any():
            return Mask(255 - alpha, BY_ALPHA)
    return Mask(np.asarray(Image.fromarray(_eight_bits(photo.pixels)).convert("L")))


def _levels(array: NDArray[Any]) -> NDArray[Any]:
    """An array whose highest possible value is white: bool, and numbers of which none is above one, are widened."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype == np.bool_ or (array.dtype == np.uint8 and array.ndim == 2 and array.size and array.max() <= 1):
        return np.asarray(array.astype(np.uint8) * np.uint8(255))
    return array


def _eight_bits(levels: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 as it is; uint16 rounded to it."""
    if levels.dtype == np.uint8:
        return levels
    eight: NDArray[np.uint8] = ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return eight
