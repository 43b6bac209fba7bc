"""The order in which examples are taken: a pure function of seed, step and process, so that nothing has to be stored.

Every epoch takes each example as often as its weight says (once, when all weights are 1), in a fresh shuffle. A batch
holds examples of one latent size. `batch` counts the examples of all processes together and a process takes its share
of them, so that a run may continue with another number of processes and still takes the same batches.

Nothing is dropped and nothing is repeated to fill a batch: the examples of one size that are left at the end of an
epoch begin the next epoch's first batch of that size. The tail of an epoch (less than one batch of each size) is
therefore taken one epoch later than the rest of it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dimrt.errors import InputError
from dimrt.export.train.data.batch import Examples

Numbers = NDArray[np.int64]
_EXAMPLES, _DRAWS, _BATCHES = range(3)
"""What a shuffle is for: shuffles of different purpose share no random numbers."""


@dataclass(frozen=True)
class _Stream:
    """Examples of one size and one weight: an endless sequence of shuffles of the same numbers."""

    number: int
    examples: Numbers
    weight: float

    def position(self, epoch: int) -> int:
        """How many draws come before an epoch."""
        return int(epoch * len(self.examples) * self.weight)

    def draws(self, seed: int, epoch: int) -> Numbers:
        """The examples drawn in one epoch: the next ones of the sequence."""
        place, end = self.position(epoch), self.position(epoch + 1)
        parts = [self.examples[:0]]
        while place < end:
            turn, start = divmod(place, len(self.examples))
            stop = min(len(self.examples), start + end - place)
            parts.append(self.examples[shuffle(len(self.examples), seed, _EXAMPLES, self.number, turn)[start:stop]])
            place += stop - start
        return np.concatenate(parts)


class Order:
    """Which examples each process takes in each step.

    Args:
        sizes: latent size of each example.
        batch: examples of one step, over all processes.
        seed: of every shuffle.
        weights: how often each example is taken in an epoch; 1 when None. 0 leaves it out.

    Raises:
        InputError: there is nothing to take, a weight is negative or not a number, or `batch` is below 1.
    """

    def __init__(
        self, sizes: Sequence[tuple[int, int]], batch: int, seed: int = 0, weights: Sequence[float] | None = None
    ) -> None:
        weights = [1.0] * len(sizes) if weights is None else weights
        if batch < 1:
            raise InputError(f"batch {batch}: a step needs at least one example")
        if len(weights) != len(sizes) or any(not 0 <= weight < np.inf for weight in weights):
            raise InputError("every example needs one weight, a number of at least 0")
        self.batch, self.seed = batch, seed
        groups: dict[tuple[int, int], dict[float, list[int]]] = defaultdict(lambda: defaultdict(list))
        for index, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
            if weight > 0:
                groups[size][weight].append(index)
        if not groups:
            raise InputError("there is no example to take: every row was refused, or every weight is 0")
        self._sizes: list[list[_Stream]] = []
        number = 0
        for size in sorted(groups):
            streams = []
            for weight in sorted(groups[size]):
                streams.append(_Stream(number, np.array(groups[size][weight], np.int64), weight))
                number += 1
            self._sizes.append(streams)
        self.per_epoch = sum(len(stream.examples) * stream.weight for streams in self._sizes for stream in streams)
        self._draws = lru_cache(maxsize=2 * len(self._sizes))(self._draws_of)
        self._plan = lru_cache(maxsize=2)(self._plan_of)

    @classmethod
    def of(cls, examples: Examples, batch: int, seed: int = 0) -> "Order":
        """The order of a training set."""
        return cls(examples.sizes(), batch, seed, examples.weights())

    def indices(self, step: int, rank: int = 0, world: int = 1) -> list[int]:
        """The examples, all of one size, that process `rank` of `world` takes in step `step` (from 0).

        Raises:
            InputError: the batch can't be dealt evenly to `world` processes.
        """
        if self.batch % world:
            raise InputError(
                f"a batch of {self.batch} can't be dealt evenly to {world} processes; choose a multiple of {world}"
            )
        share = self.batch // world
        return self._whole(step)[rank * share : (rank + 1) * share].tolist()

    def epoch(self, step: int) -> int:
        """The epoch (from 0) that a step belongs to."""
        upper = 1
        while self._steps(upper) <= step:
            upper *= 2
        lower = upper // 2
        while lower < upper:
            middle = (lower + upper) // 2
            lower, upper = (middle + 1, upper) if self._steps(middle + 1) <= step else (lower, middle)
        return lower

    def _whole(self, step: int) -> Numbers:
        """The examples of all processes in a step."""
        epoch = self.epoch(step)
        plan = self._plan(epoch)
        place = step - self._steps(epoch)
        size = int(plan[place])
        earlier = int(np.count_nonzero(plan[:place] == size))
        return self._stretch(size, (self._batches(size, epoch) + earlier) * self.batch)

    def _stretch(self, size: int, start: int) -> Numbers:
        """`batch` draws of one size from draw `start` on, counted from the beginning of the run."""
        epoch = self._epoch_of_draw(size, start)
        parts, missing = [], self.batch
        while missing:
            skipped = max(0, start - self._before(size, epoch))
            parts.append(self._draws(size, epoch)[skipped : skipped + missing])
            missing -= len(parts[-1])
            epoch += 1
        return np.concatenate(parts)

    def _epoch_of_draw(self, size: int, draw: int) -> int:
        """The epoch in which a draw of one size lies."""
        epoch = int(draw / sum(len(stream.examples) * stream.weight for stream in self._sizes[size]))
        while self._before(size, epoch) > draw:
            epoch -= 1
        while self._before(size, epoch + 1) <= draw:
            epoch += 1
        return epoch

    def _draws_of(self, size: int, epoch: int) -> Numbers:
        """All draws of one size in one epoch, shuffled over the weights."""
        draws = np.concatenate([stream.draws(self.seed, epoch) for stream in self._sizes[size]])
        return draws[shuffle(len(draws), self.seed, _DRAWS, size, epoch)] if len(self._sizes[size]) > 1 else draws

    def _plan_of(self, epoch: int) -> Numbers:
        """The size of each batch of an epoch."""
        counts = [self._batches(size, epoch + 1) - self._batches(size, epoch) for size in range(len(self._sizes))]
        plan = np.repeat(np.arange(len(counts)), counts)
        return plan[shuffle(len(plan), self.seed, _BATCHES, epoch)]

    def _before(self, size: int, epoch: int) -> int:
        """Draws of one size before an epoch."""
        return sum(stream.position(epoch) for stream in self._sizes[size])

    def _batches(self, size: int, epoch: int) -> int:
        """Whole batches of one size before an epoch."""
        return self._before(size, epoch) // self.batch

    def _steps(self, epoch: int) -> int:
        """Steps before an epoch."""
        return sum(self._batches(size, epoch) for size in range(len(self._sizes)))


def shuffle(count: int, *key: int) -> Numbers:
    """A random order of `count` things, the same for the same key on every machine and with every numpy.

    numpy keeps the raw numbers of its bit generators stable from version to version, but not its permutations.
    """
    raw = np.random.PCG64(np.random.SeedSequence(key)).random_raw(count)
    return np.argsort(np.asarray(raw, np.uint64), kind="stable").astype(np.int64)
