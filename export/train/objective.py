"""What a training run learns: the modules under training and their loss, apart from how they are trained.

The loop asks for nothing else: plain training of a painter has one player, an adversarial one has two that take turns.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dimrt.export.train.optimizer import hidden_matrices

if TYPE_CHECKING:
    from dimrt.export.train.data.batch import Batch

Figures = Mapping[str, float | Tensor]
"""Numbers for the log. Tensors of one value are read once a step, so that a device isn't waited for in between."""


class Objective(nn.Module):
    """Base of everything the loop trains. It owns every trainable module as a submodule.

    A frozen module that a loss needs (a teacher) is kept out of `parameters()`: hold it in a list, not as an attribute.
    Buffers are constants; what changes is a parameter.

    Attributes:
        players: names of those who are trained, each with an optimizer of its own; the first one's parameters are
            averaged.
        outer: prefixes of parameter names that Muon leaves to AdamW although they are matrices (first and last layers,
            embeddings).
    """

    players: tuple[str, ...] = ("painter",)
    outer: tuple[str, ...] = ()

    def parameters_of(self, player: str) -> Iterator[tuple[str, nn.Parameter]]:
        """A player's trainable parameters under their names in `named_parameters()`. Those of one player are disjoint
        from another's. Default, for one player: all that take gradients.
        """
        if self.players != (player,):
            raise NotImplementedError(f"{type(self).__name__}.parameters_of({player!r})")
        return ((name, value) for name, value in self.named_parameters() if value.requires_grad)

    def matrices_of(self, player: str) -> set[str]:
        """Names of a player's parameters that Muon takes."""
        return hidden_matrices(self, self.outer) & {name for name, _ in self.parameters_of(player)}

    def turns(self, step: int) -> tuple[str, ...]:
        """Who is updated in optimizer step `step` (from 0), in order. Default: every player."""
        return self.players

    def frozen_bytes(self) -> int:
        """Memory of the frozen modules that the losses need, in each process."""
        return 0

    def loss(self, player: str, batch: "Batch", step: int, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """Mean loss of a batch and figures for the log.

        Args:
            batch: examples, on the device of the parameters.
            step: optimizer step, from 0.
            generator: on the CPU, seeded for this step and this part of the batch; all noise is drawn from it.
        """
        raise NotImplementedError

    def forward(self, player: str, batch: "Batch", step: int, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """`loss`, by the way that wrappers for several processes see."""
        return self.loss(player, batch, step, generator)
