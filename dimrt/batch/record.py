"""What is known in a folder of results: which photos are done and with what, and whose each file is."""

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from dimrt.batch.entry import Entry, Lines, read_entries
from dimrt.batch.marks import remove_marks
from dimrt.batch.names import folded
from dimrt.errors import InputError
from dimrt.files import explained
from dimrt.lock import try_lock

RECORD = ".dimrt-batch.jsonl"
LOCK = ".dimrt-batch.lock"


class History:
    """What the lines of a record add up to.

    Attributes:
        last: the last entry of each photo.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.last: dict[str, Entry] = {}
        self._owner: dict[str, str] = {}
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Take one more entry into account."""
        self.last[entry.input] = entry
        if entry.status != "failed":
            self._owner[folded(entry.output)] = entry.input

    def owner(self, output: str) -> str | None:
        """The photo that an output was last written for; None when no batch wrote it."""
        return self._owner.get(folded(output))


class Record:
    """The record of a folder of results, open for writing by one batch alone; a context manager.

    Attributes:
        history: what it holds.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._lock: BinaryIO | None = None
        self._lines: Lines | None = None
        self.history = History()

    def __enter__(self) -> "Record":
        """Make the folder when it isn't there, and keep a second batch out of it.

        Raises:
            InputError: it can't be written, or another batch writes into it.
            ResourceError: the disk is full.
        """
        path = self._out / RECORD
        try:
            with explained(self._out, path):
                self._out.mkdir(exist_ok=True)
                self._lock = (self._out / LOCK).open("ab")
            if not try_lock(self._lock):
                raise InputError(f"another batch writes into {self._out}; wait for it, or choose another folder")
            self.history = read_history(self._out)
            self._lines = Lines(path)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Let the next batch in."""
        self.close()

    def append(self, *entries: Entry) -> None:
        """Add entries, and wait until the disk has them.

        Raises:
            ResourceError: the disk is full.
        """
        assert self._lines is not None, "the record is not open"
        self._lines.append(*entries)
        for entry in entries:
            self.history.add(entry)

    def close(self) -> None:
        """Close the record and give the folder free."""
        remove_marks(self._out)
        for file in (self._lines, self._lock):
            if file is not None:
                file.close()
        self._lines = self._lock = None


def read_history(out: Path) -> History:
    """What a folder of results knows; it need not exist.

    Raises:
        InputError: its record can't be read.
    """
    path = out / RECORD
    try:
        return History(read_entries(path))
    except OSError as error:
        raise InputError(
            f"{path} can't be read: {error.strerror or error}; correct its permissions, or choose another folder"
        ) from error
