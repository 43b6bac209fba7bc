"""Metadata: kept byte for byte, but for what would be untrue of the upright result."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_files import P3_XMP, an_exif, bundled_profile, encoded, picture, read_exif, vips_image
from PIL import ExifTags, Image

from dimrt.photo.metadata import PREFIX, fitted_exif, fitted_xmp, normal_exif, orientation
from dimrt.photo.photo import Photo
from dimrt.photo.read import read_photo
from dimrt.photo.write import encode_photo

SIZE = (48, 36)
KINDS = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"]
THUMBNAIL = encoded(Image.fromarray(picture(16, 12)), "JPEG")


def camera_exif(order: str = ">", orientation: int = 6, note: bytes = b"private words of a maker") -> bytes:
    """An EXIF block as a camera writes it: a maker note that mustn't move, and a thumbnail at the end."""

    def entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
        return struct.pack(f"{order}HHI", tag, kind, count) + value.ljust(4, b"\0")

    def number(value: int, short: bool = False) -> bytes:
        return struct.pack(f"{order}H" if short else f"{order}I", value)

    exif_at, thumb_at = 8 + 2 + 3 * 12 + 4, 200
    first = [entry(0x112, 3, 1, number(orientation, True)), entry(0x8769, 4, 1, number(exif_at))]
    first.insert(0, entry(0x10F, 2, 4, b"cam\0"))
    note_at = exif_at + 2 + 4 * 12 + 4
    inner = [
        entry(0x9003, 2, 4, b"now\0"),
        entry(0x927C, 7, len(note), number(note_at)),
        entry(0xA002, 3, 1, number(36, True)),
        entry(0xA003, 4, 1, number(48)),
    ]
    picture_at = thumb_at + 2 + 2 * 12 + 4
    thumb = [entry(513, 4, 1, number(picture_at)), entry(514, 4, 1, number(len(THUMBNAIL)))]
    marks = {">": b"MM\0*", "<": b"II*\0"}
    block = marks[order] + number(8) + number(3, True) + b"".join(first) + number(thumb_at)
    block += number(4, True) + b"".join(inner) + number(0) + note
    block = block.ljust(thumb_at, b"\0") + number(2, True) + b"".join(thumb) + number(0) + THUMBNAIL
    return PREFIX + block


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_exif_block_is_altered_in_place(order: str) -> None:
    before = camera_exif(order)
    after = fitted_exif(before, SIZE)
    assert after is not None and orientation(after) == 1 and orientation(before) == 6
    exif = read_exif(after)
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    assert (inner[40962], inner[40963]) == SIZE
    assert inner[0x927C] == b"private words of a maker" and after.index(b"private") == before.index(b"private")
    different = [place for place, (one, other) in enumerate(zip(before, after, strict=False)) if one != other]
    assert len(different) <= 2 + 1 + 1 + 2  # orientation, two sizes, and the pointer to the thumbnail
    assert fitted_exif(after, SIZE) == after


@pytest.mark.parametrize("tail", [b"", b"more of the block behind it"])
def test_nothing_is_left_of_the_old_thumbnail(tail: bytes) -> None:
    before = camera_exif() + tail
    after = fitted_exif(before, SIZE)
    assert after is not None and THUMBNAIL in before and THUMBNAIL not in after and THUMBNAIL[20:60] not in after
    assert read_exif(after).get_ifd(ExifTags.IFD.IFD1) == {}
    assert after.endswith(tail) and (len(after) == len(before) if tail else len(after) <= 6 + 200)


def test_sizes_over_16_bits_get_32() -> None:
    after = fitted_exif(camera_exif(), (70_000, 20))
    assert read_exif(after).get_ifd(ExifTags.IFD.Exif)[40962] == 70_000


def test_a_thumbnail_that_shares_bytes_costs_no_other_value() -> None:
    """Its picture claims to begin inside the maker note: the block is written anew."""
    before = camera_exif().replace(struct.pack(">HHII", 513, 4, 1, 228), struct.pack(">HHII", 513, 4, 1, 110))
    exif = read_exif(fitted_exif(before, SIZE))
    assert exif[271] == "cam" and exif[274] == 1
    assert exif.get_ifd(ExifTags.IFD.Exif)[0x927C] == b"private words of a maker"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(6, 240), st.integers(0, 255)), max_size=5), st.integers(0, 400))
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_damaged_block_is_kept_or_left_out(damage: list[tuple[int, int]], length: int) -> None:
    block = bytearray(camera_exif())
    for place, value in damage:
        block[place] = value
    after = fitted_exif(normal_exif(bytes(block[: len(block) - length])), SIZE)
    assert after is None or (after.startswith(PREFIX) and 1 <= orientation(after) <= 8)


def test_blocks_come_with_and_without_their_prefix() -> None:
    bare = an_exif()[len(PREFIX) :]
    assert normal_exif(bare) == normal_exif(PREFIX + bare) == normal_exif(PREFIX + PREFIX + bare) == PREFIX + bare
    assert normal_exif(b"") is normal_exif(None) is normal_exif(b"nothing of that kind") is None


def test_xmp_says_what_is_true_of_the_upright_photo() -> None:
    after = fitted_xmp(P3_XMP, SIZE)
    assert after is not None
    assert b'tiff:Orientation="1"' in after and b'exif:PixelXDimension="48"' in after
    assert b"<exif:PixelYDimension>36</exif:PixelYDimension>" in after and b"<tiff:ImageWidth>48<" in after
    assert b"T0xE" not in after and "Möwe".encode() in after and b'xmp:Rating="4"' in after
    assert fitted_xmp(after, SIZE) == after
    plain = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="tiff and exif"/>'
    assert fitted_xmp(plain, SIZE) == plain and fitted_xmp(None, SIZE) is None


