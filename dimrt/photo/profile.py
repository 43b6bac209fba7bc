"""RGB profiles of the matrix and curve kind (sRGB, Display P3, Adobe RGB, ProPhoto…) as numbers.

ICC.1:2022: a channel's curve takes it to light, the matrix takes light to XYZ under D50; relative colorimetric, so
that white stays white.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
FINE = 4096
"""Steps at which a curve is tabulated."""
SRGB_TO_XYZ = np.array(
    [
        [0.4360657, 0.3851515, 0.1430784],
        [0.2224932, 0.7168870, 0.0606169],
        [0.0139160, 0.0970764, 0.7140961],
    ]
)
"""sRGB's primaries under D50, as every sRGB profile has them."""
PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}
"""Numbers that each kind of parametric curve has."""


@dataclass(frozen=True)
class Matrix:
    """A profile of three curves and a matrix.

    Attributes:
        curves: [3, FINE + 1], light (0 to 1) of evenly spaced values of each channel, not falling.
        to_xyz: [3, 3].
    """

    curves: Doubles
    to_xyz: Doubles


def parse_matrix(icc: bytes) -> Matrix | None:
    """The profile's curves and matrix; None when it is damaged, of another kind, or has tables that go before them."""
    try:
        if icc[12:16] not in {b"mntr", b"scnr", b"spac"} or icc[16:20] != b"RGB " or icc[20:24] != b"XYZ ":
            return None
        tags = _tags(icc)
        if b"A2B0" in tags or b"A2B1" in tags:
            return None
        curves = np.stack([_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")])
        to_xyz = np.stack([_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")], axis=1)
    except (KeyError, ValueError, ZeroDivisionError, struct.error):
        return None
    if not np.isfinite(curves).all() or abs(np.linalg.det(to_xyz)) < 1e-6:
        return None
    return Matrix(np.maximum.accumulate(np.clip(curves, 0, 1), axis=1), to_xyz)


def parse_gray(icc: bytes) -> Doubles | None:
    """Light, [FINE + 1], of evenly spaced values under a gray profile; None when it is damaged."""
    try:
        if icc[16:20] != b"GRAY":
            return None
        curve = _curve(_tags(icc)[b"kTRC"])
    except (KeyError, ValueError, ZeroDivisionError, struct.error):
        return None
    if not np.isfinite(curve).all() or curve[-1] <= curve[0]:
        return None
    if icc[20:24] == b"Lab ":
        lightness = curve * 100
        curve = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness * 27 / 24389)
    return np.maximum.accumulate(np.clip(curve, 0, 1))


def srgb_code(light: Doubles) -> Doubles:
    """sRGB's value, 0 to 1, of light from 0 to 1 (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055)


def srgb() -> Matrix:
    """sRGB itself, from IEC 61966-2-1."""
    curve = _parametric(3, [2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045])
    return Matrix(np.stack([curve] * 3), SRGB_TO_XYZ)


def _tags(icc: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", icc, 128)
    if count > 200:
        raise ValueError("too many tags")
    found = {}
    for index in range(count):
        name, start, length = struct.unpack_from(">4sII", icc, 132 + 12 * index)
        found[name] = icc[start : start + length]
    return found


def _xyz(tag: bytes) -> Doubles:
    return np.array(struct.unpack_from(">3i", tag, 8)) / 65536


def _curve(tag: bytes) -> Doubles:
    """A curve's values at FINE + 1 even steps."""
    place = np.linspace(0, 1, FINE + 1)
    if tag[:4] == b"para":
        kind = struct.unpack_from(">H", tag, 8)[0]
        if kind not in PARAMETERS:
            raise ValueError("unknown parametric curve")
        return _parametric(kind, [value / 65536 for value in struct.unpack_from(f">{PARAMETERS[kind]}i", tag, 12)])
    if tag[:4] != b"curv":
        raise ValueError("not a curve")
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
        return place
    if count == 1:
        gamma: Doubles = place ** (struct.unpack_from(">H", tag, 12)[0] / 256)
        return gamma
    if 12 + 2 * count > len(tag):
        raise ValueError("the curve is cut off")
    table = np.frombuffer(tag, ">u2", count, 12) / 65535
    return np.asarray(np.interp(place, np.linspace(0, 1, count), table))


def _parametric(kind: int, numbers: list[float]) -> Doubles:
    """ICC.1:2022, 10.18: y = (a x + b)^g + e from a limit d on, the line c x + f below it."""
    gamma, a, b, c, d, e, f = (*numbers, *[0.0] * (7 - len(numbers)))
    if kind == 0:
        a = 1.0
    elif kind in (1, 2):
        c, d, e, f = 0.0, -b / a, c, c
    place = np.linspace(0, 1, FINE + 1)
    with np.errstate(all="ignore"):  # numbers of a damaged profile: the result isn't finite and is refused
        power = np.maximum(a * place + b, 0) ** gamma + e
    return np.where(place >= d, power, c * place + f)
