"""A look at a photo file's own words before any decoder gets it: its kind, size, depth, and how much metadata it has.

Decoders allocate for the size that a header claims, and unpack what is packed in it; this reads only numbers.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from dimrt.errors import InputError
from dimrt.photo.boxes import boxed_kind, boxed_picture, codestream
from dimrt.photo.limits import Limits
from dimrt.photo.metadata import BROKEN, SUB_BLOCKS
from dimrt.photo.tiff import Entry, Tiff

PNG_START = b"\x89PNG\r\n\x1a\n"
MOST_PARTS = 1_000_000
"""Chunks or segments of one file."""
PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
"""Chunks of a PNG that its decoder gets to see; the metadata is read here."""
XMP_KEYWORD = b"XML:com.adobe.xmp"
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""JPEG markers that start a frame, which tells the size."""
SAMPLE_TAGS = {"orientation": 274, "bits": 258, "colours": 262, "format": 339, "extra": 338}


@dataclass
class Header:
    """What a file says of itself.

    Attributes:
        kind: "PNG", "JPEG", "WEBP", "TIFF", "HEIF", "AVIF", "JPEG2000", or "" for what only Pillow looks at.
        size: width and height as stored, or None where only Pillow will know.
        bits: of a channel.
        tags: of a TIFF: bits, compression, colours (photometric), format, extra (samples), profile and XMP.
        code: colour primaries and transfer characteristics (ITU-T H.273), where the file tells them.
        icc, exif, xmp: metadata, where it was read here (PNG, TIFF).
        frames: of a PNG.
        pixels: of a PNG: where the parts are that its decoder needs, as first and last byte (not included).
    """

    kind: str = ""
    size: tuple[int, int] | None = None
    bits: int = 8
    tags: dict[str, list[int]] = field(default_factory=dict)
    code: tuple[int, int] | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    frames: int = 1
    pixels: list[tuple[int, int]] = field(default_factory=list)


def look(file: BinaryIO, name: str, limits: Limits) -> Header:
    """Read a file's header and leave the file at its start.

    Raises:
        InputError: more pixels or metadata than the limits allow, or a header that is damaged.
    """
    file.seek(0)
    start = file.read(32)
    try:
        header = _by_kind(file, start, name, limits)
    except BROKEN as error:
        raise unreadable(name, error) from error
    if header.size is not None:
        limits.check_size(header.size, name)
    file.seek(0)
    return header


def unreadable(name: str, error: Exception) -> InputError:
    """What is wrong with a file that raised this: the disk it's on, or what it holds."""
    if isinstance(error, OSError) and error.errno:
        return InputError(f"{name} can't be read: {error.strerror or error}")
    return InputError(f"{name} is truncated or damaged ({error}); get a complete copy")


