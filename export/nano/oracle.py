"""Judges of an edited picture that know the true result: was the edit done, and was the rest left alone?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

_CHANGED = 24.0
"""A pixel belongs to the edit when source and target differ by more than this in a channel (0 to 255, smoothed)."""
_NEARER = 0.3
"""A changed pixel counts as done when its error is below this share of the way from source to target."""
_DONE_SHARE, _DONE_ERROR = 0.8, 18.0
_KEPT_ERROR, _OUTLIER, _OUTLIER_SHARE = 10.0, 40.0, 0.03


@dataclass(frozen=True)
class Verdict:
    """`done`: the changed region reached the target. `preserved`: the rest kept the source's look."""

    done: bool
    preserved: bool

    @property
    def both(self) -> bool:
        return self.done and self.preserved


def judge(source: Picture, target: Picture, output: Picture) -> Verdict:
    """Compare an output with the true target, all uint8 [h,w,3] of one size.

    Done: at least 80 % of the changed pixels are close to the target, and their mean error is below 18 of 255.
    Preserved: outside the change the mean error is below 10 and under 3 % of the pixels are off by more than 40. Where
    an edit changes the whole picture there is no outside, and only `done` can fail.
    """
    before, after, result = (_smooth(picture) for picture in (source, target, output))
    way = abs(before - after)
    changed = way.max(axis=2) > _CHANGED
    error = abs(result - after).mean(axis=2)
    if changed.any():
        near = error[changed] < _NEARER * way.mean(axis=2)[changed]
        done = bool(near.mean() >= _DONE_SHARE and error[changed].mean() < _DONE_ERROR)
    else:
        done = bool(error.mean() < _KEPT_ERROR)
    outside = error[~changed]
    if not outside.size:
        return Verdict(done, True)
    return Verdict(done, bool(outside.mean() < _KEPT_ERROR and (outside > _OUTLIER).mean() < _OUTLIER_SHARE))


def decibels(picture: Picture, truth: Picture) -> float:
    """Peak signal-to-noise ratio in dB, at most 99."""
    error = float(np.square(picture.astype(np.float64) - truth).mean())
    return 99.0 if error == 0 else min(99.0, 10 * np.log10(255**2 / error))


def _smooth(picture: Picture) -> NDArray[np.float32]:
    """The mean over each pixel's 3 x 3 neighbourhood."""
    padded = np.pad(picture.astype(np.float32), ((1, 1), (1, 1), (0, 0)), "edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9
