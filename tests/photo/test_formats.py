"""Round trips over formats, kinds of pixels and depths: what is lossless comes back exactly, all else nearly."""

import io
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_files import an_exif, bundled_profile, encoded, picture, read_exif, vips_image
from PIL import Image

from dimrt.errors import InputError, ResourceError
from dimrt.photo.deep import squeezed, stretched
from dimrt.photo.photo import Photo
from dimrt.photo.read import photo_size, read_photo
from dimrt.photo.write import FORMATS, encode_photo, write_photo

LOSSLESS = ("PNG", "TIFF")
samples = st.tuples(st.integers(1, 24), st.integers(1, 24), st.sampled_from([3, 4]))


@settings(max_examples=80, deadline=None)
@given(st.data(), st.sampled_from(LOSSLESS), st.sampled_from([np.uint8, np.uint16]))
def test_lossless_formats_give_every_sample_back(data: st.DataObject, kind: str, dtype: type) -> None:
    pixels = data.draw(arrays(dtype, samples))
    encoded_bytes, notes = encode_photo(kind, pixels)
    photo = read_photo(encoded_bytes)
    assert notes == [] and photo.pixels.dtype == dtype
    np.testing.assert_array_equal(photo.pixels, pixels[..., :3])
    if pixels.shape[2] == 4:
        np.testing.assert_array_equal(photo.alpha, pixels[..., 3])
    else:
        assert photo.alpha is None


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(LOSSLESS), st.sampled_from([np.uint8, np.uint16]), st.integers(0, 2**32 - 1))
def test_what_an_edit_leaves_alone_stays_through_ten_files(kind: str, dtype: type, seed: int) -> None:
    random = np.random.default_rng(seed)
    first = picture(20, 16, dtype)
    photo = Photo(first, icc=bundled_profile("p3"), exif=an_exif(1, (20, 16)))
    touched = np.zeros(first.shape[:2], bool)
    for _ in range(10):
        y, x = random.integers(0, 16), random.integers(0, 20)
        result = photo.pixels.copy()
        result[y, x] = random.integers(0, np.iinfo(dtype).max, 3)
        touched[y, x] = True
        photo = read_photo(encode_photo(kind, result, photo)[0])
    np.testing.assert_array_equal(photo.pixels[~touched], first[~touched])
    assert photo.icc == bundled_profile("p3")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("kind", "mean"), [("JPEG", 3.5), ("WEBP", 4.5), ("AVIF", 2.0), ("HEIF", 4.5)])
def test_lossy_formats_come_near(kind: str, mean: float, channels: int, dtype: type) -> None:
    pixels = picture(dtype=dtype, channels=channels)
    data, notes = encode_photo(kind, pixels)
    photo = read_photo(data)
    assert photo.depth == (16 if dtype == np.uint16 and kind in {"AVIF", "HEIF"} else 8)
    assert any("were rounded" in note for note in notes) == (dtype == np.uint16)
    wanted = pixels.astype(float) / np.iinfo(dtype).max
    if channels == 4 and kind == "JPEG":
        wanted = wanted[..., :3] * wanted[..., 3:] + 1 - wanted[..., 3:]
    found = photo.pixels / np.iinfo(photo.pixels.dtype).max
    assert np.abs(found - wanted[..., :3]).mean() * 255 < mean
    assert (photo.alpha is not None) == (channels == 4 and kind != "JPEG")
    if photo.alpha is not None:
        alpha = photo.alpha / np.iinfo(photo.alpha.dtype).max
        assert np.abs(alpha - wanted[..., 3]).mean() * 255 < mean


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_suffix_writes_its_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    assert write_photo(path, picture(40, 30)) == []
    assert read_photo(path).size == photo_size(path) == (40, 30)
    assert read_photo(path.read_bytes()).size == (40, 30)
    with path.open("rb") as file:
        head = file.read(12)
    starts = {"JPEG": b"\xff\xd8", "PNG": b"\x89PNG", "WEBP": b"RIFF", "TIFF": b"II*\0"}
    kind = FORMATS[suffix]
    assert head.startswith(starts[kind]) if kind in starts else head[4:12] in {b"ftypavif", b"ftypheic", b"ftypmif1"}