def test_xmp_tells_of_no_parts_that_are_gone() -> None:
    packet = (
        b'<rdf:Description GCamera:MotionPhoto="1" GCamera:MotionPhotoPresentationTimestampUs="-1" hdrgm:Version="1.0"'
        b' xmp:Rating="5" xmpNote:HasExtendedXMP="0123456789ABCDEF"><Container:Directory><rdf:Seq><rdf:li/></rdf:Seq>'
        b"</Container:Directory></rdf:Description>"
    )
    assert fitted_xmp(packet, SIZE) == b'<rdf:Description xmp:Rating="5"></rdf:Description>'
    photo = read_photo(encoded(Image.fromarray(picture()), "JPEG", xmp=packet))
    assert any("XMP goes on" in note for note in photo.notes)


@pytest.mark.parametrize(
    "filler",
    [b" ", b" xmpNote:HasExtendedXMP=", b"<xmp:Thumbnails>", b"<tiff:Orientation>", b"tiff:Orientation =", b"\n9"],
)
def test_xmp_of_any_kind_takes_no_time(filler: bytes) -> None:
    """A megabyte of what a careless pattern would go over again and again."""
    packet = filler * (1_000_000 // len(filler))
    assert len(fitted_xmp(packet, SIZE) or b"") >= len(packet) - len(filler)


@pytest.mark.parametrize("kind", KINDS)
def test_profile_exif_and_xmp_go_round(kind: str) -> None:
    """Twice through the file: everything is there, the profile byte for byte, and nothing changes any more."""
    pixels = picture(*SIZE)
    source = Photo(pixels, icc=bundled_profile("p3"), exif=fitted_exif(camera_exif(), SIZE), xmp=P3_XMP)
    first = read_photo(encode_photo(kind, pixels, source)[0])
    assert first.icc == source.icc and first.xmp == fitted_xmp(P3_XMP, SIZE)
    exif = read_exif(first.exif)
    assert exif[271] == "cam" and exif.get(274, 1) == 1
    assert exif.get_ifd(ExifTags.IFD.Exif)[0x927C] == b"private words of a maker"
    if kind in {"JPEG", "PNG", "WEBP", "HEIF"}:
        assert first.exif == source.exif
    again = read_photo(encode_photo(kind, first.pixels, first)[0])
    assert (again.icc, again.exif, again.xmp) == (first.icc, first.exif, first.xmp)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_metadata_of_deep_files(kind: str) -> None:
    pixels = picture(*SIZE, np.uint16)
    source = Photo(pixels, icc=bundled_profile("p3"), exif=an_exif(1, SIZE), xmp=P3_XMP)
    found = read_photo(encode_photo(kind, pixels, source)[0])
    assert found.depth == 16 and found.icc == source.icc and found.xmp == fitted_xmp(P3_XMP, SIZE)
    exif = read_exif(found.exif)
    assert exif[271] == "maker" and exif.get_ifd(ExifTags.IFD.GPSInfo)[1] == "N"
    assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2024:05:06 07:08:09"


def test_metadata_that_others_wrote(tmp_path: Path) -> None:
    """Files of Pillow and libvips, not only our own."""
    icc = bundled_profile("p3")
    jpeg = read_photo(encoded(Image.fromarray(picture()), "JPEG", exif=an_exif(), icc_profile=icc, xmp=P3_XMP))
    webp = read_photo(encoded(Image.fromarray(picture()), "WEBP", exif=an_exif(), icc_profile=icc, xmp=P3_XMP))
    image = vips_image(picture(dtype=np.uint16)).icc_transform("p3", input_profile="srgb", depth=16)
    image.tiffsave(str(tmp_path / "x.tif"))
    tiff = read_photo(tmp_path / "x.tif")
    assert jpeg.icc == webp.icc == icc and tiff.icc == icc and tiff.depth == 16
    assert jpeg.xmp == webp.xmp == fitted_xmp(P3_XMP, SIZE)
    assert read_exif(jpeg.exif)[271] == read_exif(webp.exif)[271] == "maker"


def test_exif_behind_the_pixels_of_a_png() -> None:
    plain = encoded(Image.fromarray(picture(*SIZE)), "PNG")
    with_exif = encoded(Image.fromarray(picture(*SIZE)), "PNG", exif=an_exif(6))
    start = with_exif.index(b"eXIf") - 4
    chunk = with_exif[start : start + 12 + struct.unpack(">I", with_exif[start : start + 4])[0]]
    moved = plain[:-12] + chunk + plain[-12:]
    assert moved.index(b"eXIf") > moved.index(b"IDAT")
    found = read_photo(moved)
    assert found.size == (36, 48) and orientation(found.exif) == 1


def test_the_result_of_another_size_says_its_own() -> None:
    pixels = picture(20, 10)
    source = Photo(picture(*SIZE), exif=an_exif(1, SIZE), xmp=P3_XMP)
    found = Image.open(io.BytesIO(encode_photo("JPEG", pixels, source)[0]))
    inner = found.getexif().get_ifd(ExifTags.IFD.Exif)
    assert (inner[40962], inner[40963]) == (20, 10)
    assert b'exif:PixelXDimension="20"' in found.info["xmp"]


def test_what_jpeg_cannot_hold_is_said() -> None:
    source = Photo(picture(), xmp=P3_XMP + bytes(70_000))
    data, notes = encode_photo("JPEG", source.pixels, source)
    assert len(notes) == 1 and "XMP left out" in notes[0] and "65,504" in notes[0]
    assert read_photo(data).xmp is None
    assert encode_photo("PNG", source.pixels, source)[1] == []
