"""Bombs and oversized files are refused by their headers, before a decoder gets them; damage is said."""

import functools
import io
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_files import P3_XMP, an_exif, bundled_profile, encoded, picture, vips_image
from PIL import Image

from dimrt.errors import InputError
from dimrt.photo.limits import LIMITS, Limits
from dimrt.photo.photo import Photo
from dimrt.photo.read import photo_size, read_photo
from dimrt.photo.write import encode_photo

SIDE = 100_000


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8) -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    row = b"\0" * (1 + 3 * width * depth // 8)
    rows = png_chunk(b"IDAT", zlib.compress(row * height if width * height < 1e6 else b""))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + rows + png_chunk(b"IEND", b"")


def tiff(width: int, height: int, bits: int = 8) -> bytes:
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 4, height), (279, 4, 4)]
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 12) + b"\0\0\0\0" + struct.pack("<H", len(tags)) + table + bytes(4)


def webp(width: int, height: int, flags: int = 0, body: bytes = b"") -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + size
    return b"RIFF" + struct.pack("<I", 4 + len(chunk) + len(body)) + b"WEBP" + chunk + body


def jpeg(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xda" + bytes(10)


def with_size(kind: str, width: int, height: int) -> bytes:
    """A real AVIF or HEIC file whose header claims another size."""
    data = encode_photo(kind, picture(64, 64))[0]
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", width, height) + data[place + 8 :]


BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: png(SIDE, SIDE),
    "deep PNG": lambda: png(SIDE, SIDE, depth=16),
    "TIFF": lambda: tiff(SIDE, SIDE),
    "deep TIFF": lambda: tiff(SIDE, SIDE, 16),
    "WebP": lambda: webp(SIDE, SIDE),
    "animated WebP": lambda: webp(SIDE, SIDE, 2, b"ANIM" + struct.pack("<I", 6) + bytes(6)),
    "JPEG": lambda: jpeg(65_000, 65_000),
    "AVIF": lambda: with_size("AVIF", SIDE, SIDE),
    "HEIC": lambda: with_size("HEIF", SIDE, SIDE),
    "GIF": lambda: b"GIF89a" + struct.pack("<HHBBB", 65_000, 65_000, 0, 0, 0) + b"\x2c" + bytes(9) + b"\x02\0\x3b",
    "JPEG 2000": lambda: b"\xff\x4f\xff\x51" + struct.pack(">HHIIII", 47, 0, SIDE, SIDE, 0, 0) + bytes(40),
    "BMP": lambda: (
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 60, 0, 54, 40, SIDE, SIDE, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(9)
    ),
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_by_its_header(make: Callable[[], bytes]) -> None:
    data = make()
    for look in (read_photo, photo_size):
        tracemalloc.start()
        try:
            with pytest.raises(InputError, match=r"more than the limit of 150,000,000|more pixels than"):
                look(data)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 20_000_000


@functools.lru_cache
def packed_nothing() -> bytes:
    """200 MB of zeros, packed into less than one."""
    worker = zlib.compressobj(1)
    return b"".join(worker.compress(bytes(1 << 20)) for _ in range(200)) + worker.flush()


METADATA_BOMBS = {
    "profile": lambda: png_chunk(b"iCCP", b"x\0\0" + packed_nothing()),
    "XMP": lambda: png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed_nothing()),
    "EXIF": lambda: png_chunk(b"eXIf", bytes(65 << 20)),
    "text": lambda: png_chunk(b"tEXt", b"x\0" + bytes(65 << 20)),
}


@pytest.mark.parametrize("make", METADATA_BOMBS.values(), ids=METADATA_BOMBS)
def test_metadata_bombs_of_a_png(make: Callable[[], bytes]) -> None:
    data = png(4, 4, make())
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="bytes of metadata, which is the limit"):
            read_photo(data)
        assert tracemalloc.get_traced_memory()[1] < 145_000_000 + len(data)
    finally:
        tracemalloc.stop()


def test_packed_text_that_nobody_reads_is_not_unpacked() -> None:
    data = png(4, 4, png_chunk(b"zTXt", b"Comment\0\0" + packed_nothing()))
    tracemalloc.start()
    try:
        assert read_photo(data).size == (4, 4)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_endless_segments_of_a_jpeg() -> None:
    good = encoded(Image.fromarray(picture()), "JPEG")
    segment = b"\xff\xe5\xff\xff" + bytes(65_533)
    with pytest.raises(InputError, match="metadata"):
        read_photo(good[:2] + segment * 1025 + good[2:])
    assert read_photo(good[:2] + segment * 9 + good[2:]).size == (48, 36)
    scan = good.index(b"\xff\xda")
    with pytest.raises(InputError, match="metadata"):
        read_photo(good[:scan] + segment * 1025 + good[scan:])


