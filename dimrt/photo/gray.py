"""Gray profiles: a gray photo's own values as sRGB grays, and back."""

import numpy as np
from numpy.typing import NDArray

from dimrt.photo.photo import Samples
from dimrt.photo.profile import FINE, parse_gray, srgb_code

Doubles = NDArray[np.float64]


def gray_to_srgb(icc: bytes, levels: int) -> Samples | None:
    """sRGB's gray of every value that a gray profile knows; None when the profile can't be used.

    Args:
        icc: a gray profile.
        levels: 256 or 65536.

    Returns:
        uint8 [256] or uint16 [65536], not falling.
    """
    curve = parse_gray(icc)
    if curve is None:
        return None
    light = np.interp(np.linspace(0, 1, levels), np.linspace(0, 1, FINE + 1), curve)
    codes = np.floor(srgb_code(light) * (levels - 1) + 0.5)
    return np.maximum.accumulate(codes).astype(np.uint8 if levels == 256 else np.uint16)


def gray_from_srgb(icc: bytes, levels: int) -> Samples:
    """The profile's value of every sRGB gray: of those that mean it best, the middle one."""
    table = gray_to_srgb(icc, levels)
    assert table is not None
    back: Doubles = np.interp(np.arange(levels), *_plateaus(table))
    return np.floor(back + 0.5).astype(table.dtype)


def _plateaus(table: Samples) -> tuple[Doubles, Doubles]:
    """The different values of a table that doesn't fall, and the middle place of each."""
    values, first, counts = np.unique(table.astype(np.float64), return_index=True, return_counts=True)
    return values, first + (counts - 1) / 2
