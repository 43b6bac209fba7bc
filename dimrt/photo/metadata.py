"""EXIF and XMP of a photo, kept as they are but for what would be untrue of the upright result: orientation, sizes in
pixels, and old small pictures of it.

An EXIF block is altered in place, since maker notes point into it; only a block whose parts overlap is written anew.
"""

import io
import re
import struct
from typing import BinaryIO

from PIL import ExifTags, Image

from dimrt.photo.tiff import Directory, Entry, Tiff

PREFIX = b"Exif\0\0"
ORIENTATION, THUMBNAIL, THUMBNAIL_LENGTH = 274, 513, 514
STRIPS, STRIP_LENGTHS = 273, 279
SUB_BLOCKS = {int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo)}
WIDTHS, HEIGHTS = {256, 40962}, {257, 40963}
"""Tags that say the size of the picture in pixels."""
STORAGE_TAGS = {*range(254, 267), *range(273, 282), 284, 292, 293, 301, 317, 318, 319, *range(320, 327)} | {
    *range(330, 333), *range(338, 348), *range(512, 533), 559, 700, 33723, 34377, 34675, 37724,
}  # fmt: skip
"""TIFF tags that describe how the old file stored its pixels (or hold the profile), not the photo."""
EXTENDED = b"xmpNote:HasExtendedXMP"
GONE_ATTRIBUTES = (EXTENDED, rb"GCamera:(?:MotionPhoto|MicroVideo)\w{0,40}", rb"hdrgm:Version")
GONE_ELEMENTS = (b"xmp:Thumbnails", b"xap:Thumbnails", b"Container:Directory")
"""What XMP says of parts of a file that aren't kept: the rest of an overlong packet, old small pictures, and the gain
map or film that phones append."""
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    EOFError,
    RuntimeError,
    struct.error,
)
"""What broken files raise here and in Pillow."""


def normal_exif(block: bytes | None) -> bytes | None:
    """An EXIF block with its prefix, however a format keeps it; None when it is none."""
    if not block:
        return None
    start = 0
    while block.startswith(PREFIX, start):
        start += len(PREFIX)
    known = block[start : start + 4] in {b"II*\0", b"MM\0*"}
    return PREFIX + block[start:] if known else None


def orientation(exif: bytes | None) -> int:
    """EXIF orientation, 1 to 8; 1 (upright) when absent or unreadable."""
    if exif is None:
        return 1
    try:
        tiff = Tiff(io.BytesIO(exif[len(PREFIX) :]))
        found = tiff.integer(tiff.directory(tiff.first).entries.get(ORIENTATION), 1)
    except BROKEN:
        return 1
    return found if 1 <= found <= 8 else 1


def fitted_exif(exif: bytes | None, size: tuple[int, int]) -> bytes | None:
    """The block for an upright picture of a (width, height); None when it is too damaged to be kept."""
    if exif is None:
        return None
    try:
        return PREFIX + _fitted(exif[len(PREFIX) :], size)
    except BROKEN:
        return _written_anew(exif)


def exif_of_tiff(file: BinaryIO) -> bytes | None:
    """What a TIFF file says of the photo itself, as an EXIF block."""
    try:
        file.seek(0)
        exif = Image.Exif()
        exif.load_from_fp(file)
        return kept_exif(exif)
    except BROKEN:
        return None


def fitted_xmp(xmp: bytes | None, size: tuple[int, int]) -> bytes | None:
    """The packet for an upright picture of a (width, height)."""
    if xmp is None:
        return None
    width, height = (b"%d" % length for length in size)
    changes = {
        rb"tiff:Orientation": b"1",
        rb"(?:tiff:ImageWidth|exif:PixelXDimension)": width,
        rb"(?:tiff:ImageLength|exif:PixelYDimension)": height,
    }
    # No pattern may begin with a run of unknown length, or go on over one: packets are padded with spaces.
    for name, value in changes.items():
        xmp = re.sub(rb"(\b%s\s{0,9}=\s{0,9}([\"']))\d{0,9}(\2)" % name, rb"\g<1>%s\g<3>" % value, xmp)
        xmp = re.sub(rb"(<%s>\s{0,9})\d{0,9}(\s{0,9}</)" % name, rb"\g<1>%s\g<2>" % value, xmp)
    for name in GONE_ATTRIBUTES:
        xmp = re.sub(rb"\s%s\s{0,9}=\s{0,9}([\"'])[\w.-]{0,64}\1" % name, b"", xmp)
    for name in GONE_ELEMENTS:
        xmp = _without(xmp, b"<" + name, b"</" + name + b">")
    return xmp


