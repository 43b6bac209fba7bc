"""One line of a batch's record and of its report, and the files that hold such lines."""

import json
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import msgspec

from dimrt.files import atomic_write, explained

Status = Literal["done", "skipped", "failed", "claimed"]
"""What a report says of a photo: done now, skipped because it was done before, failed. The record also says when its
output is claimed: it may be written from then on."""


class Problem(msgspec.Struct, frozen=True):
    """Why a photo failed: the class of the error, and its message."""

    type: str
    message: str


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one photo.

    Attributes:
        input: the photo, relative to the folder, with forward slashes.
        output: its result, relative to the folder of results; "" for what couldn't be looked at.
        status: see `Status`.
        instruction: what was asked.
        error: why it failed.
        seconds: wall-clock time of reading, editing and writing.
        width, height: of the result, in pixels.
        file_bytes: size of the written file.
        seed, steps, guidance_scale, composite: what really ran, see `dimrt.EditResult`.
        notes: what reader and writer had to decide ("JPEG holds no transparency: it was laid on white").
        bundle, provider: the bundle's name; backend and provider that ran.
        sha256: of the photo's file.
        key: what was asked of the photo, as one sum: instruction, options, format, quality, bundle.
    """

    input: str
    output: str
    status: Status
    instruction: str = ""
    error: Problem | None = None
    seconds: float | None = None
    width: int | None = None
    height: int | None = None
    file_bytes: int | None = None
    seed: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    composite: str | None = None
    notes: tuple[str, ...] = ()
    bundle: str | None = None
    provider: str | None = None
    sha256: str | None = None
    key: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The entry as a JSON object; what is not known is left out."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document

    def line(self) -> bytes:
        """The entry as one line. Names that are no Unicode stay what they are: everything but ASCII is escaped."""
        return json.dumps(self.as_json()).encode("ascii") + b"\n"


def from_json(document: Any) -> Entry:
    """The entry of a JSON object.

    Raises:
        msgspec.ValidationError: it is none.
    """
    return msgspec.convert(document, Entry)


def read_entries(path: Path) -> Iterator[Entry]:
    """The entries of a file; what isn't one (a line torn by a crash) is passed over. A file that isn't there has none.

    Raises:
        OSError: the file can't be read.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                yield from_json(json.loads(line))
            except ValueError:  # msgspec's errors are of this class too
                continue


def write_entries(path: Path, entries: list[Entry]) -> None:
    """Replace a file by these entries, at once.

    Raises:
        InputError, ResourceError: as `dimrt.files.atomic_write`.
    """
    with atomic_write(path) as file:
        file.writelines(entry.line() for entry in entries)


class Lines:
    """A file of entries that grows, line by line; each is on disk before the next thing happens.

    Args:
        path: the file; its folder exists.
        fresh: begin with nothing; else what is there stays, but for a torn last line.

    Raises:
        InputError, ResourceError: as `dimrt.files.atomic_write`; OSError for what that doesn't explain.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        with explained(path, path):
            # No buffer: what a full disk didn't take mustn't come back when the file is closed.
            self._file: FileIO = path.open("wb" if fresh else "ab", buffering=0)
            if not fresh:
                self._file.truncate(_end_of_lines(path))

    def append(self, *entries: Entry) -> None:
        """Add lines, and wait until the disk has them."""
        with explained(self.path, self.path):
            left = b"".join(entry.line() for entry in entries)
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _end_of_lines(path: Path) -> int:
    """Where the last whole line of a file ends."""
    end = 0
    with path.open("rb") as file:
        for line in file:
            end += len(line) if line.endswith(b"\n") else 0
    return end
