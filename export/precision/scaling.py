"""Moving the difficulty of rounding between activations and weights: x W = (x / s) (s W), exactly, for any s > 0.

For int8 products, s_j = max|x_j|^a / max|w_j|^(1 - a) evens out channels whose activations are much larger than the
others' (SmoothQuant, Xiao et al. 2023). For int4 weights, s_j = mean|x_j|^a gives more of the weights' precision to the
channels that carry more (AWQ, Lin et al. 2023). `a` is searched: the one with the least output error on sampled rows
of real activations, a = none among them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dimrt.export.precision.formats import LARGEST, STORED, Format, quantize_rows, quantize_weight
from dimrt.export.precision.statistics import InputStatistics

SAMPLED_ROWS = 128
SAMPLED_COLUMNS = 256
"""Output channels the search looks at: one exponent is chosen for a whole site, so a part of its outputs decides."""
EXPONENTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
AWQ_EXPONENTS = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75)
RANGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Shares of the largest activation seen that int8's range may end at."""
WIDEST = 1024.0
"""No channel is scaled by more than this or less than its reciprocal, so that half precision holds everything."""
SCALED: frozenset[Format] = frozenset({"w8a8", "w4a16"})


@dataclass(frozen=True)
class Sample:
    """What the search needs of one weight [in, out].

    Attributes:
        columns: [in, C], some output channels.
        largest: [in], the largest |w| of each input channel over all outputs.
        form, group: its format.
    """

    columns: Tensor
    largest: Tensor
    form: Format
    group: int | None

    @classmethod
    def of(cls, weight: Tensor, form: Format, group: int | None) -> "Sample":
        """Every k-th column."""
        step = max(1, weight.shape[1] // SAMPLED_COLUMNS)
        return cls(weight[:, ::step].contiguous(), weight.abs().amax(1), form, group)

    def in_form(self, form: Format, group: int | None) -> "Sample":
        """The same weight in another format."""
        return replace(self, form=form, group=group)


@dataclass(frozen=True)
class Scaling:
    """What was chosen for the input of a site: `factors` [in] (s; None: nothing is scaled), and `reach`, the largest
    |x / s| that an activation's format covers.
    """

    factors: Tensor | None
    reach: float


def choose(
    samples: Sequence[Sample], inputs: InputStatistics, tie: Tensor | None = None, allowed: bool = True
) -> Scaling:
    """The scaling with the least error over a site's weights.

    Without sampled rows (activations only assumed) nothing is searched: factors of one, the whole range.

    Args:
        samples: the weights that share the input.
        inputs: the input.
        tie: [in], channels with the same number must share a factor.
        allowed: whether channels may be scaled at all; else only the range is chosen.
    """
    largest = torch.from_numpy(inputs.largest)
    scaled = allowed and any(sample.form in SCALED for sample in samples)
    if not len(inputs.rows):
        return Scaling(torch.ones_like(largest) if scaled else None, float(largest.max()))
    rows = _some(inputs)
    candidates: list[Tensor | None] = [None]
    if scaled:
        candidates += [_tied(factors, tie) for factors in _candidates(samples, inputs)]
    exact = [rows @ sample.columns for sample in samples]
    best, chosen = float("inf"), Scaling(None, float(largest.max()))
    for factors in candidates:
        error, reach = _error(samples, exact, rows, largest, factors)
        if error < best:
            best, chosen = error, Scaling(factors, reach)
    return chosen


def relative_errors(samples: Sequence[Sample], inputs: InputStatistics, scaling: Scaling) -> list[float]:
    """Norm of each product's error over the norm of the product, on the sampled rows and columns."""
    rows = _some(inputs)
    exact = [rows @ sample.columns for sample in samples]
    moved = rows if scaling.factors is None else rows / scaling.factors
    return [
        _relative(moved, scaling.reach, scaling.factors, sample, product) ** 0.5
        for sample, product in zip(samples, exact, strict=True)
    ]


def scaled_rows(inputs: InputStatistics, scaling: Scaling) -> Tensor:
    """The sampled rows as the weights see them: x / s [R, in]."""
    rows = torch.from_numpy(inputs.rows)
    return rows if scaling.factors is None else rows / scaling.factors


def _some(inputs: InputStatistics) -> Tensor:
    """A part of the sampled rows, evenly spread."""
    step = max(1, len(inputs.rows) // SAMPLED_ROWS)
    return torch.from_numpy(np.ascontiguousarray(inputs.rows[::step]))


def _candidates(samples: Sequence[Sample], inputs: InputStatistics) -> Iterator[Tensor]:
    if any(sample.form == "w8a8" for sample in samples):
        activation = _floored(torch.from_numpy(inputs.largest))
        weight = _floored(torch.stack([sample.largest for sample in samples]).amax(0))
        for exponent in EXPONENTS:
            yield _centred(activation**exponent / weight ** (1 - exponent))
    else:
        mean = _floored(torch.from_numpy(inputs.mean))
        for exponent in AWQ_EXPONENTS:
            yield _centred(mean**exponent)


def _floored(values: Tensor) -> Tensor:
    """Channels that were all but silent get a twentieth of the median, not next to nothing."""
    return values.clamp_min(max(float(values.median()) / 20, 1e-6))


def _centred(factors: Tensor) -> Tensor:
    """Largest times smallest is one: neither activations nor weights leave the range they had."""
    return (factors / (factors.max() * factors.min()).sqrt()).clamp(1 / WIDEST, WIDEST)


def _tied(factors: Tensor, tie: Tensor | None) -> Tensor:
    if tie is None:
        return factors
    shared = torch.zeros(int(tie.max()) + 1).scatter_reduce(0, tie, factors, "amax")
    return shared[tie]


def _error(
    samples: Sequence[Sample], exact: Sequence[Tensor], rows: Tensor, largest: Tensor, factors: Tensor | None
) -> tuple[float, float]:
    """Summed squared relative errors under `factors`, and the range that gives the least."""
    moved = rows if factors is None else rows / factors
    whole = float((largest if factors is None else largest / factors).max())
    rounds = any(sample.form == "w8a8" for sample in samples)
    best, reach = float("inf"), whole
    for share in RANGES if rounds else (1.0,):
        error = sum(
            _relative(moved, share * whole, factors, sample, product)
            for sample, product in zip(samples, exact, strict=True)
        )
        if error < best:
            best, reach = error, share * whole
    return best, reach


def _relative(moved: Tensor, reach: float, factors: Tensor | None, sample: Sample, exact: Tensor) -> float:
    """Squared relative error of one product."""
    columns = sample.columns if factors is None else sample.columns * factors[:, None]
    stored = STORED.get(sample.form)
    if stored is not None:
        columns = quantize_weight(columns, stored, torch.float32, sample.group).dequantized()
    if stored is not None and sample.form in ("w8a8", "fp8"):
        moved = quantize_rows(moved, max(reach, 1e-6) / LARGEST[stored], stored)
    return float((moved @ columns - exact).square().sum() / exact.square().sum().clamp_min(1e-20))
