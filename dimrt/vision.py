"""The picture as the designer sees it (Qwen2.5-VL): size rule, patches, window order and rotary tables, in numpy.

The graph takes its patches window by window, each window padded at its end, so that windowed attention is a reshape.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dimrt.errors import InputError
from dimrt.manifest import Vision
from dimrt.photo.colour import as_image, to_srgb
from dimrt.photo.photo import Samples

MASKED = -10000.0
"""Added to a masked logit; finite, so that a row without any valid key stays finite in float16."""
_MAX_ASPECT = 200
_ROTARY_BASE = 10000.0


@dataclass(frozen=True)
class VisionInput:
    """Inputs of the `vision` graph. P = windows x slots patches, M merged tokens.

    Attributes:
        grid: patches (rows, columns) of the picture.
        patches: [P, channels x temporal x patch x patch] float32, normalised; padding is zero.
        cos, sin: [P, head_dim / 2] float32.
        window_mask: [windows, 1, 1, slots] float32, 0 or `MASKED`.
        order: [M] int64, the place of each merged token (raster order) among all merged slots.
    """

    grid: tuple[int, int]
    patches: NDArray[np.float32]
    cos: NDArray[np.float32]
    sin: NDArray[np.float32]
    window_mask: NDArray[np.float32]
    order: NDArray[np.int64]


def fit_size(width: int, height: int, vision: Vision) -> tuple[int, int]:
    """Size (width, height) in pixels that the rounding rule gives a picture.

    Sides are rounded to multiples of patch x merge (28), half to even; an area over `max_pixels` or under `min_pixels`
    is scaled back first, with floor or ceiling.

    Raises:
        InputError: one side is more than 200 times the other.
    """
    if max(width, height) > _MAX_ASPECT * min(width, height):
        raise InputError(
            f"the picture is {width} x {height} pixels, one side over {_MAX_ASPECT} times the other; crop it first"
        )
    factor = vision.patch_size * vision.merge_size
    sides = [max(factor, round(side / factor) * factor) for side in (width, height)]
    area = sides[0] * sides[1]
    if area > vision.max_pixels:
        scale = math.sqrt(width * height / vision.max_pixels)
        sides = [max(factor, math.floor(side / scale / factor) * factor) for side in (width, height)]
    elif area < vision.min_pixels:
        scale = math.sqrt(vision.min_pixels / (width * height))
        sides = [math.ceil(side * scale / factor) * factor for side in (width, height)]
    return sides[0], sides[1]


def condition_size(vision: Vision) -> tuple[int, int]:
    """Size (width, height) of the condition picture: the rule applied to a square of `condition_side`."""
    return fit_size(vision.condition_side, vision.condition_side, vision)


def prepare(
    pixels: Samples, vision: Vision, size: tuple[int, int], alpha: Samples | None = None, icc: bytes | None = None
) -> VisionInput:
    """Everything the `vision` graph needs for one picture.

    Args:
        pixels: uint8 or uint16 [H, W, 3].
        vision: the bundle's facts.
        size: (width, height) to resize to, from `fit_size` or `condition_size`. Aspect is not kept.
        alpha: the same type [H, W]; the picture is then laid on white.
        icc: profile of `pixels`; the designer sees them in sRGB.
    """
    width, height = size
    grid = height // vision.patch_size, width // vision.patch_size
    picture = as_image(pixels)
    if alpha is not None:
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=as_image(alpha))
        picture = white
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    values = to_srgb(np.asarray(picture), icc).astype(np.float32) / np.float32(255)
    values = (values - np.asarray(vision.mean, np.float32)) / np.asarray(vision.std, np.float32)
    source, order = window_order(grid, vision)
    valid = source >= 0
    rows = np.where(valid, source, 0)
    angles = _rotary_angles(grid, vision)[rows]
    slots = (vision.window_size // vision.patch_size) ** 2
    return VisionInput(
        grid=grid,
        patches=patchify(values, vision)[rows] * valid[:, None],
        cos=np.cos(angles),
        sin=np.sin(angles),
        window_mask=np.where(valid, np.float32(0), np.float32(MASKED)).reshape(-1, 1, 1, slots),
        order=order,
    )


def patchify(values: NDArray[np.float32], vision: Vision) -> NDArray[np.float32]:
    """[H, W, 3] to [patches, 3 x temporal x patch x patch], listed merge group by merge group (2 x 2).

    A patch holds channel, time (the still picture repeated), y, x.
    """
    patch, merge = vision.patch_size, vision.merge_size
    height, width, channels = values.shape
    blocks = values.reshape(
        height // (patch * merge), merge, patch, width // (patch * merge), merge, patch, channels
    ).transpose(0, 3, 1, 4, 6, 2, 5)
    frames = np.repeat(blocks[:, :, :, :, :, None], vision.temporal_patch_size, axis=5)
    return np.ascontiguousarray(frames.reshape(-1, channels * vision.temporal_patch_size * patch * patch))


def window_order(grid: tuple[int, int], vision: Vision) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each slot of the padded windows takes its patch from, and where each merged token ends up.

    Args:
        grid: patches (rows, columns), multiples of the merge size.

    Returns:
        `source` int64 [windows x slots]: patch index in `patchify` order, -1 for padding at a window's end;
        `order` int64 [merged tokens]: slot (in merged units) of each token, raster order.
    """
    merge = vision.merge_size
    rows, columns = grid[0] // merge, grid[1] // merge
    side = vision.window_size // (vision.patch_size * merge)
    padded = np.full((-(-rows // side) * side, -(-columns // side) * side), -1, np.int64)
    padded[:rows, :columns] = np.arange(rows * columns).reshape(rows, columns)
    windows = padded.reshape(padded.shape[0] // side, side, padded.shape[1] // side, side)
    windows = windows.transpose(0, 2, 1, 3).reshape(-1, side * side)
    windows = np.take_along_axis(windows, np.argsort(windows < 0, axis=1, kind="stable"), axis=1)
    tokens = windows.reshape(-1)
    group = merge * merge
    source = np.where(tokens[:, None] >= 0, tokens[:, None] * group + np.arange(group), -1).reshape(-1)
    order = np.empty(rows * columns, np.int64)
    order[tokens[tokens >= 0]] = np.flatnonzero(tokens >= 0)
    return source, order


def _rotary_angles(grid: tuple[int, int], vision: Vision) -> NDArray[np.float32]:
    """Angles [patches, head_dim / 2] in `patchify` order: half of them turn with the row, half with the column."""
    rows, columns = np.indices(grid)
    merge = vision.merge_size

    def grouped(values: NDArray[np.int64]) -> NDArray[np.int64]:
        shape = (grid[0] // merge, merge, grid[1] // merge, merge)
        return np.asarray(values.reshape(shape).transpose(0, 2, 1, 3).reshape(-1))

    half = vision.head_dim // 2
    exponents = np.arange(0, half, 2, dtype=np.float32) / np.float32(half)
    frequencies = np.float32(1) / np.float32(_ROTARY_BASE) ** exponents
    positions = np.stack([grouped(rows), grouped(columns)], axis=1).astype(np.float32)
    return np.asarray((positions[:, :, None] * frequencies).reshape(len(positions), half), np.float32)
