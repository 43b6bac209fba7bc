"""Rows of a data set: an index in memory (place and picture size of each), everything else read when asked for."""

import math
import os
import time
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dimrt.errors import InputError
from dimrt.export.train.data.problems import Problems, RowProblem
from dimrt.export.train.data.tables import Entry, Fields, Table
from dimrt.photo.read import photo_size

Picture = Path | bytes
"""A picture file, or its content where a table holds it."""
LEAST_SIDE = 16
"""Pixels. Smaller pictures are placeholders of what couldn't be downloaded."""
MOST_ASPECT = 8.0
"""Longest side over shortest: of a longer picture, a training crop would keep only a small part."""
SAME_SHAPE = 1.03
"""Most that the aspect ratios of source and target may differ by."""
_CHUNK = 512
_THREADS = 8
"""Looking into files waits for the disk (or the network) more than for the processor."""
_REPORT_SECONDS = 0.5


@dataclass(frozen=True)
class Row:
    """One example as the data set tells it.

    Attributes:
        key: the set's title and the row's id.
        source: the picture before the edit; None for text-to-image.
        target: the picture to be painted.
        text: the plan, instruction or caption, without white space around it.
        file, line: where the row stands; line 0 for a folder's entry.
    """

    key: str
    source: Picture | None
    target: Picture
    text: str
    file: Path
    line: int


@dataclass(frozen=True)
class Part:
    """One file of a set: its table, and how fields (and the line, for rows without an id) become a row."""

    table: Table
    build: Callable[[Fields, int], Row]


@dataclass(frozen=True)
class Rows:
    """The usable rows of one set.

    Attributes:
        title: of the set.
        parts: its files.
        part, place, line: int64 [n], where each row stands.
        size: int32 [n, 2], width and height of each target.
        edits: whether the rows have sources.
    """

    title: str
    parts: tuple[Part, ...]
    part: NDArray[np.int64]
    place: NDArray[np.int64]
    line: NDArray[np.int64]
    size: NDArray[np.int32]
    edits: bool

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, index: int) -> Row:
        """Row `index`, read now.

        Raises:
            RowProblem: the files have changed since they were looked through.
        """
        part = self.parts[self.part[index]]
        return part.build(part.table.read(int(self.place[index])), int(self.line[index]))

    def where(self, index: int) -> tuple[Path, int]:
        """File and line of a row."""
        return self.parts[self.part[index]].table.path, int(self.line[index])


def look_through(
    title: str,
    parts: tuple[Part, ...],
    edits: bool,
    problems: Problems,
    *,
    shapes: Literal["same", "any"] = "same",
    notify: Callable[[int], None] = lambda count: None,
) -> Rows:
    """Find the usable rows of some files. Pictures are looked at as far as their header.

    Args:
        problems: takes every other row.
        notify: is told how many rows were looked at, a few times a second.

    Raises:
        InputError: not one row is usable.
    """
    kept = array("q")
    seen, told = 0, time.monotonic()

    def check(entry: Entry) -> tuple[int, int] | RowProblem:
        if isinstance(entry.fields, RowProblem):
            return entry.fields
        try:
            return checked_size(part.build(entry.fields, entry.line), shapes)
        except RowProblem as error:
            return error

    with ThreadPoolExecutor(_THREADS) as pool:
        for number, part in enumerate(parts):
            for entries in _chunks(part.table.scan()):
                for entry, found in zip(entries, pool.map(check, entries), strict=True):
                    if isinstance(found, RowProblem):
                        problems.add(found, part.table.path, entry.line)
                    else:
                        kept.extend((number, entry.place, entry.line, *found))
                seen += len(entries)
                if time.monotonic() - told > _REPORT_SECONDS:
                    told = time.monotonic()
                    notify(seen)
    notify(seen)
    if not kept:
        raise InputError(f"{title}: none of its {seen:,} rows can be used\n{problems.summary()}".rstrip())
    found = np.frombuffer(kept, np.int64).reshape(-1, 5)
    return Rows(title, parts, found[:, 0], found[:, 1], found[:, 2], found[:, 3:].astype(np.int32), edits)


def checked_size(row: Row, shapes: Literal["same", "any"]) -> tuple[int, int]:
    """Width and height of a row's target, from the headers of its pictures.

    Raises:
        RowProblem: a picture is missing, unreadable or of absurd size, or the two don't have one shape.
    """
    target = picture_size(row.target)
    if row.source is not None:
        source = picture_size(row.source)
        differ = abs(math.log(source[0] / source[1] * target[1] / target[0]))
        if shapes == "same" and differ > math.log(SAME_SHAPE):
            sizes = f"source {source[0]} x {source[1]}, target {target[0]} x {target[1]}"
            raise RowProblem("shapes differ", f'{sizes}; shapes = "any" cuts each at its own centre')
    return target


def picture_size(picture: Picture) -> tuple[int, int]:
    """Width and height of the upright picture. Raises RowProblem."""
    try:
        width, height = photo_size(picture)
    except InputError as error:
        raise RowProblem("unreadable picture", str(error)) from error
    if min(width, height) < LEAST_SIDE or max(width, height) > MOST_ASPECT * min(width, height):
        name = picture if isinstance(picture, Path) else "the stored picture"
        limits = f"limits: sides of {LEAST_SIDE} pixels, {MOST_ASPECT:g} times longer than wide"
        raise RowProblem("picture size", f"{name} is {width} x {height} pixels ({limits})")
    return width, height


def picture_inside(root: Path, name: str) -> Path:
    """The file that a row calls `name`, which must lie in `root`, links followed. Raises RowProblem."""
    path = Path(os.path.realpath(root / name))
    if not path.is_relative_to(root):
        raise RowProblem("outside the folder", f"{name} leads out of {root}")
    try:
        found = path.is_file()
    except OSError as error:
        raise RowProblem("missing picture", f"{path}: {error.strerror or error}") from error
    if not found:
        raise RowProblem("missing picture", f"{path}: no such file")
    return path


def _chunks(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    """A bounded number of rows at a time."""
    while chunk := list(islice(entries, _CHUNK)):
        yield chunk
