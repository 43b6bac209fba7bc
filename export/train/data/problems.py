"""What is wrong with rows of a data set: counted, listed with file and line, never the end of a run."""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from dimrt.files import atomic_write

Kind = Literal[
    "broken row",
    "wrong field",
    "empty text",
    "long text",
    "missing picture",
    "outside the folder",
    "unreadable picture",
    "picture size",
    "shapes differ",
    "no partner",
]
IN_MEMORY = 4 << 20
"""Bytes of the list that stay in memory; what is more goes to a temporary file."""


@dataclass(frozen=True)
class Problem:
    """A row that was left out. `line` counts from 1; 0 where the file has no lines (a folder's entry)."""

    kind: Kind
    file: str
    line: int
    detail: str


class RowProblem(Exception):
    """Raised inside the readers for a row that can't be used."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail


class Problems:
    """The list of what was left out. It may grow with the data set, so it is kept on disk; counts are in memory."""

    def __init__(self) -> None:
        self.counts: Counter[Kind] = Counter()
        self._first: dict[Kind, Problem] = {}
        self._list = tempfile.SpooledTemporaryFile(IN_MEMORY, prefix="dimrt-problems-")  # noqa: SIM115 (lives as long as this)

    def __len__(self) -> int:
        return self.counts.total()

    def __iter__(self) -> Iterator[Problem]:
        self._list.seek(0)
        for line in self._list:
            yield Problem(**json.loads(line))
        self._list.seek(0, 2)

    def add(self, error: RowProblem, file: Path, line: int) -> None:
        """Note a row."""
        problem = Problem(error.kind, str(file), line, error.detail)
        self.counts[problem.kind] += 1
        self._first.setdefault(problem.kind, problem)
        self._list.write(json.dumps(asdict(problem), ensure_ascii=False).encode("utf-8", "replace") + b"\n")

    def summary(self) -> str:
        """Lines for people: how many of each kind, and the first of each; empty when there is none."""
        if not self.counts:
            return ""
        lines = [f"{len(self):,} rows left out:"]
        for kind, count in self.counts.most_common():
            first = self._first[kind]
            place = first.file if first.line == 0 else f"{first.file}:{first.line}"
            lines.append(f"  {count:>9,}  {kind:<18}  first: {place}: {first.detail}")
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """Write the whole list as JSON lines (kind, file, line, detail)."""
        self._list.seek(0)
        with atomic_write(path) as file:
            shutil.copyfileobj(self._list, file)
        self._list.seek(0, 2)
