"""PNG metadata put into a PNG as an encoder writes it: profile, EXIF and XMP, byte for byte."""

import struct
import zlib
from typing import BinaryIO

from dimrt.photo.header import PNG_START, XMP_KEYWORD

HEAD = len(PNG_START) + 25
"""Bytes up to the end of the IHDR chunk, after which the other chunks go."""


class PngStream:
    """A file that only takes bytes, and adds chunks behind the first one.

    It has no descriptor, so that an encoder writes through Python and a full disk is an OSError that says so.
    """

    def __init__(self, file: BinaryIO, chunks: bytes) -> None:
        """Use an open file.

        Args:
            file: where it all goes.
            chunks: as `metadata_chunks` makes them.
        """
        self._file, self._chunks, self._count = file, chunks, 0

    def write(self, data: bytes | memoryview) -> int:
        """Take the next bytes of the PNG."""
        view = memoryview(data)
        if self._count < HEAD:
            head = view[: HEAD - self._count]
            self._file.write(head)
            self._count += len(head)
            view = view[len(head) :]
            if self._count == HEAD:
                self._file.write(self._chunks)
        self._file.write(view)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""


def metadata_chunks(icc: bytes | None, exif: bytes | None, xmp: bytes | None) -> bytes:
    """The chunks iCCP, eXIf and iTXt.

    Args:
        icc, xmp: as they are.
        exif: EXIF block with its prefix of six bytes.
    """
    chunks = []
    if icc is not None:
        chunks.append(_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc)))
    if exif is not None:
        chunks.append(_chunk(b"eXIf", exif[6:]))
    if xmp is not None:
        chunks.append(_chunk(b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + xmp))
    return b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
