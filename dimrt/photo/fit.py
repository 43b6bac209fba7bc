"""Fitting a photo to the painter's resolution and back: sizes, the painter's input tensor, its output as pixels.

Shrinking uses Pillow's bilinear filter (which low-passes) in every frame, as the original does.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dimrt.errors import InputError
from dimrt.manifest import Resolution
from dimrt.photo.colour import as_image, to_srgb
from dimrt.photo.photo import Photo, Pixels

MAX_ASPECT = 200
"""Longest side over shortest; the picture route of Qwen2.5-VL has the same limit."""


@dataclass(frozen=True)
class Frame:
    """How a photo becomes the painter's picture: resized to `resize` (width, height), then cut to `crop`.

    `crop` is (left, top, width, height) in resized pixels; `photo` is the photo's own (width, height).
    """

    photo: tuple[int, int]
    resize: tuple[int, int]
    crop: tuple[int, int, int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the painter's picture."""
        return self.crop[2], self.crop[3]

    @property
    def region(self) -> tuple[int, int, int, int]:
        """The crop in the photo's own pixels: left, top, right, bottom."""
        left, width = _span(self.crop[0], self.crop[2], self.photo[0] / self.resize[0], self.photo[0])
        top, height = _span(self.crop[1], self.crop[3], self.photo[1] / self.resize[1], self.photo[1])
        return left, top, left + width, top + height


def painter_frame(size: tuple[int, int], resolution: Resolution, frame: Literal["whole", "crop"]) -> Frame:
    """Choose the painter's picture for a photo of `size` (width, height).

    "crop" is the original's centre square. "whole" keeps the whole photo: `side` x `side` when the painter takes only
    squares, else an area of at most `side` squared in the photo's own aspect ratio, up to rounding to `multiple`.

    Raises:
        InputError: the photo is over 200 times longer than wide.
    """
    width, height = size
    if max(size) > MAX_ASPECT * min(size):
        raise InputError(f"the photo is {width} x {height}, over {MAX_ASPECT} times longer than wide; crop it first")
    if frame == "crop":
        return _centre_square(size, resolution.side)
    target = (resolution.side, resolution.side) if resolution.aspect == "square" else _free_size(size, resolution)
    return Frame(photo=size, resize=target, crop=(0, 0, *target))


def to_painter(photo: Photo, frame: Frame) -> NDArray[np.float32]:
    """The painter's input, float32 [1, 3, H, W] in [-1, 1], sRGB. Alpha is dropped, as in the original."""
    image = as_image(photo.pixels)
    if image.size != frame.resize:
        image = image.resize(frame.resize, Image.Resampling.BILINEAR)
    left, top, width, height = frame.crop
    cropped = np.asarray(image.crop((left, top, left + width, top + height)))
    values = to_srgb(cropped, photo.icc).astype(np.float32)
    scaled = (values / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def original_crop(photo: Photo, side: int) -> NDArray[np.float32]:
    """The original's painter input: shorter side to `side`, centre square; float32 [1, 3, side, side] in [-1, 1]."""
    return to_painter(photo, _centre_square(photo.size, side))


def to_levels(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """The autoencoder's output [1, 3, H, W] (nominally in [-1, 1]) as float32 [H, W, 3] from 0 to 255, clamped."""
    values = np.clip(np.asarray(pixels[0], dtype=np.float32).transpose(1, 2, 0), -1, 1)
    return np.ascontiguousarray((values + 1) / 2 * np.float32(255))


def from_painter(pixels: NDArray[Any]) -> Pixels:
    """The autoencoder's output [1, 3, H, W] as uint8 [H, W, 3]: clamped, rounded half up."""
    rounded: Pixels = np.floor(to_levels(pixels) + np.float32(0.5)).astype(np.uint8)
    return rounded


def _span(start: int, length: int, scale: float, whole: int) -> tuple[int, int]:
    """Start and length of an interval times `scale`, in whole pixels, at least one, inside `whole`."""
    scaled = max(round(length * scale), 1)
    return min(round(start * scale), whole - scaled), scaled


def _centre_square(size: tuple[int, int], side: int) -> Frame:
    """Shorter side to `side`, longer side floored in proportion, offset rounded half to even."""
    shorter = min(size)
    width, height = (side if length == shorter else side * length // shorter for length in size)
    return Frame(
        photo=size, resize=(width, height), crop=(round((width - side) / 2), round((height - side) / 2), side, side)
    )


def _free_size(size: tuple[int, int], resolution: Resolution) -> tuple[int, int]:
    """Among the roundings of the ideal size to multiples, within the area, the one nearest in aspect ratio.

    A ribbon whose ideal height is below one multiple gets one multiple, and as much length as the area allows.
    """
    multiple, area = resolution.multiple, resolution.side**2
    scale = (area / (size[0] * size[1])) ** 0.5
    longest = area // multiple // multiple * multiple
    choices = []
    for length in size:
        lower = min(max(int(length * scale / multiple + 1e-9), 1) * multiple, longest)
        choices.append((lower, lower + multiple))
    wanted = size[0] / size[1]
    fitting = [(width, height) for width in choices[0] for height in choices[1] if width * height <= area]
    return min(fitting, key=lambda sides: (round(abs(np.log(sides[0] / sides[1] / wanted)), 9), -sides[0] * sides[1]))
