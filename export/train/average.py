"""Exponential moving average of a module's parameters."""

import torch
from torch import Tensor, nn


class Average:
    """Holds averaged copies. Early steps use a shorter memory, so that the start is soon forgotten."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values: dict[str, Tensor] = {n: p.detach().clone() for n, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the parameters after optimizer step `step` (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        named = dict(module.named_parameters())
        torch._foreach_lerp_(list(self.values.values()), [named[n].detach() for n in self.values], 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Write the averages into a module of the same parameters."""
        for name, parameter in module.named_parameters():
            parameter.copy_(self.values[name])
