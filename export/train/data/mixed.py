"""Several sets as one, and the way from a configuration to examples."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path

import torch

from dimrt.errors import InputError
from dimrt.export.train.data.batch import Batch, Examples
from dimrt.export.train.data.formats import open_rows
from dimrt.export.train.data.frozen import Frozen
from dimrt.export.train.data.online import Online
from dimrt.export.train.data.precomputed import Precomputed
from dimrt.export.train.data.problems import Problems
from dimrt.export.train.data.spec import DataSpec


def open_examples(specs: Sequence[DataSpec], frozen: Callable[[], Frozen], problems: Problems) -> Examples:
    """The examples of some sets, mixed by their weights.

    Args:
        frozen: makes the frozen parts; called once, and only when a set isn't precomputed.
        problems: takes the rows that can't be used, now and while training.

    Raises:
        InputError: a set isn't there, has no usable row, or doesn't go with the others or the model.
    """
    if not specs:
        raise InputError("no data: name at least one set in a [[data]] table")
    parts = cache(frozen)
    sets: list[Examples] = []
    for spec in specs:
        if spec.kind == "precomputed":
            sets.append(Precomputed(Path(spec.path), spec.weight))
        else:
            sets.append(Online(open_rows(spec, problems), parts(), problems, spec.weight))
    return sets[0] if len(sets) == 1 else Mixed(sets)


class Mixed:
    """The examples of several sets, numbered one set after the other."""

    def __init__(self, sets: Sequence[Examples]) -> None:
        self._sets = sets
        self._starts = [0, *accumulate(len(part) for part in sets)]

    def __len__(self) -> int:
        return self._starts[-1]

    def sizes(self) -> Sequence[tuple[int, int]]:
        """Latent height and width of each example."""
        return [size for part in self._sets for size in part.sizes()]

    def weights(self) -> Sequence[float]:
        """How often each example is taken in one epoch."""
        return [weight for part in self._sets for weight in part.weights()]

    def batch(self, indices: Sequence[int]) -> Batch:
        """The examples of these numbers, in this order."""
        places = [bisect_right(self._starts, index) - 1 for index in indices]
        found: dict[int, Batch] = {}
        order: dict[int, list[int]] = {}
        for number in sorted(set(places)):
            order[number] = [row for row, place in enumerate(places) if place == number]
            found[number] = self._sets[number].batch([indices[row] - self._starts[number] for row in order[number]])
        return joined(list(found.values()), list(order.values()))


def joined(batches: Sequence[Batch], rows: Sequence[Sequence[int]]) -> Batch:
    """One batch of several; `rows` says at which rows the examples of each go.

    Raises:
        InputError: some have sources and some don't, or their latents or conditions differ in size.
    """
    if len(batches) == 1:
        return batches[0]
    with_source = {batch.source is not None for batch in batches}
    widths = {(batch.target.shape[1:], batch.condition.shape[2]) for batch in batches}
    if len(with_source) != 1 or len(widths) != 1:
        raise InputError(
            "these sets don't go together: they differ in latent size, in the designer's width, or in having source "
            "pictures; train on them one after the other"
        )
    back = torch.tensor([row for part in rows for row in part]).argsort()
    longest = max(batch.mask.shape[1] for batch in batches)
    device = batches[0].target.device

    def padded(values: torch.Tensor) -> torch.Tensor:
        room = values.new_zeros(values.shape[0], longest, *values.shape[2:])
        room[:, : values.shape[1]] = values
        return room.to(device)

    keys = [key for batch in batches for key in batch.keys]
    sources = [batch.source.to(device) for batch in batches if batch.source is not None]
    return Batch(
        target=torch.cat([batch.target.to(device) for batch in batches])[back],
        source=torch.cat(sources)[back] if sources else None,
        condition=torch.cat([padded(batch.condition) for batch in batches])[back],
        mask=torch.cat([padded(batch.mask) for batch in batches])[back],
        keys=[keys[row] for row in back.tolist()],
    )
