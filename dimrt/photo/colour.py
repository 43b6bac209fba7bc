"""Small pictures on their way into the model and back: the photo's own colours to sRGB, and sRGB to the photo's.

The full-size photo is never converted. Profiles of curves and a matrix are computed with here, in floating point; the
others (with tables) go through Little CMS. A profile that means sRGB, or can't be used, converts nothing.
"""

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from dimrt.photo.photo import Pixels, Samples
from dimrt.photo.planes import Floats, strips
from dimrt.photo.profile import FINE, Matrix, parse_matrix, srgb, srgb_code

SAME = 1.0
"""Levels: a profile that moves no colour further than this from sRGB is sRGB."""
LIGHTS = 1 << 16
"""Steps of light at which sRGB's own curve is tabulated."""
NODES = 33
"""Steps of each channel in the table of a profile that has no matrix."""


@dataclass(frozen=True)
class Route:
    """Between a profile and sRGB: with numbers, or (`matrix` None) by Little CMS and, for the way back, a table of
    [NODES, NODES, NODES, 3] levels."""

    icc: bytes
    matrix: Matrix | None
    table: Floats | None


def is_srgb(icc: bytes | None) -> bool:
    """Whether colours under this profile are sRGB's, so that nothing is converted; also when it can't be used."""
    return _route(icc) is None


def to_srgb(pixels: Pixels, icc: bytes | None) -> Pixels:
    """A picture in sRGB; colours that sRGB doesn't reach are clipped.

    Args:
        pixels: uint8 [h, w, 3], in the colours of the profile.
        icc: an RGB profile, or None.

    Returns:
        uint8 [h, w, 3]; `pixels` itself where nothing is to be converted.
    """
    route = _route(icc)
    if route is None:
        return pixels
    result = np.empty(pixels.shape, np.uint8)
    for left, top, right, bottom in strips((0, 0, pixels.shape[1], pixels.shape[0])):
        part = np.ascontiguousarray(pixels[top:bottom, left:right])
        result[top:bottom, left:right] = _by_matrix(part, route.matrix) if route.matrix else _by_cms(part, route.icc)
    return result


def from_srgb(levels: Floats, icc: bytes | None) -> Floats:
    """A picture in the colours of a profile, from sRGB.

    Args:
        levels: float32 [h, w, 3], 0 to 255.
        icc: an RGB profile, or None.

    Returns:
        float32 [h, w, 3], 0 to 255; `levels` itself where nothing is to be converted.
    """
    route = _route(icc)
    if route is None:
        return levels
    if route.matrix is None:
        assert route.table is not None
        return _looked_up(route.table, levels)
    own = srgb()
    place = np.linspace(0, 1, FINE + 1)
    light = np.interp(levels / 255, place, own.curves[0])
    light = np.clip(light @ (np.linalg.inv(route.matrix.to_xyz) @ own.to_xyz).T, 0, 1)
    back = [np.interp(light[..., channel], route.matrix.curves[channel], place) for channel in range(3)]
    return (np.stack(back, axis=-1) * 255).astype(np.float32)


def to_eight(samples: Samples) -> Pixels:
    """8 bits of samples of 8 or 16, rounded; uint8 as it is."""
    if samples.dtype == np.uint8:
        return samples
    result = np.empty(samples.shape, np.uint8)
    for _, top, _, bottom in strips((0, 0, samples.shape[1], samples.shape[0])):
        # x / 257 rounded, without a division; exact for all of 0 to 65535.
        result[top:bottom] = (samples[top:bottom].astype(np.uint32) * np.uint32(255) + np.uint32(32895)) >> np.uint32(
            16
        )
    return result


def as_image(pixels: Samples) -> Image.Image:
    """The picture for Pillow, in 8 bits: for the model's small views."""
    return Image.fromarray(to_eight(pixels))


@lru_cache(maxsize=8)
def _route(icc: bytes | None) -> Route | None:
    """How to convert, or None where there is nothing to convert."""
    if icc is None or icc[16:20] != b"RGB ":
        return None
    matrix = parse_matrix(icc)
    axis = np.linspace(0, 255, 9).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(9, 81, 3)
    try:
        converted = _by_matrix(cube, matrix) if matrix else _by_cms(cube, icc)
        if np.abs(converted.astype(int) - cube).max() <= SAME:
            return None
        return Route(icc, matrix, None if matrix else _table(icc))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _by_matrix(pixels: Pixels, matrix: Matrix) -> Pixels:
    place = np.linspace(0, 1, FINE + 1)
    steps = np.arange(256) / 255
    light = np.empty(pixels.shape, np.float32)
    for channel in range(3):
        light[..., channel] = np.interp(steps, place, matrix.curves[channel]).astype(np.float32)[pixels[..., channel]]
    own = srgb()
    light = light @ (np.linalg.inv(own.to_xyz) @ matrix.to_xyz).T.astype(np.float32)
    index = (np.clip(light, 0, 1) * np.float32(LIGHTS - 1) + np.float32(0.5)).astype(np.uint16)
    codes: Pixels = _srgb_codes()[index]
    return codes


@lru_cache(maxsize=1)
def _srgb_codes() -> Pixels:
    """sRGB's 8-bit code of every light, uint8 [LIGHTS]."""
    light = np.linspace(0, 1, LIGHTS)
    codes: Pixels = np.floor(srgb_code(light) * 255 + 0.5).astype(np.uint8)
    return codes


def _by_cms(pixels: Pixels, icc: bytes) -> Pixels:
    return _cms(pixels, ImageCms.ImageCmsProfile(io.BytesIO(icc)), _srgb_profile())


def _srgb_profile() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _cms(pixels: Pixels, source: ImageCms.ImageCmsProfile, target: ImageCms.ImageCmsProfile) -> Pixels:
    converted = ImageCms.profileToProfile(
        Image.fromarray(pixels), source, target, renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC, outputMode="RGB"
    )
    return np.asarray(converted)


def _table(icc: bytes) -> Floats:
    """sRGB to the profile's colours on an even lattice, float32 [NODES, NODES, NODES, 3] levels."""
    axis = np.linspace(0, 255, NODES).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(NODES, NODES**2, 3)
    found = _cms(cube, _srgb_profile(), ImageCms.ImageCmsProfile(io.BytesIO(icc)))
    return found.astype(np.float32).reshape(NODES, NODES, NODES, 3)


def _looked_up(table: Floats, levels: Floats) -> Floats:
    """Values of a lattice between its nodes, trilinear."""
    place = np.clip(levels, 0, 255) * np.float32((NODES - 1) / 255)
    low = np.minimum(place.astype(np.intp), NODES - 2)
    share: NDArray[np.float32] = (place - low).astype(np.float32)
    result = np.zeros_like(levels)
    for corner in range(8):
        steps = [corner >> axis & 1 for axis in range(3)]
        weight = np.prod([share[..., a] if steps[a] else 1 - share[..., a] for a in range(3)], axis=0)
        result += weight[..., None] * table[tuple(low[..., a] + steps[a] for a in range(3))]
    return result
