"""The folder that precomputed data is written to, from the first shard to the index.

Beside each shard stands a small record of it (its sum, and the rows that it left out). Shard and record appear by a
rename, so a run that was killed goes on with what has no record; several processes may share the shards of one folder,
and whoever finishes the last one writes the index. The records stay: a shard that is lost later is made anew.
"""

from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from dimrt.errors import InputError
from dimrt.export.train.data.problems import Problems, RowProblem
from dimrt.export.train.data.shards import INDEX, PLAN, PROBLEMS, Finished, Index, read_index, shard_name, write_json

Record = TypeVar("Record", bound=Struct)


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """What an unfinished folder is going to hold."""

    made_of: str
    shards: int


class Workplace:
    """One folder under work.

    Args:
        made_of: fingerprint of what is written; a folder with another one is refused.
        shards: how many there will be.
    """

    def __init__(self, folder: Path, made_of: str, shards: int) -> None:
        self.folder, self._plan = folder, Plan(made_of, shards)

    def enter(self, *, restart: bool, alone: bool) -> dict[int, Finished]:
        """Make the folder ready. Returns the finished shards by number.

        Args:
            restart: remove what an earlier job left.
            alone: no other process works in the folder, so that half-written files are a killed one's and are removed.

        Raises:
            InputError: it holds something else, or was begun with other data or settings.
        """
        if not self.folder.parent.is_dir():
            raise InputError(f"{self.folder}: the folder {self.folder.parent} doesn't exist; create it first")
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.folder} is a file; name a folder to write")
        self.folder.mkdir(exist_ok=True)
        if alone:
            for path in self.folder.glob(".dimrt-*.partial"):
                path.unlink()
        if restart:
            remove_precomputed(self.folder)
        if (self.folder / INDEX).is_file():
            self._require_same(read_index(self.folder).made_of)
        elif (self.folder / PLAN).is_file():
            self._require_same(_read(self.folder / PLAN, Plan).made_of)
        elif any(self.folder.iterdir()):
            raise InputError(f"{self.folder}: holds other files; name a new or empty folder")
        else:
            write_json(self.folder / PLAN, self._plan)
        records = ((number, self._found(number)) for number in range(self._plan.shards))
        return {number: record for number, record in records if record is not None}

    def record(self, number: int, finished: Finished) -> None:
        """Note a shard that is written."""
        write_json(self._record(number), finished)

    def finish(self, index: Index, problems: Problems, mine: Collection[int]) -> Index | None:
        """Write the index, with the shards added, when all of them are there; None when some are missing.

        Args:
            problems: of the shards `mine`; those of the others are added.

        Raises:
            InputError: not one row could be used.
        """
        found = [self._found(number) for number in range(self._plan.shards)]
        shards = tuple(record.shard for record in found if record is not None and record.shard.examples)
        if any(record is None for record in found):
            return None
        for number, record in enumerate(found):
            for problem in record.problems if number not in mine else ():
                problems.add(RowProblem(problem.kind, problem.detail), Path(problem.file), problem.line)
        if not shards:
            raise InputError(f"{self.folder}: not one row can be used\n{problems.summary()}")
        index = msgspec.structs.replace(index, examples=sum(shard.examples for shard in shards), shards=shards)
        problems.write(self.folder / PROBLEMS)
        write_json(self.folder / INDEX, index)
        (self.folder / PLAN).unlink(missing_ok=True)
        return index

    def _found(self, number: int) -> Finished | None:
        """The record of a shard whose file is there, too."""
        if not self._record(number).is_file():
            return None
        record = _read(self._record(number), Finished)
        file = self.folder / record.shard.file
        there = file.is_file() and file.stat().st_size == record.shard.size
        return record if there or not record.shard.examples else None

    def _require_same(self, found: str) -> None:
        if found != self._plan.made_of:
            raise InputError(
                f"{self.folder}: was made of other data, with another checkpoint or other settings; give the same "
                "command as then, begin anew with --restart, or name another folder"
            )

    def _record(self, number: int) -> Path:
        return self.folder / f"{Path(shard_name(number)).stem}.json"


def remove_precomputed(folder: Path) -> None:
    """Remove what is written into such a folder, and nothing else."""
    for pattern in ("shard-*.safetensors", "shard-*.json", INDEX, PLAN, PROBLEMS):
        for path in folder.glob(pattern):
            path.unlink()


def _read(path: Path, kind: type[Record]) -> Record:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{path}: can't be read ({error}); remove it, or begin anew with --restart") from error
