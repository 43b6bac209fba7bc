"""Writing latents and conditions of data sets to disk, once, instead of computing them in every epoch.

Work goes shard by shard (see `workplace` for how a run goes on that was killed).
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage

import msgspec
import numpy as np

from dimrt.errors import ResourceError
from dimrt.export.train.data.batch import Batch
from dimrt.export.train.data.online import THREADS, Online, Prepared
from dimrt.export.train.data.problems import Problem, Problems, RowProblem
from dimrt.export.train.data.shards import FORMAT, Finished, Index, Shard, StoredType, shard_name, write_shard
from dimrt.export.train.data.workplace import Workplace

SHARD_BYTES = 256 << 20
"""About how large a shard is when its number of examples isn't set."""
TEXT_ROWS = 200
"""Condition rows that a text is reckoned to take, for the size told beforehand: a plan of five sections."""
BYTES = {"float16": 2, "float32": 4}


@dataclass(frozen=True)
class PrecomputeEvent:
    """Progress: `done` of `total` examples are dealt with, of which `left_out` can't be used. `left` is about how many
    seconds the rest takes, when that is known; `note` says what a person should know.
    """

    done: int
    total: int
    left_out: int
    left: float | None = None
    note: str | None = None


@dataclass(frozen=True)
class Work:
    """What is to be written, and how.

    Attributes:
        sets: the rows, with their frozen parts.
        digests: of the frozen parts.
        folder: where to.
        dtype: of latents and conditions on disk.
        batch: rows that go through the frozen parts together.
        shard_examples: rows of one shard; None for about 256 MB.
        share: (i, n): this process takes every n-th shard, from number i on (0 <= i < n).
    """

    sets: Sequence[Online]
    digests: Mapping[str, str]
    folder: Path
    dtype: StoredType = "float16"
    batch: int = 8
    shard_examples: int | None = None
    share: tuple[int, int] = (0, 1)

    @property
    def total(self) -> int:
        """Rows of all sets."""
        return sum(len(part) for part in self.sets)

    @property
    def example_bytes(self) -> float:
        """About how many bytes an example takes on disk."""
        frozen = self.sets[0].frozen
        pictures = 2 if frozen.task == "edit" else 1
        area = np.mean([height * width for part in self.sets for height, width in part.sizes()])
        rows = TEXT_ROWS + (frozen.image_tokens + 2 if frozen.task == "edit" else 0)
        latents = pictures * area * int(frozen.autoencoder.config.latent_channels)
        return BYTES[self.dtype] * (latents + min(rows, frozen.max_condition) * frozen.facts.language.hidden_size)

    @property
    def per_shard(self) -> int:
        """Rows of one shard."""
        return self.shard_examples or max(1, int(SHARD_BYTES / self.example_bytes))

    def spans(self) -> list[range]:
        """The rows of each shard, counted over all sets."""
        starts = range(0, self.total, self.per_shard)
        return [range(start, min(start + self.per_shard, self.total)) for start in starts]

    def made_of(self) -> str:
        """Fingerprint of everything that decides what is written."""
        digest = hashlib.sha256()
        facts = (FORMAT, sorted(self.digests.items()), self.dtype, self.per_shard, self.sets[0].frozen.resolution)
        digest.update(msgspec.json.encode(facts))
        for part in self.sets:
            rows = part.rows
            files = [(str(p.table.path), p.table.path.stat().st_mtime_ns) for p in rows.parts]
            digest.update(repr((rows.title, files, part.weights()[0])).encode())
            for array in (rows.part, rows.place, rows.size):
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def precompute(
    work: Work,
    problems: Problems,
    *,
    restart: bool = False,
    notify: Callable[[PrecomputeEvent], None] = lambda event: None,
) -> Index | None:
    """Write what is missing of `work.folder`; the index when all shards are there.

    Args:
        problems: takes the rows that can't be used.
        restart: begin anew, whatever is in the folder.

    Returns:
        The index; None while shards of other shares are missing.

    Raises:
        InputError: the folder holds something else, or no row can be used.
        ResourceError: the disk is too small.
        CheckFailed: a value is too large for the stored type.
    """
    made_of, spans = work.made_of(), work.spans()
    place = Workplace(work.folder, made_of, len(spans))
    finished = place.enter(restart=restart, alone=work.share[1] == 1)
    mine = [number for number in range(len(spans)) if number % work.share[1] == work.share[0]]
    missing = [number for number in mine if number not in finished]
    _check_disk(work, sum(len(spans[number]) for number in missing))
    for number in set(mine) & finished.keys():
        for problem in finished[number].problems:
            problems.add(RowProblem(problem.kind, problem.detail), Path(problem.file), problem.line)
    total = sum(len(spans[number]) for number in mine)
    done = before = total - sum(len(spans[number]) for number in missing)
    note = f"{len(mine) - len(missing)} of {len(mine)} shards are there already" if len(missing) < len(mine) else None
    notify(PrecomputeEvent(done, total, len(problems), note=note))
    began = time.monotonic()

    def advance(count: int) -> None:
        nonlocal done
        done += count
        rate = (time.monotonic() - began) / (done - before)
        notify(PrecomputeEvent(done, total, len(problems), (total - done) * rate))

    with ThreadPoolExecutor(THREADS) as pool:
        for number in missing:
            place.record(number, _write(work, number, spans[number], problems, pool, advance))
    return place.finish(_facts(work, made_of), problems, mine)