def test_other_kinds_and_qualities_are_refused() -> None:
    with pytest.raises(InputError, match="GIF is no picture format"):
        encode_photo("GIF", picture())
    with pytest.raises(InputError, match="quality 0"):
        encode_photo("PNG", picture(), quality=0)


def test_a_cut_is_a_view() -> None:
    alpha = picture()[..., 0]
    photo = Photo(picture(), alpha, bundled_profile("p3"), an_exif(), Path("x"), ("note",), b"xmp")
    part = photo.cut((10, 5, 30, 25))
    assert part.size == (20, 20) and part.icc == photo.icc and part.depth == 8
    assert np.shares_memory(part.pixels, photo.pixels) and np.shares_memory(part.alpha, alpha)
    np.testing.assert_array_equal(part.pixels, photo.pixels[5:25, 10:30])
    assert part.exif is part.xmp is part.path is part.native is None and part.notes == ()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["AVIF", "HEIF", "PNG16", "TIFF16"])
def test_orientation_is_applied_once(kind: str, orientation: int) -> None:
    """A bright corner of a stored picture is where the orientation says it is seen."""
    stored = np.zeros((32, 48, 3), np.uint16 if kind.endswith("16") else np.uint8)
    stored[:8, :12] = np.iinfo(stored.dtype).max
    photo = read_photo(turned_file(kind, stored, orientation))
    corner = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    assert photo.size == ((32, 48) if orientation > 4 else (48, 32))
    height, width = photo.pixels.shape[:2]
    bright = [[float(photo.pixels[y, x].mean()) for x in (2, width - 3)] for y in (2, height - 3)]
    assert np.argwhere(np.array(bright) > bright[corner[0]][corner[1]] / 2).tolist() == [list(corner)]
    assert photo.exif is None or read_exif(photo.exif).get(274, 1) == 1
    again = read_photo(encode_photo("PNG", photo.pixels, photo)[0])
    np.testing.assert_array_equal(again.pixels, photo.pixels)


def turned_file(kind: str, stored: np.ndarray, orientation: int) -> bytes:
    exif = an_exif(orientation)
    if kind == "AVIF":
        return encoded(Image.fromarray(stored), "AVIF", exif=exif, quality=90)
    if kind == "HEIF":
        buffer = io.BytesIO()
        pillow_heif.from_pillow(Image.fromarray(stored)).save(buffer, exif=exif)
        return buffer.getvalue()
    if kind == "TIFF16":
        image = vips_image(stored).copy()
        image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
        return bytes(image.tiffsave_buffer())
    plain = encode_photo("PNG", stored, Photo(stored[:1], exif=an_exif(1)))[0]
    return plain.replace(an_exif(1)[6:], exif[6:])


@pytest.mark.parametrize("bits", [10, 12])
def test_ten_and_twelve_bits_keep_their_values(bits: int) -> None:
    every = (np.arange(1 << bits, dtype=np.uint16) << (16 - bits))[None]
    wide = stretched(every, bits)
    assert wide[0, 0] == 0 and wide[0, -1] == 65535 and (np.diff(wide[0].astype(int)) > 0).all()
    np.testing.assert_array_equal(squeezed(wide, bits), every)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_deep_pictures_of_phones(kind: str) -> None:
    """10 bits come in as such, never as 8, and go out as such; white is white."""
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None, :, None].repeat(64, 0).repeat(3, 2)
    ramp[:, -8:] = 65535
    photo = read_photo(encode_photo(kind, ramp)[0])
    assert photo.depth == 16 and photo.native is not None and photo.native.bits == 10
    assert len(np.unique(photo.pixels[30, :, 1])) > 40 and photo.pixels[:, -2:].min() > 65000
    assert np.abs(photo.pixels.astype(int) - ramp).mean() < 400
    again = read_photo(encode_photo(kind, photo.pixels, photo)[0])
    assert again.native is not None and again.native.bits == 10
    assert np.abs(again.pixels.astype(int) - photo.pixels).mean() < 400


