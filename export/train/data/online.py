"""Examples made when they are asked for: pictures are read, cut and encoded, and the frozen designer reads each row."""

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray

from dimrt.errors import InputError
from dimrt.export.train.data.batch import Batch, pad_conditions
from dimrt.export.train.data.crops import Size, cut, shape_of
from dimrt.export.train.data.frozen import Frozen
from dimrt.export.train.data.problems import Problems, RowProblem
from dimrt.export.train.data.rows import Picture, Rows
from dimrt.photo.read import Photo, read_photo
from dimrt.prompt import Turn
from dimrt.vision import VisionInput

THREADS = min(8, os.cpu_count() or 1)
"""That decode pictures beside each other."""


@dataclass(frozen=True)
class Prepared:
    """One row, ready for the frozen parts: pictures float32 [3, H, W], the turn, and the designer's view."""

    key: str
    target: NDArray[np.float32]
    source: NDArray[np.float32] | None
    turn: Turn
    view: VisionInput | None


class Online:
    """The rows of one set as examples.

    A row whose picture turns out to be damaged, or whose text is too long, is replaced by the next row of the same
    latent size; it goes to `problems` once. Which row comes in its place depends on the row alone, so that runs repeat.

    Raises:
        InputError: the set has no sources and the model edits, or the other way round.
    """

    def __init__(self, rows: Rows, frozen: Frozen, problems: Problems, weight: float = 1.0) -> None:
        if rows.edits != (frozen.task == "edit"):
            kind, task = ("edits", "pictures from text") if rows.edits else ("captions without sources", "edits")
            raise InputError(f"{rows.title} holds {kind}, and the model makes {task}; choose another set or model")
        self.rows, self.frozen, self.problems = rows, frozen, problems
        self._weight, self._bad = weight, set[int]()
        self._sizes = latent_sizes(rows, frozen)
        alike: dict[Size, list[int]] = defaultdict(list)
        for index, size in enumerate(self._sizes):
            alike[size].append(index)
        self._alike = {size: np.array(found, np.int64) for size, found in alike.items()}
        self._pool, self._lock = ThreadPoolExecutor(THREADS), Lock()

    def __len__(self) -> int:
        return len(self.rows)

    def sizes(self) -> Sequence[tuple[int, int]]:
        """Latent height and width of each example."""
        return self._sizes

    def weights(self) -> Sequence[float]:
        """The set's weight, for each example."""
        return [self._weight] * len(self)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The examples of these numbers, on the device of the frozen parts.

        Raises:
            InputError: they are of several sizes, or no row of their size can be used.
        """
        sizes = {self._sizes[index] for index in indices}
        if len(sizes) != 1:
            raise InputError(f"a batch needs examples of one latent size, not of {sorted(sizes)}")
        return self.compute(list(self._pool.map(self._usable, indices)))

    def prepare(self, index: int) -> Prepared:
        """Read and cut the pictures of a row.

        Raises:
            RowProblem: the row can't be used.
        """
        row = self.rows[index]
        turn = self.frozen.turn(row.text, row.source is not None)
        height, width = self._sizes[index]
        factor = self.frozen.resolution.latent_factor
        shape = width * factor, height * factor
        target = cut(read_picture(row.target), shape)
        if row.source is None:
            return Prepared(row.key, target, None, turn, None)
        source = read_picture(row.source)
        return Prepared(row.key, target, cut(source, shape), turn, self.frozen.view(source))

    def compute(self, rows: Sequence[Prepared]) -> Batch:
        """Latents and conditions of prepared rows of one size."""
        pictures = [row.target for row in rows]
        sources = [row.source for row in rows if row.source is not None]
        latents = self.frozen.encode(torch.from_numpy(np.stack(pictures + sources)))
        views = [row.view for row in rows if row.view is not None]
        conditions = self.frozen.conditions([row.turn for row in rows], views or None)
        condition, mask = pad_conditions(conditions)
        return Batch(
            target=latents[: len(rows)],
            source=latents[len(rows) :] if sources else None,
            condition=condition,
            mask=mask,
            keys=[row.key for row in rows],
        )

    def note(self, index: int, error: RowProblem) -> None:
        """Put a row that can't be used on the list, once."""
        with self._lock:
            if index not in self._bad:
                self._bad.add(index)
                self.problems.add(error, *self.rows.where(index))

    def _usable(self, index: int) -> Prepared:
        """The row, or the next one of its size that can be used."""
        alike = self._alike[self._sizes[index]]
        place = int(np.searchsorted(alike, index))
        for step in range(len(alike)):
            other = int(alike[(place + step) % len(alike)])
            if other in self._bad:
                continue
            try:
                return self.prepare(other)
            except RowProblem as error:
                self.note(other, error)
        raise InputError(
            f"{self.rows.title}: not one of its {len(alike):,} rows of this size can be used\n{self.problems.summary()}"
        )


def latent_sizes(rows: Rows, frozen: Frozen) -> list[Size]:
    """Latent height and width of each row: that of the shape its target is cut to."""
    factor = frozen.resolution.latent_factor
    known: dict[Size, Size] = {}
    sizes = []
    for width, height in rows.size.tolist():
        if (width, height) not in known:
            shape = shape_of((width, height), frozen.resolution)
            known[width, height] = shape[1] // factor, shape[0] // factor
        sizes.append(known[width, height])
    return sizes


def read_picture(picture: Picture) -> Photo:
    """A whole picture, upright. Raises RowProblem."""
    try:
        return read_photo(picture)
    except InputError as error:
        raise RowProblem("unreadable picture", str(error)) from error