def _by_kind(file: BinaryIO, start: bytes, name: str, limits: Limits) -> Header:
    if start.startswith(PNG_START):
        return _png(file, name, limits)
    if start.startswith(b"\xff\xd8\xff"):
        return _jpeg(file, name, limits)
    if start[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return _tiff(file, name, limits)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return _webp(file, name, limits)
    if start[4:8] == b"ftyp":
        return _boxes(file, start, name, limits)
    if start.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")):
        return _jpeg2000(file, start)
    if start[:2] in {b"P5", b"P6"}:
        return _ppm(start)
    return Header()


def _png(file: BinaryIO, name: str, limits: Limits) -> Header:
    header, metadata = Header("PNG", pixels=[(0, len(PNG_START))]), 0
    for place, length, kind in _chunks(file):
        end = place + length + 12
        if kind in PIXEL_CHUNKS:
            if header.pixels[-1][1] == place:
                place = header.pixels.pop()[0]
            header.pixels.append((place, end))
        elif kind != b"fdAT":
            metadata += length
            limits.check_metadata(metadata, name)
        if kind in {b"IHDR", b"acTL", b"cICP", b"iCCP", b"eXIf", b"iTXt"}:
            content = file.read(min(length, limits.metadata))
            if kind == b"IHDR" and header.size is None:
                width, height, header.bits = struct.unpack_from(">IIB", content)
                header.size = width, height
            elif kind == b"acTL" and length >= 4:
                header.frames = struct.unpack_from(">I", content)[0]
            elif kind == b"cICP" and length >= 2:
                header.code = content[0], content[1]
            elif kind == b"iCCP":
                header.icc = _unpacked(content.partition(b"\0")[2][1:], name, limits)
            elif kind == b"eXIf":
                header.exif = content
            elif kind == b"iTXt" and content.startswith(XMP_KEYWORD + b"\0"):
                header.xmp = _international_text(content, name, limits)
        if kind == b"IEND":
            break
    if header.size is None:
        raise ValueError("no IHDR chunk")
    return header


def _chunks(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Place, length and kind of each chunk of a PNG; the file stands at the chunk's content."""
    place = len(PNG_START)
    for _ in range(MOST_PARTS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        yield place, length, kind
        place += length + 12
    raise ValueError(f"over {MOST_PARTS:,} chunks")


def _unpacked(data: bytes, name: str, limits: Limits) -> bytes | None:
    """zlib data; None when it is damaged, as a broken profile is no reason to refuse a good picture.

    Raises:
        InputError: it unpacks to more than the limit.
    """
    worker = zlib.decompressobj()
    try:
        content = worker.decompress(data, limits.metadata + 1)
    except zlib.error:
        return None
    limits.check_metadata(len(content), name)
    return content or None


def _international_text(content: bytes, name: str, limits: Limits) -> bytes | None:
    """The text of an iTXt chunk: keyword, compression flag and method, language, translated keyword, text."""
    rest = content.partition(b"\0")[2]
    packed, text = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    return _unpacked(text, name, limits) if packed else text or None


def _jpeg(file: BinaryIO, name: str, limits: Limits) -> Header:
    header, metadata, place = Header("JPEG"), 0, 2
    for _ in range(MOST_PARTS):
        file.seek(place)
        mark = file.read(2)
        if len(mark) < 2 or mark[0] != 0xFF:
            place += 1  # stray bytes between segments: decoders skip them too
            if len(mark) < 2:
                break
            continue
        if mark[1] in {0xFF, 0x00, 0x01, *range(0xD0, 0xD9)}:
            place += 1 if mark[1] == 0xFF else 2
            continue
        if mark[1] in {0xD9, 0xDA}:
            break
        content = file.read(7)
        length = struct.unpack_from(">H", content)[0]
        if mark[1] in FRAMES and header.size is None:
            header.bits, height, width = struct.unpack_from(">BHH", content, 2)
            header.size = width, height
        else:
            metadata += length
            limits.check_metadata(metadata, name)
        place += 2 + length
    if header.bits != 8:
        raise InputError(f"{name} is a JPEG of {header.bits} bits a channel, dimrt reads 8; convert it to 16-bit TIFF")
    return header


def _webp(file: BinaryIO, name: str, limits: Limits) -> Header:
    header, metadata, place = Header("WEBP"), 0, 12
    for _ in range(MOST_PARTS):
        file.seek(place)
        head = file.read(8 + 10)
        if len(head) < 8:
            break
        kind, length = struct.unpack_from("<4sI", head)
        content = head[8:]
        if kind == b"VP8X":
            header.size = 1 + int.from_bytes(content[4:7], "little"), 1 + int.from_bytes(content[7:10], "little")
        elif kind == b"VP8L" and header.size is None:
            bits = int.from_bytes(content[1:5], "little")
            header.size = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        elif kind == b"VP8 " and header.size is None:
            width, height = struct.unpack_from("<HH", content, 6)
            header.size = width & 0x3FFF, height & 0x3FFF
        elif kind not in {b"VP8 ", b"VP8L", b"ALPH", b"ANMF"}:
            metadata += length
            limits.check_metadata(metadata, name)
        place += 8 + length + length % 2
    return header


def _tiff(file: BinaryIO, name: str, limits: Limits) -> Header:
    tiff = Tiff(file)
    first = tiff.directory(tiff.first)
    found = first.entries
    metadata = sum(entry.length for entry in first)
    for tag in SUB_BLOCKS & found.keys():
        try:
            metadata += sum(entry.length for entry in tiff.directory(tiff.integer(found[tag])))
        except BROKEN:
            continue
    limits.check_metadata(metadata, name)
    tile = tiff.integer(found.get(322), 1), tiff.integer(found.get(323), 1)
    limits.check_size(tile, f"a tile of {name}")
    tags = {word: tiff.integers(found.get(tag)) for word, tag in SAMPLE_TAGS.items()}
    header = Header(
        "TIFF", (tiff.integer(found.get(256)), tiff.integer(found.get(257))), max(tags["bits"] or [1]), tags
    )
    header.icc, header.xmp = (_or_none(tiff, found, tag) for tag in (34675, 700))
    return header


def _or_none(tiff: Tiff, found: dict[int, Entry], tag: int) -> bytes | None:
    try:
        return tiff.values(found.get(tag)) or None
    except ValueError:
        return None


def _boxes(file: BinaryIO, start: bytes, name: str, limits: Limits) -> Header:
    """HEIF and AVIF."""
    kind = boxed_kind(file, start)
    if not kind:
        return Header()
    facts = boxed_picture(file)
    limits.check_metadata(facts.metadata, name)
    return Header(kind, facts.size, facts.bits, code=facts.code)


def _jpeg2000(file: BinaryIO, start: bytes) -> Header:
    return Header("JPEG2000", *codestream(file, start))


def _ppm(start: bytes) -> Header:
    """Whether the largest value of a portable map needs 16 bits; comments before it are left to Pillow."""
    words = start.split()
    wide = len(words) > 3 and words[3].isdigit() and int(words[3]) > 255
    return Header("", None, 16 if wide else 8)
