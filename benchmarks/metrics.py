"""How far a picture is from another, and a plan from another.

Perceptual distance: NVIDIA's FLIP (Andersson et al. 2020, package `flip-evaluator`) at its default viewing distance of
67 pixels a degree, 0 for equal and 1 for black on white; and SSIM (Wang et al. 2004). LPIPS is not among them: its
distance is defined by a trained image network whose weights come as a download through torchvision, and these
measurements run offline and beside a torch without torchvision. FLIP and SSIM need no weights.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dimrt.blueprint import Blueprint

Picture = NDArray[np.uint8]
CAP = 99.0
"""Decibels reported for equal pictures."""
SLOTS = ("global_layout", "local_objects", "edit_area", "edited_image")
"""Sections of a plan that the designer has to find out; the first, the instruction, is copied."""

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


@dataclass(frozen=True)
class Distance:
    """`error`: mean squared error in levels of 255. `flip`: mean FLIP, 0 for equal. `ssim`: 1 for equal."""

    error: float
    flip: float
    ssim: float


def distance(picture: Picture, reference: Picture) -> Distance:
    """All measures of two pictures uint8 [h, w, 3] of one size."""
    if np.array_equal(picture, reference):
        return Distance(0.0, 0.0, 1.0)
    return Distance(squared_error(picture, reference), flip(picture, reference), ssim(picture, reference))


def squared_error(picture: Picture, reference: Picture) -> float:
    """Mean squared error in levels of 255."""
    return float(np.square(picture.astype(np.float64) - reference).mean())


def decibels(error: float) -> float:
    """Peak signal-to-noise ratio of a mean squared error, at most `CAP`."""
    return CAP if error == 0 else min(CAP, float(10 * np.log10(255**2 / error)))


def flip(picture: Picture, reference: Picture) -> float:
    """Mean FLIP error of `picture` as a version of `reference`."""
    from flip_evaluator import evaluate

    planes = [np.ascontiguousarray(image, np.float32) / np.float32(255) for image in (reference, picture)]
    return float(evaluate(*planes, "LDR", applyMagma=False)[1])


def ssim(picture: Picture, reference: Picture) -> float:
    """Mean structural similarity of the luma (BT.601), Gaussian window of 11 pixels, over windows wholly inside."""
    luma = np.array([0.299, 0.587, 0.114])
    x, y = picture @ luma, reference @ luma
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x, variance_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    light = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    shape = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
    return float((light * shape).mean())


def _blur(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    offsets = np.arange(_WINDOW) - _WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    for axis in (0, 1):
        plane = np.lib.stride_tricks.sliding_window_view(plane, _WINDOW, axis) @ weights
    return plane


def summary(distances: Sequence[Distance]) -> dict[str, float | int]:
    """Over all cases. `psnr_db` is of the mean squared error of all cases together, which is never above the mean of
    the cases' decibels (`psnr_mean_db`) and doesn't reward equal pictures without bound."""
    errors = [d.error for d in distances]
    each = [decibels(error) for error in errors]
    return {
        "cases": len(distances),
        "equal": sum(error == 0 for error in errors),
        "psnr_db": round(decibels(float(np.mean(errors))), 2),
        "psnr_mean_db": round(float(np.mean(each)), 2),
        "psnr_median_db": round(float(np.median(each)), 2),
        "psnr_worst_db": round(min(each), 2),
        "flip_mean": round(float(np.mean([d.flip for d in distances])), 5),
        "flip_worst": round(max(d.flip for d in distances), 5),
        "ssim_mean": round(float(np.mean([d.ssim for d in distances])), 5),
        "ssim_worst": round(min(d.ssim for d in distances), 5),
    }


def equal_slots(plan: Blueprint | None, reference: Blueprint | None) -> dict[str, bool]:
    """Which sections are the same, word for word. Two plans that were not written are equal."""
    plan, reference = plan or Blueprint(), reference or Blueprint()
    return {slot: getattr(plan, slot) == getattr(reference, slot) for slot in SLOTS}


def compare_plans(pairs: Iterable[tuple[Blueprint | None, Blueprint | None]]) -> dict[str, object]:
    """Percent of slots and of whole plans (every character) that agree, and of each slot."""
    listed = list(pairs)
    rows = [equal_slots(plan, reference) for plan, reference in listed]
    exact = [(a.text if a else "") == (b.text if b else "") for a, b in listed]
    return {
        "plans": len(rows),
        "equal_slots_percent": _percent([row[slot] for row in rows for slot in SLOTS]),
        "exact_percent": _percent(exact),
        "by_slot_percent": {slot: _percent([row[slot] for row in rows]) for slot in SLOTS},
    }


def _percent(flags: Sequence[bool]) -> float:
    return round(100 * float(np.mean(flags)), 2)