def _without(text: bytes, start: bytes, end: bytes) -> bytes:
    """The text without what stands from `start` to `end`, each time."""
    kept, place = [], 0
    while (first := text.find(start, place)) >= 0 and (last := text.find(end, first)) >= 0:
        kept.append(text[place:first])
        place = last + len(end)
    return b"".join([*kept, text[place:]])


def _fitted(block: bytes, size: tuple[int, int]) -> bytes:
    """The same block with a few values overwritten, and without the thumbnail."""
    data = bytearray(block)
    tiff = Tiff(io.BytesIO(block))
    first = tiff.directory(tiff.first)
    blocks = [first, *(tiff.directory(tiff.integer(first.entries[tag])) for tag in SUB_BLOCKS & first.entries.keys())]
    for directory in blocks:
        for entry in directory:
            if entry.tag == ORIENTATION and directory is first:
                _overwrite(data, tiff.order, entry, 1)
            elif entry.tag in WIDTHS | HEIGHTS:
                _overwrite(data, tiff.order, entry, size[0] if entry.tag in WIDTHS else size[1])
    if not first.following:
        return bytes(data)
    struct.pack_into(f"{tiff.order}I", data, first.link, 0)
    used = [span for directory in blocks for span in _spans(directory)]
    old = _thumbnail(tiff, first.following)
    if any(start < end_used and start_used < end for start, end in old for start_used, end_used in used):
        raise ValueError("the thumbnail shares bytes with other values")
    for start, end in old:
        data[start:end] = bytes(len(data[start:end]))
    for start, end in sorted(old, reverse=True):
        if end >= len(data) > start:
            del data[start:]
    return bytes(data)


def _overwrite(data: bytearray, order: str, entry: Entry, value: int) -> None:
    """Put one whole number into an entry, as 16 bits where that was its type and it still fits."""
    short = entry.kind == 3 and value < 1 << 16
    struct.pack_into(f"{order}HI", data, entry.place + 2, 3 if short else 4, 1)
    struct.pack_into(
        f"{order}HH" if short else f"{order}I", data, entry.place + 8, *((value, 0) if short else (value,))
    )


def _spans(directory: Directory) -> list[tuple[int, int]]:
    """Bytes that a directory takes up, itself and its values."""
    values = [(entry.start, entry.start + entry.length) for entry in directory]
    return [(directory.place, directory.link + 4), *values]


def _thumbnail(tiff: Tiff, place: int) -> list[tuple[int, int]]:
    """Bytes of the directory of the thumbnail, its values and its picture."""
    directory = tiff.directory(place)
    spans = _spans(directory)
    for where, length in ((THUMBNAIL, THUMBNAIL_LENGTH), (STRIPS, STRIP_LENGTHS)):
        starts, lengths = (tiff.integers(directory.entries.get(tag), 4096) for tag in (where, length))
        spans += [(start, start + count) for start, count in zip(starts, lengths, strict=False)]
    return spans


def _written_anew(exif: bytes) -> bytes | None:
    """Pillow's reading of the block, written by Pillow; broken metadata is no reason to refuse a good picture."""
    try:
        found = Image.Exif()
        found.load(exif)
        return kept_exif(found)
    except BROKEN:
        return None


def kept_exif(exif: Image.Exif) -> bytes | None:
    """What Pillow read of the photo itself, without how it was stored, as an EXIF block."""
    kept = Image.Exif()
    for tag in exif.keys() - STORAGE_TAGS - SUB_BLOCKS:
        kept[tag] = exif[tag]
    for tag in exif.keys() & SUB_BLOCKS:
        kept[tag] = dict(exif.get_ifd(tag))
    if ORIENTATION in exif:
        kept[ORIENTATION] = 1
    return kept.tobytes() if kept else None
