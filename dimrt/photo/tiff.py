"""Directories of TIFF files and of EXIF blocks, which have the same form (TIFF 6.0, section 2; BigTIFF)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

LENGTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of one value of each type."""
INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
MOST_ENTRIES = 4096
"""Of one directory; cameras write some dozens."""


@dataclass(frozen=True)
class Entry:
    """One entry: where it stands, where its values stand, and how many bytes these have."""

    tag: int
    kind: int
    count: int
    place: int
    start: int
    length: int


@dataclass(frozen=True)
class Directory:
    """Entries by tag, the place of the first byte, of the pointer to the next directory, and that pointer."""

    entries: dict[int, Entry]
    place: int
    link: int
    following: int

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())


class Tiff:
    """Reads directories from a file, or from an EXIF block without its prefix. Places count from its start.

    Attributes:
        order: "<" or ">", as `struct` has it.
        first: place of the first directory.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Read the header.

        Raises:
            ValueError: it isn't one.
        """
        self._file = file
        file.seek(0)
        start = file.read(16)
        marks = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
        if start[:4] not in marks or len(start) < 8:
            raise ValueError("no TIFF header")
        self.order, self._big = marks[start[:4]]
        self.first: int = self._unpack("Q", start[8:16]) if self._big else self._unpack("I", start[4:8])

    def directory(self, place: int) -> Directory:
        """The directory at a place.

        Raises:
            ValueError: it is cut off, or has too many entries.
        """
        count_form, step, head = ("Q", 20, 8) if self._big else ("H", 12, 2)
        count = self._unpack(count_form, self._read(place, head))
        if count > MOST_ENTRIES:
            raise ValueError(f"a directory with {count:,} entries")
        table = self._read(place + head, count * step)
        entries: dict[int, Entry] = {}
        for index in range(count):
            entry = self._entry(table[index * step :][:step], place + head + index * step)
            entries.setdefault(entry.tag, entry)
        link = place + head + count * step
        tail = self._file.read(8 if self._big else 4)
        following = self._unpack("Q" if self._big else "I", tail) if len(tail) == (8 if self._big else 4) else 0
        return Directory(entries, place, link, following)

    def integers(self, entry: Entry | None, most: int = 16) -> list[int]:
        """The first whole numbers of an entry; none when it is absent or of another type."""
        if entry is None or entry.kind not in INTEGERS:
            return []
        count = min(entry.count, most)
        data = self._read(entry.start, count * LENGTHS[entry.kind])
        return list(struct.unpack(f"{self.order}{count}{INTEGERS[entry.kind]}", data))

    def integer(self, entry: Entry | None, default: int = 0) -> int:
        """The first whole number of an entry."""
        found = self.integers(entry, 1)
        return found[0] if found else default

    def values(self, entry: Entry | None) -> bytes | None:
        """The bytes of an entry's values."""
        return None if entry is None else self._read(entry.start, entry.length)

    def _entry(self, data: bytes, place: int) -> Entry:
        tag, kind = struct.unpack_from(f"{self.order}HH", data)
        count = self._unpack("Q" if self._big else "I", data[4:12] if self._big else data[4:8])
        inline, at = (8, 12) if self._big else (4, 8)
        length = count * LENGTHS.get(kind, 1)
        start = place + at if length <= inline else self._unpack("Q" if self._big else "I", data[at : at + inline])
        return Entry(tag, kind, count, place, start, length)

    def _read(self, place: int, length: int) -> bytes:
        self._file.seek(place)
        data = self._file.read(length)
        if len(data) != length:
            raise ValueError("the file ends early")
        return data

    def _unpack(self, form: str, data: bytes) -> int:
        return int(struct.unpack(self.order + form, data)[0])