def _check_disk(work: Work, examples: int) -> None:
    needed, free = int(work.example_bytes * examples), disk_usage(work.folder).free
    if needed > free:
        raise ResourceError(
            f"{work.folder}: {examples:,} examples take about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free "
            "there; name a larger disk, store float16, or train without precomputing"
        )


def _write(
    work: Work,
    number: int,
    span: range,
    problems: Problems,
    pool: ThreadPoolExecutor,
    advance: Callable[[int], None],
) -> Finished:
    """One shard; it has no file when none of its rows can be used."""
    examples: dict[int, tuple[Batch, int]] = {}
    found: list[Problem] = []
    for chunk, prepared in _ahead(pool, work.sets, _batches(work, span)):
        usable = [(place, row) for place, row in zip(chunk, prepared, strict=True) if isinstance(row, Prepared)]
        for place, row in zip(chunk, prepared, strict=True):
            if isinstance(row, RowProblem):
                part, index = _place(work.sets, place)
                file, line = part.rows.where(index)
                problems.add(row, file, line)
                found.append(Problem(row.kind, str(file), line, row.detail))
        if usable:
            batch = work.sets[0].compute([row for _, row in usable])
            kept = batch.to("cpu")
            examples |= {place: (kept, row) for row, (place, _) in enumerate(usable)}
        advance(len(chunk))
    shard = Shard(shard_name(number), 0, "", 0)
    if examples:
        places = sorted(examples)
        weights = [_place(work.sets, place)[0].weights()[0] for place in places]
        path = work.folder / shard.file
        shard = write_shard(path, [examples[place] for place in places], weights, work.dtype)
    return Finished(shard, tuple(found))


def _batches(work: Work, span: range) -> Iterator[list[int]]:
    """The rows of a shard in batches of one latent size."""
    alike: dict[tuple[int, int], list[int]] = {}
    for place in span:
        part, index = _place(work.sets, place)
        alike.setdefault(part.sizes()[index], []).append(place)
    for places in alike.values():
        for start in range(0, len(places), work.batch):
            yield places[start : start + work.batch]


def _ahead(
    pool: ThreadPoolExecutor, sets: Sequence[Online], batches: Iterator[list[int]]
) -> Iterator[tuple[list[int], list[Prepared | RowProblem]]]:
    """Batches with their rows prepared; the next one is prepared while one is in use."""

    def prepare(place: int) -> Prepared | RowProblem:
        part, index = _place(sets, place)
        try:
            return part.prepare(index)
        except RowProblem as error:
            return error

    waiting: list[tuple[list[int], list[Future[Prepared | RowProblem]]]] = []
    for chunk in batches:
        waiting.append((chunk, [pool.submit(prepare, place) for place in chunk]))
        if len(waiting) > 1:
            ready, rows = waiting.pop(0)
            yield ready, [row.result() for row in rows]
    for ready, rows in waiting:
        yield ready, [row.result() for row in rows]


def _facts(work: Work, made_of: str) -> Index:
    """The index, but for its shards."""
    frozen = work.sets[0].frozen
    return Index(
        format=FORMAT,
        made_of=made_of,
        edits=frozen.task == "edit",
        dtype=work.dtype,
        latent_channels=int(frozen.autoencoder.config.latent_channels),
        condition_width=frozen.facts.language.hidden_size,
        digests=dict(work.digests),
        examples=0,
        shards=(),
    )


def _place(sets: Sequence[Online], place: int) -> tuple[Online, int]:
    """The set of a row that is counted over all sets, and its number there."""
    for part in sets:
        if place < len(part):
            return part, place
        place -= len(part)
    raise IndexError(place)
