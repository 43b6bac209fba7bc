"""Exponential moving average of parameters."""

from collections.abc import Mapping

import torch
from torch import Tensor

from dimrt.export.train.shards import local


class Average:
    """Holds averaged copies. Early steps use a shorter memory, so that the start is soon forgotten.

    Of parameters that are split over processes, each process averages its own share.
    """

    def __init__(self, parameters: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.parameters = parameters
        self.values: dict[str, Tensor] = {name: local(value).clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after optimizer step `step` (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        now = [local(self.parameters[name]) for name in self.values]
        torch._foreach_lerp_(list(self.values.values()), now, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange averages and parameters; a second call exchanges them back."""
        for name, value in self.values.items():
            parameter = local(self.parameters[name])
            kept = parameter.clone()
            parameter.copy_(value)
            value.copy_(kept)
