"""What every training objective consumes: a batch of latents and designer conditions, and random access to examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Some examples of one latent size.

    Attributes:
        target: [B, C, h, w] float32, scaled latents (the autoencoder's scaling factor applied).
        source: the same shape; None for text-to-image.
        condition: [B, N, D] float32, the designer's hidden states before the connector, zeros at the end.
        mask: [B, N] float32, 1 for rows that count.
        keys: which examples.
    """

    target: Tensor
    source: Tensor | None
    condition: Tensor
    mask: Tensor
    keys: list[str]

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on a device."""
        return Batch(
            target=self.target.to(device, non_blocking=True),
            source=None if self.source is None else self.source.to(device, non_blocking=True),
            condition=self.condition.to(device, non_blocking=True),
            mask=self.mask.to(device, non_blocking=True),
            keys=self.keys,
        )


class Examples(Protocol):
    """Random access to a training set, so that order, sharding and resume are the sampler's alone."""

    def __len__(self) -> int:
        """How many examples there are."""

    def sizes(self) -> Sequence[tuple[int, int]]:
        """Latent height and width of each example: a batch holds examples of one size."""

    def weights(self) -> Sequence[float]:
        """How often each example is taken in one epoch (1 for a single set)."""

    def batch(self, indices: Sequence[int]) -> Batch:
        """The examples of these numbers, all of one size.

        Raises:
            InputError: they are of several sizes, or can't be read at all.
        """


def pad_conditions(conditions: Sequence[Tensor], multiple: int = 1) -> tuple[Tensor, Tensor]:
    """Conditions [N_i, D] of several examples as one float32 [B, N, D], and their mask [B, N].

    N is the longest, rounded up to a multiple: processors prepare anew for every length.
    """
    longest = -(-max(len(rows) for rows in conditions) // multiple) * multiple
    padded = conditions[0].new_zeros(len(conditions), longest, conditions[0].shape[1], dtype=torch.float32)
    mask = padded.new_zeros(len(conditions), longest)
    for index, rows in enumerate(conditions):
        padded[index, : len(rows)] = rows
        mask[index, : len(rows)] = 1
    return padded, mask