def test_a_tile_larger_than_any_photo() -> None:
    for bits in (8, 16):
        data = tiff(64, 64, bits)
        table = data[14 : 14 + 9 * 12]
        tiles = b"".join(struct.pack("<HHII", tag, 4, 1, SIDE) for tag in (322, 323))
        with pytest.raises(InputError, match="a tile of the given bytes has 100,000 x 100,000 pixels"):
            read_photo(data[:12] + struct.pack("<H", 11) + table + tiles + bytes(4))


def test_endless_tags_of_a_tiff() -> None:
    data = bytearray(tiff(4, 4))
    data[8 + 4 + 2 + 6 * 12 :][:12] = b""
    huge = struct.pack("<HHII", 700, 1, 0x7FFFFFFF, 8)
    table = bytes(data[14 : 14 + 9 * 12])
    bomb = bytes(data[:12]) + struct.pack("<H", 10) + table + huge + bytes(4)
    with pytest.raises(InputError, match="metadata"):
        read_photo(bomb)
    with pytest.raises(InputError, match="a directory with 65,535 entries"):
        read_photo(bytes(data[:12]) + b"\xff\xff" + table * 99)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "AVIF", "HEIF", "PNG"])
def test_metadata_has_a_limit_in_every_format(kind: str) -> None:
    photo = Photo(picture(), icc=bundled_profile("p3"), exif=an_exif(), xmp=P3_XMP + b" " * 30_000)
    data = encode_photo(kind, photo.pixels, photo)[0]
    assert read_photo(data).xmp is not None
    with pytest.raises(InputError, match=r"20,000 bytes of metadata"):
        read_photo(data, Limits(metadata=20_000))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "AVIF", "HEIF", "PNG"])
def test_limits_are_arguments(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "photo"
    path.write_bytes(encode_photo(kind, picture(64, 64))[0])
    assert read_photo(path, Limits(pixels=64 * 64)).size == (64, 64)
    for look in (read_photo, photo_size):
        with pytest.raises(InputError, match=r"photo has 64 x 64 pixels, more than the limit of 4,095"):
            look(path, Limits(pixels=64 * 64 - 1))
        with pytest.raises(InputError, match=r"more than the limit of 100"):
            look(path, Limits(bytes=100))
    with pytest.raises(InputError, match="limit of 100"):
        read_photo(path.read_bytes(), Limits(bytes=100))
    assert Limits() == LIMITS


def test_a_large_profile_in_a_png_is_read() -> None:
    """Pillow alone refuses more than a megabyte."""
    icc = bundled_profile("p3") + random.Random(0).randbytes(2 << 20)
    assert read_photo(encode_photo("PNG", picture(), Photo(picture(), icc=icc))[0]).icc == icc


def test_a_broken_profile_in_a_png_costs_the_profile_only() -> None:
    photo = read_photo(png(5, 4, png_chunk(b"iCCP", b"x\0\0not zlib")))
    assert photo.size == (5, 4) and photo.icc is None


def test_an_animated_png_gives_its_first_picture() -> None:
    frames = [Image.fromarray(picture()), Image.fromarray(255 - picture())]
    photo = read_photo(encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]))
    assert "first is used" in photo.notes[0]
    np.testing.assert_array_equal(photo.pixels, picture())


def good_files() -> dict[str, bytes]:
    photo = Photo(picture(), icc=bundled_profile("p3"), exif=an_exif(6), xmp=P3_XMP)
    deep = picture(dtype=np.uint16)
    files = {kind: encode_photo(kind, picture(), photo)[0] for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF")}
    files |= {f"deep {kind}": encode_photo(kind, deep, photo)[0] for kind in ("PNG", "TIFF", "AVIF", "HEIF")}
    files["packed deep TIFF"] = bytes(vips_image(deep).tiffsave_buffer(compression="deflate"))
    return files


FILES = good_files()


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
def test_truncated_files_say_so(kind: str, share: float) -> None:
    data = FILES[kind]
    with pytest.raises(InputError, match="damaged"):
        read_photo(data[: int(len(data) * share)])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=250, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_damaged_files_read_or_say_so(kind: str, data: st.DataObject) -> None:
    content = bytearray(FILES[kind])
    early = data.draw(st.booleans())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, min(len(content), 700 if early else len(content)) - 1))] = data.draw(
            st.integers(0, 255)
        )
    try:
        photo = read_photo(bytes(content), Limits(pixels=1_000_000))
    except InputError:
        return
    assert photo.pixels.dtype in (np.uint8, np.uint16) and photo.pixels.ndim == 3
    encode_photo("PNG", photo.pixels, photo)


def test_nothing_but_the_header_is_read_for_the_size() -> None:
    class Counting(io.BytesIO):
        taken = 0

        def read(self, count: int | None = -1) -> bytes:  # type: ignore[override]
            data = super().read(count)
            Counting.taken += len(data)
            return data

    from dimrt.photo.header import look

    noise = np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    for kind in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF"):
        data = encode_photo(kind, noise)[0]
        Counting.taken = 0
        assert look(Counting(data), "x", LIMITS).size == (150, 150)
        assert Counting.taken < 5_000 < len(data)
