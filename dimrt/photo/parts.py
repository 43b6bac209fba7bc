"""Parts of a file as if they were the whole file."""

import io
from typing import BinaryIO


class Parts(io.RawIOBase):
    """Reads the given parts of another file, one after the other."""

    def __init__(self, file: BinaryIO, parts: list[tuple[int, int]]) -> None:
        """Use an open file.

        Args:
            file: stays the caller's to close.
            parts: first byte and end of each part; one may end behind the end of the file.
        """
        super().__init__()
        self._file = file
        self._parts = parts
        self._place = 0
        self._length = sum(end - start for start, end in parts)

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Place in the parts taken together."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the parts taken together."""
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._length}[whence]
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill as much of a buffer as the current part holds."""
        skipped = self._place
        for start, end in self._parts:
            if skipped < end - start:
                self._file.seek(start + skipped)
                data = self._file.read(min(len(buffer), end - start - skipped))
                buffer[: len(data)] = data
                self._place += len(data)
                return len(data)
            skipped -= end - start
        return 0
