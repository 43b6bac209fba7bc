"""Timesteps and solver coefficients of a flow, x = (1 - sigma) data + sigma noise.

Two kinds, both as coefficients of one graph: DPM-Solver++ of order 2, multistep, midpoint form (Lu et al. 2022, with
alpha = 1 - sigma; the first and the last step are of order 1), and the few steps of a distilled painter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dimrt.manifest import Distilled, Schedule

TRAIN_STEPS = 1000
_LAST = 0.001
Interval = tuple[float, float]
"""Lowest and highest noise level (sigma, 0 to 1), both within."""


@dataclass(frozen=True)
class Step:
    """One painter call.

    Attributes:
        timestep: what the painter is told: 1000 sigma, truncated to an integer.
        sigma: the exact noise level of the latent.
        coefficients: (sigma, a, b, c): next latent = a latent + b data + c previous data.
        fresh: whether new noise stands in the place of the previous data.
    """

    timestep: int
    sigma: float
    coefficients: tuple[float, float, float, float]
    fresh: bool = False


def painter_schedule(facts: Schedule, steps: int, whose: Literal["student", "teacher"]) -> tuple[Step, ...]:
    """The painter calls of one picture by a model's facts: its own few steps, or those of the flow's solver.

    Args:
        facts: the model's schedule.
        steps: number of painter calls; for a student's schedule one that it supports.
        whose: "teacher" is the flow's solver, which a model that was never distilled knows alone.
    """
    few = facts.distilled
    if whose == "teacher" or few is None or not few.timesteps:
        return flow_schedule(steps, facts.shift)
    return few_steps(few, steps)


def guidance_scales(schedule: Sequence[Step], scale: float, interval: Interval | None = None) -> list[float]:
    """The guidance scale of each step: `scale` at noise levels within the interval (None: at all), else 1, without.

    Guidance does harm while there is hardly anything but noise and is not needed at the end, and a step without it
    costs one row in place of two (Kynkäänniemi et al. 2024, "Applying guidance in a limited interval improves sample
    and distribution quality in diffusion models").
    """
    if interval is None:
        return [scale] * len(schedule)
    low, high = interval
    return [scale if low <= call.sigma <= high else 1.0 for call in schedule]


def few_steps(facts: Distilled, steps: int) -> tuple[Step, ...]:
    """The painter calls of a distilled painter.

    Between two noise levels s and s' the next latent is (1 - s') data + s' noise. Fresh noise is sampling of
    consistency models (Song et al. 2023, algorithm 1). Kept noise is (x - (1 - s) data) / s, which makes a straight
    step along the flow (phased consistency, Wang et al. 2024). The last step returns its data prediction.

    Raises:
        ValueError: there is no schedule of so many steps.
    """
    rows = {len(row): row for row in facts.timesteps}
    if steps not in rows:
        raise ValueError(f"steps is {steps}; this painter takes {', '.join(map(str, sorted(rows)))}")
    times = rows[steps]
    calls = []
    for time, following in zip(times, (*times[1:], 0), strict=True):
        sigma, lower = time / TRAIN_STEPS, following / TRAIN_STEPS
        if not following:
            update = (0.0, 1.0, 0.0)
        elif facts.noise == "fresh":
            update = (0.0, 1.0 - lower, lower)
        else:
            update = (lower / sigma, 1.0 - lower / sigma, 0.0)
        calls.append(Step(time, sigma, (sigma, *update), fresh=following > 0 and facts.noise == "fresh"))
    return tuple(calls)


def flow_grid(steps: int, shift: float) -> NDArray[np.float32]:
    """Noise levels, `steps + 1` float32 values from just under 1 down to exactly 0.

    Computed in float32, because the truncation of the timesteps depends on the last bit (for shift 1).
    """
    clean = np.float32(1) - _linspace(1.0, _LAST, steps + 1)
    sigmas = np.float32(shift) * clean / (np.float32(1) + np.float32(shift - 1) * clean)
    grid: NDArray[np.float32] = sigmas[::-1].astype(np.float32)
    return grid


def flow_schedule(steps: int, shift: float) -> tuple[Step, ...]:
    """All painter calls of one picture.

    With h the step in log signal-to-noise ratio, lambda = log(1 - sigma) - log(sigma):
    next = (sigma' / sigma) x - (1 - sigma') (exp(-h) - 1) D, where D = x0 at order 1 and
    D = x0 + (x0 - previous x0) h / (2 previous h) at order 2. The last step lands on the data prediction itself.

    Args:
        steps: number of painter calls, at least 1 (a single call returns its data prediction).
        shift: the flow's timestep shift (3 in DIM).
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; at least 1 is needed")
    grid = flow_grid(steps, shift)
    times = (grid[:-1] * np.float32(TRAIN_STEPS)).astype(np.int64)
    sigmas = grid.astype(np.float64)
    lambdas = np.log1p(-sigmas[:-1]) - np.log(sigmas[:-1])
    calls = []
    for i in range(steps):
        if i == steps - 1:
            a, b, c = 0.0, 1.0, 0.0
        else:
            h = lambdas[i + 1] - lambdas[i]
            a = sigmas[i + 1] / sigmas[i]
            gain = -(1.0 - sigmas[i + 1]) * np.expm1(-h)
            ratio = h / (2.0 * (lambdas[i] - lambdas[i - 1])) if i > 0 else 0.0
            b, c = gain * (1.0 + ratio), -gain * ratio
        calls.append(Step(int(times[i]), float(sigmas[i]), (float(sigmas[i]), float(a), float(b), float(c))))
    return tuple(calls)


def _linspace(first: float, last: float, count: int) -> NDArray[np.float32]:
    """`count` float32 values, counted from both ends towards the middle.

    Each is rounded once (product and sum in float64), as a fused multiply-add does: this gives the original's bits.
    """
    start, stop = np.float64(np.float32(first)), np.float64(np.float32(last))
    step = np.float64(np.float32((np.float32(last) - np.float32(first)) / np.float32(count - 1)))
    index = np.arange(count)
    values = np.where(index < count // 2, start + step * index, stop - step * (count - 1 - index))
    return np.asarray(values, np.float32)
