"""A file written front to back in parts, whose writing goes on after a kill with the parts that were finished.

What is finished is kept in a ledger: how many parts, how many bytes, and the sha256 of those bytes. On going on, the
bytes are read again and must have that sum; if not, the file starts anew. The same running sum is the finished file's,
so that nothing is read twice.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from dimrt.manifest import FileRecord

CHUNK = 8 * 2**20
"""Bytes between two reports of progress, so that a cancel is seen while a large tensor is written."""


class Mark(msgspec.Struct, frozen=True):
    """A good state of a file: `parts` of it are complete and end at byte `size`; `sha256` (hex) is theirs."""

    parts: int
    size: int
    sha256: str


class Ledger(Protocol):
    """Who remembers marks, and who is told of bytes."""

    def mark(self, name: str) -> Mark | None:
        """The last mark of a file, if there is one."""

    def keep(self, name: str, mark: Mark) -> None:
        """Remember a mark. The bytes it covers have been handed to the system."""

    def wrote(self, count: int) -> None:
        """Bytes were written, or found to be there already. An exception from here ends the writing."""


class Unkept:
    """A ledger for files that are written in one go."""

    def mark(self, name: str) -> Mark | None:
        """None: every file starts at its first byte."""
        return None

    def keep(self, name: str, mark: Mark) -> None:
        """Nothing is remembered."""

    def wrote(self, count: int) -> None:
        """Nobody is told."""


class Stream:
    """The file being written; a context manager.

    Attributes:
        parts: how many parts are complete; the caller goes on with the part of this number.
        size: bytes so far.
    """

    def __init__(self, path: Path, name: str, ledger: Ledger) -> None:
        """`name` is the file's in the ledger."""
        self._path, self._name, self._ledger = path, name, ledger
        self.parts, self.size = 0, 0
        self._hash = hashlib.sha256()
        self._file: BinaryIO | None = None

    def __enter__(self) -> "Stream":
        """Open the file at its last good byte."""
        self._file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b")
        try:
            self._resume()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; what is in it stays."""
        self._opened.close()

    @property
    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise RuntimeError(f"{self._path} isn't open")
        return self._file

    def _resume(self) -> None:
        """Take over what the ledger vouches for, cut off the rest."""
        mark = self._ledger.mark(self._name)
        if mark is not None and self._opened.seek(0, os.SEEK_END) >= mark.size:
            digest = hashlib.sha256()
            self._opened.seek(0)
            for start in range(0, mark.size, CHUNK):
                digest.update(self._opened.read(min(CHUNK, mark.size - start)))
            if digest.hexdigest() == mark.sha256:
                self._hash, self.parts, self.size = digest, mark.parts, mark.size
                self._ledger.wrote(mark.size)
        self._opened.seek(self.size)
        self._opened.truncate()

    def write(self, data: "NDArray[Any] | bytes") -> None:
        """Append an array's bytes as they lie in memory (C order), or bytes."""
        view = memoryview(data if isinstance(data, bytes) else np.ascontiguousarray(data).reshape(-1).view(np.uint8))
        for start in range(0, len(view), CHUNK):
            piece = view[start : start + CHUNK]
            self._opened.write(piece)
            self._hash.update(piece)
            self.size += len(piece)
            self._ledger.wrote(len(piece))

    def pad(self, until: int) -> None:
        """Append zeros up to byte `until`."""
        self.write(bytes(until - self.size))

    def complete_part(self) -> None:
        """All bytes of the next part are written: remember it."""
        self._opened.flush()
        self.parts += 1
        self._ledger.keep(self._name, Mark(self.parts, self.size, self._hash.hexdigest()))

    def record(self) -> FileRecord:
        """Size and sha256 of what is written."""
        return FileRecord(size=self.size, sha256=self._hash.hexdigest())


def write_file(path: Path, name: str, parts: Iterable[bytes], ledger: Ledger) -> FileRecord:
    """Write a small file whole, in parts; never gone on with."""
    path.unlink(missing_ok=True)
    with Stream(path, name, Unkept()) as stream:
        for part in parts:
            stream.write(part)
            ledger.wrote(len(part))
        return stream.record()
