"""TIFF files, uncompressed, of 8 or 16 bits, with EXIF, XMP and profile; rows go straight from the array to the file.

The directory is Pillow's; it can't write 16-bit RGB pixels, nor any without a copy of them.
"""

from typing import Any, BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin

from dimrt.photo.metadata import STORAGE_TAGS, SUB_BLOCKS
from dimrt.photo.native import Form
from dimrt.photo.photo import Samples

STRIP = 1 << 18
"""Bytes of pixels in a strip, about."""
COLOURS = {"gray": 1, "rgb": 2, "palette": 3, "cmyk": 5}
"""Photometric interpretation."""
BYTE, SHORT, LONG, UNDEFINED = 1, 3, 4, 7
UNASSOCIATED = 2
"""Alpha that the colours weren't multiplied by."""


def write_tiff(file: BinaryIO, form: Form, exif: bytes | None, xmp: bytes | None) -> None:
    """Write the whole file.

    Args:
        file: at its start.
        form: what to write.
        exif: EXIF block with its prefix, or None.
        xmp: XMP packet, or None.
    """
    height, width = form.samples.shape[:2]
    channels = form.samples.shape[2] if form.samples.ndim == 3 else 1
    count = channels + (form.alpha is not None)
    row = width * count * form.samples.itemsize
    rows = max(1, min(STRIP // row, height))
    starts = range(0, height, rows)
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    _describe(directory, exif)
    numbers: dict[int, tuple[int, Any]] = {
        256: (LONG, width),
        257: (LONG, height),
        258: (SHORT, (8 * form.samples.itemsize,) * count),
        259: (SHORT, 1),
        262: (SHORT, COLOURS[form.kind]),
        273: (LONG, tuple(start * row for start in starts)),
        277: (SHORT, count),
        278: (LONG, rows),
        279: (LONG, tuple((min(start + rows, height) - start) * row for start in starts)),
        284: (SHORT, 1),
    }
    if form.alpha is not None:
        numbers[338] = SHORT, UNASSOCIATED
    if form.palette is not None:
        numbers[320] = SHORT, _colour_map(form.palette)
    if form.icc is not None:
        numbers[34675] = UNDEFINED, form.icc
    if xmp is not None:
        numbers[700] = BYTE, xmp
    for tag, (kind, value) in numbers.items():
        directory.tagtype[tag] = kind
        directory[tag] = value
    directory.save(file)
    for start in starts:
        file.write(_rows(form, start, start + rows))


def _rows(form: Form, start: int, end: int) -> Any:
    """Bytes of some rows, low byte first as the directory's."""
    part: Samples = form.samples[start:end]
    if form.alpha is not None:
        part = np.dstack([part, form.alpha[start:end]])
    return np.ascontiguousarray(part, part.dtype.newbyteorder("<")).data


def _describe(directory: TiffImagePlugin.ImageFileDirectory_v2, exif: bytes | None) -> None:
    """What EXIF says of the photo, as tags of the file."""
    if exif is None:
        return
    block = Image.Exif()
    block.load(exif)
    for tag in block.keys() - STORAGE_TAGS - SUB_BLOCKS:
        directory[tag] = block[tag]
    for tag in block.keys() & SUB_BLOCKS:
        directory[tag] = block.get_ifd(tag)


def _colour_map(palette: Samples) -> tuple[int, ...]:
    """All reds, greens and blues of 256 entries, in 16 bits."""
    full = np.zeros((256, 3), np.uint16)
    full[: len(palette)] = palette[:, :3]
    return tuple(int(value) for value in (full * 257).T.ravel())
