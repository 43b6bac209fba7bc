"""Timesteps and solver coefficients: flow matching with DPM-Solver++ of order 2, multistep, midpoint form.

Lu et al., "DPM-Solver++" (2022), written for a flow with alpha = 1 - sigma. The first and the last step are of order 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TRAIN_STEPS = 1000
_LAST = 0.001


@dataclass(frozen=True)
class Step:
    """One painter call.

    Attributes:
        timestep: what the painter is told: 1000 sigma, truncated to an integer.
        sigma: the exact noise level of the latent.
        coefficients: (sigma, a, b, c): next latent = a latent + b data + c previous data.
    """

    timestep: int
    sigma: float
    coefficients: tuple[float, float, float, float]


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
