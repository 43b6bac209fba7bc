"""int4 rounding that makes up for its own errors: GPTQ (Frantar et al. 2023), on sampled rows of real activations.

Weights are rounded one input channel after the other; the error of each is spread over the channels still to come, as
far as the activations say that they can stand in for it. Channels are worked on in blocks small enough for the rows at
hand to say something about every pair in them: measured on held-out rows, twice as many rows as channels takes a third
off the error of plain rounding, while a quarter as many can make it worse.
"""

import torch
from torch import Tensor

from dimrt.export.precision.formats import COLUMNS, LARGEST, LOWEST, Quantized, best_scale

DAMPING = 0.1
"""Added to the diagonal of the activations' second moments, as a share of its mean."""
ROWS_PER_CHANNEL = 2


def enough(rows: Tensor, group: int) -> bool:
    """Whether there are rows enough for one group."""
    return len(rows) >= ROWS_PER_CHANNEL * group


def quantize_with_feedback(weight: Tensor, rows: Tensor, dtype: torch.dtype, group: int) -> Quantized:
    """A weight in int4 with the least error of rows @ weight.

    Args:
        weight: float [in, out].
        rows: float32 [R, in], what it is multiplied by; see `enough`.
        dtype: type of the scales.
        group: rows that share a scale; it divides `in`.
    """
    size, columns = weight.shape
    scales = torch.empty(size // group, columns, dtype=dtype)
    values = torch.empty(size, columns, dtype=torch.int8)
    block = max(len(rows) // ROWS_PER_CHANNEL // group, 1) * group
    for first in range(0, size, block):
        held = slice(first, min(first + block, size))
        spread, importance = _spread(rows[:, held])
        groups = slice(held.start // group, held.stop // group)
        for start in range(0, columns, COLUMNS):
            part = slice(start, min(start + COLUMNS, columns))
            scales[groups, part], values[held, part] = _round(
                weight[held, part].to(torch.float32, copy=True), spread, importance, dtype, group
            )
    return Quantized("int4", values, scales)


def _spread(rows: Tensor) -> tuple[Tensor, Tensor]:
    """How an error in one channel is best made up by later ones (upper Cholesky factor of the inverse of the damped
    second moments), and the mean square of each channel.
    """
    moments = (rows.T @ rows).double() / len(rows)
    importance = moments.diag().float()
    moments.diagonal().add_(max(float(moments.diag().mean()) * DAMPING, 1e-12))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moments))
    return torch.linalg.cholesky(inverse, upper=True).float(), importance + importance.mean() * 1e-3


def _round(weight: Tensor, spread: Tensor, importance: Tensor, dtype: torch.dtype, group: int) -> tuple[Tensor, Tensor]:
    """Scales [groups, columns] and values of one block; `weight` is used up."""
    scales, values = [], torch.empty(weight.shape, dtype=torch.int8)
    for first in range(0, len(weight), group):
        rows = weight[first : first + group]
        scale = best_scale(rows, dtype, importance[first : first + group, None])
        scales.append(scale)
        errors = torch.empty_like(rows)
        for row in range(group):
            index = first + row
            rounded = torch.div(rows[row], scale.float()).round_().clamp_(LOWEST["int4"], LARGEST["int4"])
            values[index] = rounded.to(torch.int8)
            errors[row] = (rows[row] - rounded * scale.float()) / spread[index, index]
            later = spread[index, index + 1 : first + group]
            rows[row + 1 :].addr_(later, errors[row], alpha=-1)
        weight[first + group :].addmm_(spread[first : first + group, first + group :].T, errors, alpha=-1)
    return torch.stack(scales), values
