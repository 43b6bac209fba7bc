"""One player of an objective: its parameters, and the optimizer that moves them."""

from typing import Any

import torch
from torch import Tensor, nn

from dimrt.errors import InputError
from dimrt.export.train.objective import Objective
from dimrt.export.train.optimizer import MatrixOptimizer, Rates
from dimrt.export.train.settings import LoopSettings, OptimizerSettings
from dimrt.export.train.shards import clip, is_split, plain, split_like


class AdamOptimizer:
    """torch's AdamW with one rate, whose state is kept as this process's shares."""

    def __init__(self, parameters: list[nn.Parameter], settings: OptimizerSettings) -> None:
        self.rate = settings.rate
        self.adam = torch.optim.AdamW(
            parameters,
            lr=settings.rate,
            betas=settings.betas,
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def step(self, factor: float) -> None:
        """One update from the parameters' gradients, at `factor` of the peak rate."""
        for group in self.adam.param_groups:
            group["lr"] = self.rate * factor
        self.adam.step()

    def state_dict(self) -> dict[str, Any]:
        """Moments and step counts, by the parameter's number."""
        return dict(plain(self.adam.state_dict()["state"]))

    def load_state_dict(self, state: dict[Any, Any]) -> None:
        """The inverse of `state_dict`, into an optimizer over the same parameters."""
        parameters = self.adam.param_groups[0]["params"]
        for number, held in state.items():
            parameter = parameters[int(number)]
            self.adam.state[parameter] = {
                name: split_like(value.to(parameter.device), parameter) if value.ndim else value.clone()
                for name, value in held.items()
            }


class Player:
    """A player's parameters under training.

    Args:
        settings: of the whole run; the player's own optimizer is looked up by its name.
    """

    def __init__(self, name: str, objective: Objective, settings: LoopSettings) -> None:
        self.name, self.limit = name, settings.clip
        self.named = dict(objective.parameters_of(name))
        chosen = settings.optimizer.get(name, OptimizerSettings())
        self.optimizer: AdamOptimizer | MatrixOptimizer
        if chosen.name == "adamw":
            self.optimizer = AdamOptimizer(list(self.named.values()), chosen)
            return
        if any(is_split(value) for value in self.named.values()):
            raise InputError(
                f'optimizer.{name}.name = "muon" needs whole matrices, and FSDP splits them over the processes; '
                'use "adamw", or the multi-GPU configuration without FSDP'
            )
        rates = Rates(chosen.matrix_rate, chosen.rate, chosen.weight_decay)
        self.optimizer = MatrixOptimizer(self.named, objective.matrices_of(name), rates, chosen.betas, chosen.epsilon)

    def take_turn(self, playing: bool) -> None:
        """Whether the parameters take gradients now: another's loss may run through them."""
        for parameter in self.named.values():
            parameter.requires_grad_(playing)

    def clip(self) -> Tensor:
        """Clip the gradients to the run's limit; returns their norm over all processes. Parameters that the loss didn't
        reach get a gradient of zero."""
        for parameter in self.named.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return clip([p.grad for p in self.named.values() if p.grad is not None], self.limit)

    def step(self, factor: float) -> None:
        """Move the parameters, and forget the gradients."""
        self.optimizer.step(factor)
        self.forget()

    def forget(self) -> None:
        """Drop the gradients."""
        for parameter in self.named.values():
            parameter.grad = None
