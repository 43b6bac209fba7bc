"""What files made of boxes say of their picture: HEIF and AVIF (ISO/IEC 23008-12), JPEG 2000 (ISO/IEC 15444-1)."""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
AVIF_BRANDS = {b"avif", b"avis"}
MOST_BOXES = 1_000_000


@dataclass
class Boxed:
    """The largest picture that the properties tell of.

    Attributes:
        size: width and height, or None when they tell of none.
        bits: of a channel, the most of any picture.
        code: colour primaries and transfer characteristics (ITU-T H.273), or None.
        metadata: bytes of the box that describes everything.
    """

    size: tuple[int, int] | None = None
    bits: int = 8
    code: tuple[int, int] | None = None
    metadata: int = 0


def boxed_kind(file: BinaryIO, start: bytes) -> str:
    """ "AVIF", "HEIF", or "" by the brands of a file; `start` is its first bytes."""
    length = struct.unpack(">I", start[:4])[0]
    file.seek(8)
    brands = file.read(min(max(length - 8, 0), 256))
    names = {brands[place : place + 4] for place in (0, *range(8, len(brands), 4))}
    return "AVIF" if names & AVIF_BRANDS else "HEIF" if names & HEIF_BRANDS else ""


def boxed_picture(file: BinaryIO) -> Boxed:
    """What a HEIF or AVIF file says.

    Raises:
        ValueError, struct.error: the boxes are damaged.
    """
    found = Boxed()
    for label, place, end in _boxes(file, 0, file.seek(0, io.SEEK_END)):
        if label == b"meta":
            found.metadata += end - place
            for inner, at, until in _boxes(file, place + 4, end):
                if inner == b"iprp":
                    _properties(file, at, until, found)
    return found


def codestream(file: BinaryIO, start: bytes) -> tuple[tuple[int, int], int]:
    """Size and bits of a JPEG 2000 picture, from the SIZ segment of its codestream (A.5.1).

    Raises:
        ValueError, struct.error: there is none.
    """
    place = 0
    if not start.startswith(b"\xff\x4f"):
        found = [at for kind, at, _ in _boxes(file, 0, file.seek(0, io.SEEK_END)) if kind == b"jp2c"]
        if not found:
            raise ValueError("no codestream")
        place = found[0]
    file.seek(place + 6)
    content = file.read(40)
    right, bottom, left, top = struct.unpack_from(">4I", content, 2)
    return (right - left, bottom - top), (content[36] & 0x7F) + 1


def _boxes(file: BinaryIO, place: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, first byte of the content and end of each box in a range."""
    for _ in range(MOST_BOXES):
        if place + 8 > end:
            return
        file.seek(place)
        length, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if length == 1:
            length, head = struct.unpack(">Q", file.read(8))[0], 16
        length = end - place if length == 0 else length
        if length < head:
            raise ValueError("a box shorter than its head")
        yield kind, place + head, min(place + length, end)
        place += length


def _properties(file: BinaryIO, place: int, end: int, found: Boxed) -> None:
    for kind, at, until in _boxes(file, place, end):
        if kind != b"ipco":
            continue
        for inner, start, _ in _boxes(file, at, until):
            file.seek(start)
            content = file.read(20)
            if inner == b"ispe":
                width, height = struct.unpack_from(">II", content, 4)
                if found.size is None or width * height > found.size[0] * found.size[1]:
                    found.size = width, height
            elif inner == b"colr" and content[:4] == b"nclx" and found.code is None:
                found.code = struct.unpack_from(">HH", content, 4)
            elif inner == b"pixi" and len(content) > 5:
                found.bits = max(found.bits, *content[5 : 5 + max(content[4], 1)])
            elif inner == b"av1C" and len(content) > 2:
                deep, twelve = content[2] & 0x40, content[2] & 0x20
                found.bits = max(found.bits, (12 if twelve else 10) if deep else 8)
