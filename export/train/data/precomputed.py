"""Examples from disk: what `dimrt precompute` wrote."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Literal

import numpy as np
import torch

from dimrt.errors import CheckpointError, InputError
from dimrt.export.train.data.batch import Batch, pad_conditions
from dimrt.export.train.data.shards import OpenShard, read_index

OPEN_FILES = 64
"""Shards whose files stay open."""


class Precomputed:
    """Random access to the shards of a folder; from several threads, too.

    Sizes of all files are checked when it is opened, and the bytes of a shard when it is first used.

    Args:
        folder: with its index.json.
        weight: how often an example is taken in one epoch, times the weight it had when it was written.
        verify: "sizes" leaves out the check of the bytes.

    Raises:
        InputError: the folder isn't finished, or a shard is missing, truncated or damaged.
    """

    def __init__(self, folder: Path, weight: float = 1.0, verify: Literal["bytes", "sizes"] = "bytes") -> None:
        self.folder, self.index = Path(folder), read_index(Path(folder))
        self._shards = [OpenShard(self.folder, shard) for shard in self.index.shards]
        self._starts = np.cumsum([0, *(shard.examples for shard in self.index.shards)])
        self._weight = weight
        self._unverified = set(range(len(self._shards))) if verify == "bytes" else set()
        self._open: OrderedDict[int, None] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return self.index.examples

    def sizes(self) -> Sequence[tuple[int, int]]:
        """Latent height and width of each example."""
        return [(height, width) for shard in self._shards for height, width in shard.sizes.tolist()]

    def weights(self) -> Sequence[float]:
        """How often each example is taken in one epoch."""
        return [self._weight * weight for shard in self._shards for weight in shard.weights.tolist()]

    def check(self, digests: Mapping[str, str]) -> None:
        """Refuse a model whose frozen parts aren't those that these examples were made with.

        Args:
            digests: `frozen_digests` of the model.

        Raises:
            CheckpointError: they differ.
        """
        changed = [part for part, digest in self.index.digests.items() if digests.get(part) != digest]
        if changed:
            raise CheckpointError(
                f"{self.folder}: was made with another {' and '.join(changed)} than this checkpoint has; "
                "precompute the data again with this checkpoint, or train from the one it was made with"
            )

    def verify(self) -> None:
        """Compare every byte of every shard with the index. Raises InputError when one differs."""
        for number in sorted(self._unverified):
            self._shards[number].verify()
        self._unverified.clear()

    def batch(self, indices: Sequence[int]) -> Batch:
        """The examples of these numbers.

        Raises:
            InputError: they are of several sizes, or a shard is damaged.
        """
        with self._lock:
            found = [self._shard(index).read(int(index - self._start(index))) for index in indices]
        targets, sources, conditions, keys = zip(*found, strict=True)
        if len({target.shape for target in targets}) != 1:
            raise InputError(f"{self.folder}: a batch needs examples of one latent size")
        condition, mask = pad_conditions(conditions)
        return Batch(
            target=torch.stack(targets).float(),
            source=torch.stack(sources).float() if self.index.edits else None,
            condition=condition,
            mask=mask,
            keys=list(keys),
        )

    def _start(self, index: int) -> int:
        return int(self._starts[np.searchsorted(self._starts, index, side="right") - 1])

    def _shard(self, index: int) -> OpenShard:
        """The shard of an example, verified, and open until too many others were."""
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        if number in self._unverified:
            self._shards[number].verify()
            self._unverified.discard(number)
        self._open[number] = None
        self._open.move_to_end(number)
        if len(self._open) > OPEN_FILES:
            oldest, _ = self._open.popitem(last=False)
            self._shards[oldest].close()
        return self._shards[number]
