"""Reading photos: what arrives, and what each bad input says."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms

from dimrt.errors import InputError
from dimrt.photo.limits import Limits
from dimrt.photo.read import photo_size, read_photo

STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera that writes an orientation stores an upright picture."""
RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **settings)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, data) for kind, data in chunks)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "PPM"])
def test_lossless_formats_arrive_exactly(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "photo"
    path.write_bytes(encoded(Image.fromarray(RGB), kind, **({"lossless": True} if kind == "WEBP" else {})))
    photo = read_photo(path)
    np.testing.assert_array_equal(photo.pixels, RGB)
    assert photo.path == path
    assert photo.size == (30, 20)
    assert photo.alpha is None and photo.icc is None and photo.exif is None and photo.notes == ()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "RGBa", "CMYK", "YCbCr"])
def test_modes_agree_with_a_plain_conversion(mode: str) -> None:
    image = Image.fromarray(RGB).convert(mode) if mode != "RGBa" else Image.fromarray(RGB).convert("RGBA").convert(mode)
    photo = read_photo(image)
    plain = image.convert("RGBA") if mode == "RGBa" else image
    np.testing.assert_array_equal(photo.pixels, np.asarray(plain.convert("RGB")))
    assert (photo.alpha is not None) == (mode in {"LA", "PA", "RGBA", "RGBa"})


def test_alpha_is_kept_apart_and_colours_under_it_stay() -> None:
    alpha = np.arange(600, dtype=np.uint8).reshape(20, 30)
    photo = read_photo(encoded(Image.fromarray(np.dstack([RGB, alpha])), "PNG"))
    np.testing.assert_array_equal(photo.pixels, RGB)
    np.testing.assert_array_equal(photo.alpha, alpha)


def test_a_transparent_palette_entry_becomes_alpha() -> None:
    image = Image.fromarray(RGB).quantize(8)
    photo = read_photo(encoded(image, "PNG", transparency=3))
    np.testing.assert_array_equal(photo.alpha == 0, np.asarray(image) == 3)


def test_gray_transparency() -> None:
    gray = Image.fromarray(RGB[:, :, 0])
    photo = read_photo(encoded(gray, "PNG", transparency=int(RGB[0, 0, 0])))
    assert photo.alpha is not None and photo.alpha[0, 0] == 0
    np.testing.assert_array_equal(photo.pixels[:, :, 1], RGB[:, :, 0])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_orientation_is_applied_once(orientation: int, kind: str) -> None:
    """A file that was stored turned comes out upright, and its EXIF block says so."""
    image = Image.fromarray(RGB)
    stored = image.transpose(STORED[orientation]) if orientation in STORED else image
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "maker"
    photo = read_photo(encoded(stored, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {})))
    np.testing.assert_array_equal(photo.pixels, RGB)
    kept = Image.Exif()
    kept.load(photo.exif)
    assert kept[ExifTags.Base.Orientation] == 1
    assert kept[ExifTags.Base.Make] == "maker"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_broken_exif_doesnt_refuse_the_photo() -> None:
    photo = read_photo(encoded(Image.fromarray(RGB), "PNG", exif=b"Exif\0\0MM\0*\0\0\xff\xff"))
    np.testing.assert_array_equal(photo.pixels, RGB)


def test_profiles() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert read_photo(encoded(Image.fromarray(RGB), "PNG", icc_profile=profile)).icc == profile
    gray = read_photo(encoded(Image.fromarray(RGB[:, :, 0]), "PNG", icc_profile=b"\0" * 16 + b"GRAY" + b"\0" * 108))
    assert gray.icc is None
    assert gray.notes and "unusable profile" in gray.notes[0]


def test_arrays_and_images() -> None:
    np.testing.assert_array_equal(read_photo(RGB).pixels, RGB)
    np.testing.assert_array_equal(read_photo(RGB[:, :, 0]).pixels, np.repeat(RGB[:, :, :1], 3, 2))
    np.testing.assert_array_equal(read_photo(np.dstack([RGB, RGB[:, :, 0]])).alpha, RGB[:, :, 0])
    np.testing.assert_array_equal(read_photo(Image.fromarray(RGB)).pixels, RGB)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32.*uint8"),
        (np.zeros((4, 4, 2), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
    ],
)
def test_bad_arrays(array: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_photo(array)


def test_not_a_photo(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.jpg: no such file"):
        read_photo(tmp_path / "nothing.jpg")
    with pytest.raises(InputError, match="is a folder"):
        read_photo(tmp_path)
    with pytest.raises(InputError, match="empty"):
        read_photo(b"")
    with pytest.raises(InputError, match="not an image that dimrt reads"):
        read_photo(b"hello, world" * 10)
    with pytest.raises(InputError, match="not an image that dimrt reads"):
        read_photo(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_truncated(tmp_path: Path, kind: str) -> None:
    content = encoded(Image.fromarray(RGB), kind)
    path = tmp_path / "cut"
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(InputError, match=r"cut.*(truncated or damaged|its beginning is damaged)"):
        read_photo(path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF"]), st.data())
def test_damaged_bytes_read_or_say_so(kind: str, data: st.DataObject) -> None:
    content = bytearray(encoded(Image.fromarray(RGB), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        photo = read_photo(bytes(content[: data.draw(st.integers(1, len(content)))]))
    except InputError:
        return
    assert photo.pixels.dtype == np.uint8 and photo.pixels.ndim == 3


@pytest.mark.parametrize("side", [20_000, 60_000])
def test_a_bomb_is_refused_by_its_header(side: int) -> None:
    with pytest.raises(InputError, match="limit of 150,000,000"):
        read_photo(png(side, side, 8, 2, b""))


def test_a_file_over_the_byte_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "big.png"
    path.write_bytes(encoded(Image.fromarray(RGB), "PNG"))
    monkeypatch.setattr(Path, "open", lambda *arguments: pytest.fail("opened in spite of the limit"))
    with pytest.raises(InputError, match=r"big\.png has .* limit of 100"):
        read_photo(path, Limits(bytes=100))


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_other_pixel_formats_are_named(mode: str) -> None:
    with pytest.raises(InputError, match=r"whole bits a channel|pixel format"):
        read_photo(Image.new(mode, (4, 4)))


def test_several_frames_are_noted() -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    photo = read_photo(encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]))
    assert "first is used" in photo.notes[0]
    np.testing.assert_array_equal(photo.pixels, RGB)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_size_from_the_header_is_that_of_the_upright_photo(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / "photo"
    path.write_bytes(encoded(Image.fromarray(RGB), kind, **({} if kind == "BMP" else {"exif": exif})))
    assert photo_size(path) == read_photo(path).size


def test_the_size_needs_no_more_than_the_header(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(Image.fromarray(RGB), "PNG")[:200])
    assert photo_size(path) == (30, 20)
    with pytest.raises(InputError, match="damaged"):
        read_photo(path)


@pytest.mark.parametrize("content", [b"", b"no picture", png(20000, 20000, 8, 2, b"")])
def test_headers_that_tell_of_no_usable_photo_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"photo\.png"):
        photo_size(path)
    with pytest.raises(InputError, match="is a folder"):
        photo_size(tmp_path)