@pytest.mark.parametrize(
    ("package", "make", "suffix"),
    [
        ("pyvips", lambda: encode_photo("PNG", picture(dtype=np.uint16))[0], ".png"),
        ("pyvips", lambda: encode_photo("TIFF", picture(dtype=np.uint16))[0], None),
        ("pillow_heif", lambda: encode_photo("HEIF", picture())[0], ".heic"),
    ],
    ids=["deep PNG", "deep TIFF", "HEIC"],
)
def test_without_the_extra_nothing_is_cut_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, make: object, suffix: str | None
) -> None:
    data = make()  # type: ignore[operator]
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ResourceError, match=r'pip install "dimrt\[photo\]"'):
        read_photo(data)
    if suffix is not None:
        with pytest.raises(ResourceError, match=r'x\.\w+.*pip install "dimrt\[photo\]"'):
            write_photo(tmp_path / f"x{suffix}", picture(dtype=np.uint16))
        assert list(tmp_path.iterdir()) == []
    assert read_photo(encode_photo("PNG", picture())[0]).depth == 8


def test_deep_pixels_in_shallow_formats_are_rounded_with_a_note() -> None:
    pixels = picture(dtype=np.uint16)
    data, notes = encode_photo("JPEG", pixels, quality=100)
    assert notes == ["JPEG holds 8 bits a channel: the photo's 16 were rounded"]
    assert np.abs(read_photo(data).pixels - pixels / 257).max() < 6


DEEP = picture(dtype=np.uint16)
REFUSED = {
    "float": (lambda: vips_image(DEEP).cast("float").tiffsave_buffer(), "whole bits"),
    "32 bits": (lambda: vips_image(DEEP).cast("uint").tiffsave_buffer(), "whole bits"),
    "Lab": (lambda: vips_image(DEEP).colourspace("labs").tiffsave_buffer(), "whole bits"),
    "CMYK": (
        lambda: vips_image(np.dstack([DEEP, DEEP[..., 0]])).copy(interpretation="cmyk").tiffsave_buffer(),
        "neither",
    ),
    "PPM": (lambda: b"P6\n48 36\n65535\n" + DEEP.tobytes(), "dimrt reads from PNG and TIFF"),
    "JPEG 2000": (lambda: encoded(Image.fromarray(DEEP[..., 0]), "JPEG2000"), "dimrt reads from PNG and TIFF"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_could_not_go_back_unchanged_is_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_photo(bytes(make()))  # type: ignore[operator]


@pytest.mark.parametrize(
    "settings_", [{"compression": "deflate"}, {"compression": "lzw", "tile": True}, {"pyramid": True}]
)
def test_deep_tiffs_of_other_programs(settings_: dict[str, object]) -> None:
    pixels = picture(150, 140, np.uint16)
    found = read_photo(bytes(vips_image(pixels).tiffsave_buffer(**settings_)))
    np.testing.assert_array_equal(found.pixels, pixels)


def test_deep_pngs_of_other_programs() -> None:
    pixels = picture(150, 140, np.uint16, 4)
    found = read_photo(bytes(vips_image(pixels).pngsave_buffer(bitdepth=16, interlace=True)))
    np.testing.assert_array_equal(found.pixels, pixels[..., :3])
    np.testing.assert_array_equal(found.alpha, pixels[..., 3])
    gray = read_photo(bytes(vips_image(pixels[..., 0]).pngsave_buffer(bitdepth=16)))
    np.testing.assert_array_equal(gray.pixels[..., 2], pixels[..., 0])


def test_deep_arrays_and_pillow_images() -> None:
    pixels = picture(dtype=np.uint16)
    np.testing.assert_array_equal(read_photo(pixels).pixels, pixels)
    gray = read_photo(Image.fromarray(pixels[..., 0]))
    assert gray.depth == 16
    np.testing.assert_array_equal(gray.pixels[..., 1], pixels[..., 0])


def test_our_deep_files_are_read_alike_by_libvips(tmp_path: Path) -> None:
    pixels = picture(70, 50, np.uint16, 4)
    for suffix in (".png", ".tif"):
        write_photo(tmp_path / f"x{suffix}", pixels, Photo(pixels[..., :3], icc=bundled_profile("p3")))
        found = pyvips.Image.new_from_file(str(tmp_path / f"x{suffix}"))
        np.testing.assert_array_equal(found.numpy(), pixels)
        assert found.get("icc-profile-data") == bundled_profile("p3")
