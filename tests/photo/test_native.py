"""Gray, palette and CMYK photos: edited as RGB, written as what they were."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_files import bundled_profile, encoded, gamma_curve, gray_profile, picture, vips_image
from PIL import Image, ImageCms

from dimrt.photo.photo import Photo
from dimrt.photo.read import read_photo
from dimrt.photo.write import encode_photo

GRAY_PROFILE = gray_profile(gamma_curve(1.8))
PATCH = np.s_[10:20, 12:30]


def edited(photo: Photo) -> np.ndarray:
    """The photo with a darker patch."""
    result = photo.pixels.copy()
    result[PATCH] //= 2
    return result


def outside() -> np.ndarray:
    mask = np.ones((36, 48), bool)
    mask[PATCH] = False
    return mask


def gray_file(kind: str, dtype: type, icc: bytes | None, alpha: bool) -> bytes:
    """Made without the code under test."""
    samples = picture(dtype=dtype, channels=2)
    if dtype == np.uint8:
        image = Image.merge("LA", [Image.fromarray(samples[..., c].copy()) for c in (0, 1)])
        return encoded(image if alpha else image.getchannel("L"), kind, **({"icc_profile": icc} if icc else {}))
    image = vips_image(samples if alpha else samples[..., 0]).copy(interpretation="grey16")
    if icc:
        import pyvips

        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
    return bytes(image.pngsave_buffer(bitdepth=16) if kind == "PNG" else image.tiffsave_buffer())


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "alpha"])
@pytest.mark.parametrize("icc", [None, GRAY_PROFILE], ids=["plain", "profile"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_gray_photo_stays_gray(kind: str, dtype: type, icc: bytes | None, alpha: bool) -> None:
    photo = read_photo(gray_file(kind, dtype, icc, alpha))
    samples = picture(dtype=dtype, channels=2)
    assert photo.pixels.dtype == dtype and (photo.pixels == photo.pixels[..., :1]).all()
    assert photo.icc is None and (photo.alpha is not None) == alpha
    if icc is None:
        np.testing.assert_array_equal(photo.pixels[..., 0], samples[..., 0])
    else:
        assert np.abs(photo.pixels[..., 0].astype(int) - samples[..., 0]).max() > np.iinfo(dtype).max / 100
    data, notes = encode_photo(kind, edited(photo), photo)
    again = read_photo(data)
    stored = stored_gray(data, kind, dtype)
    assert notes == []
    np.testing.assert_array_equal(stored[..., 0][outside()], samples[..., 0][outside()])
    assert again.native is not None and again.native.mode == "L" and again.native.icc == icc
    step = 3 if dtype == np.uint8 else 40
    assert np.abs(again.pixels[PATCH].astype(int) - edited(photo)[PATCH]).max() <= step
    if alpha:
        np.testing.assert_array_equal(again.alpha, samples[..., 1])


def stored_gray(data: bytes, kind: str, dtype: type) -> np.ndarray:
    """The samples of a gray file, [H, W, 1 or 2], read without the code under test."""
    if dtype == np.uint8:
        image = Image.open(io.BytesIO(data))
        assert image.mode in {"L", "LA"}
        return np.asarray(image).reshape(36, 48, -1)
    import pyvips

    image = pyvips.Image.new_from_buffer(data, "")
    assert image.bands < 3 and image.format == "ushort"
    return image.numpy().reshape(36, 48, -1)


@pytest.mark.parametrize("icc", [None, GRAY_PROFILE], ids=["plain", "profile"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_gray_in_every_format(kind: str, icc: bytes | None) -> None:
    """Where the format has no gray, or not this profile, the picture is RGB and looks the same."""
    photo = read_photo(gray_file("PNG", np.uint8, icc, False))
    again = read_photo(encode_photo(kind, photo.pixels, photo)[0])
    assert np.abs(again.pixels.astype(int) - photo.pixels).mean() < 4
    assert (again.native is not None) == (kind in {"JPEG", "PNG", "TIFF"})


@pytest.mark.parametrize(("shift", "gray"), [(0, True), (8, True), (12, False)])
def test_a_gray_photo_with_a_coloured_result_is_written_in_colour(shift: int, gray: bool) -> None:
    photo = read_photo(gray_file("PNG", np.uint8, None, False))
    result = np.minimum(photo.pixels, 255 - shift)
    result[5, 5, 0] += shift
    data, notes = encode_photo("PNG", result, photo)
    assert Image.open(io.BytesIO(data)).mode == ("L" if gray else "RGB")
    assert bool(notes) != gray
    if not gray:
        np.testing.assert_array_equal(read_photo(data).pixels, result)


def test_a_gray_photo_under_an_rgb_profile_keeps_it() -> None:
    icc = bundled_profile("p3")
    photo = read_photo(gray_file("PNG", np.uint8, icc, False))
    again = read_photo(encode_photo("PNG", photo.pixels, photo)[0])
    assert photo.icc == again.icc == icc
    assert again.native is not None and again.native.mode == "L"
    np.testing.assert_array_equal(again.pixels, photo.pixels)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 256), st.booleans())
def test_a_palette_is_kept_while_its_colours_suffice(seed: int, count: int, transparent: bool) -> None:
    random = np.random.default_rng(seed)
    colours = np.unique(random.integers(0, 256, (count, 3), dtype=np.uint8), axis=0)
    colours = random.permutation(colours)
    index = random.integers(0, len(colours), (9, 11)).astype(np.uint8)
    image = Image.fromarray(index, mode="P")
    image.putpalette(colours.tobytes())
    opacity = random.integers(0, 256, len(colours)).astype(np.uint8)
    photo = read_photo(encoded(image, "PNG", **({"transparency": opacity.tobytes()} if transparent else {})))
    np.testing.assert_array_equal(photo.pixels, colours[index])
    assert photo.native is not None and photo.native.palette is not None
    np.testing.assert_array_equal(photo.native.palette[: len(colours), :3], colours)
    if transparent:
        np.testing.assert_array_equal(photo.native.palette[: len(colours), 3], opacity)
    result = photo.pixels.copy()
    result[4, 4] = colours[0]
    data, notes = encode_photo("PNG", result, photo)
    found = Image.open(io.BytesIO(data))
    assert found.mode == "P" and notes == []
    again = read_photo(data)
    np.testing.assert_array_equal(again.pixels, result)
    if transparent and (opacity[index] < 255).any():
        np.testing.assert_array_equal(again.alpha, photo.alpha)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_new_colours_get_a_place_in_the_palette(kind: str) -> None:
    image = Image.fromarray(picture()).quantize(200)
    photo = read_photo(encoded(image, kind))
    result = photo.pixels.copy()
    result[:4, :10] = np.arange(40, dtype=np.uint8).reshape(4, 10, 1)
    data, notes = encode_photo(kind, result, photo)
    found = Image.open(io.BytesIO(data))
    assert found.mode == "P" and notes == []
    np.testing.assert_array_equal(np.asarray(found.convert("RGB")), result)
    if kind == "PNG":
        kept = np.array(found.getpalette("RGB")).reshape(-1, 3)[:200]
        np.testing.assert_array_equal(kept, np.array(image.getpalette("RGB")).reshape(-1, 3)[:200])


def test_too_many_colours_for_a_palette_are_written_in_full_with_a_note() -> None:
    photo = read_photo(encoded(Image.fromarray(picture()).quantize(256), "PNG"))
    result = picture()
    data, notes = encode_photo("PNG", result, photo)
    assert Image.open(io.BytesIO(data)).mode == "RGB" and "more colours than a palette" in notes[0]
    np.testing.assert_array_equal(read_photo(data).pixels, result)
    assert encode_photo("JPEG", photo.pixels, photo)[1] == []


def cmyk_image() -> Image.Image:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(bundled_profile("cmyk")))
    made = ImageCms.profileToProfile(Image.fromarray(picture()), ImageCms.createProfile("sRGB"), profile, 1, "CMYK")
    assert made is not None
    made.info.clear()
    return made


@pytest.mark.parametrize("icc", [None, bundled_profile("cmyk")], ids=["formula", "profile"])
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_goes_back_to_cmyk(kind: str, icc: bytes | None) -> None:
    data = encoded(cmyk_image(), kind, **({"icc_profile": icc} if icc else {}))
    before = np.asarray(Image.open(io.BytesIO(data)))
    photo = read_photo(data)
    assert photo.icc is None and photo.native is not None and photo.native.mode == "CMYK" and "CMYK" in photo.notes[0]
    result = edited(photo)
    written, notes = encode_photo("TIFF", result, photo)
    found = Image.open(io.BytesIO(written))
    assert found.mode == "CMYK" and found.info.get("icc_profile") == icc and notes == []
    np.testing.assert_array_equal(np.asarray(found)[outside()], before[outside()])
    again = read_photo(written)
    assert np.abs(again.pixels[PATCH].astype(int) - result[PATCH]).mean() < 3
    jpeg = Image.open(io.BytesIO(encode_photo("JPEG", result, photo)[0]))
    assert jpeg.mode == "CMYK" and np.abs(np.asarray(jpeg)[outside()].astype(int) - before[outside()]).mean() < 4


def test_cmyk_looks_as_its_profile_says() -> None:
    photo = read_photo(encoded(cmyk_image(), "TIFF", icc_profile=bundled_profile("cmyk")))
    assert np.abs(photo.pixels.astype(int) - picture()).mean() < 9
    plain = read_photo(encoded(cmyk_image(), "TIFF"))
    assert np.abs(plain.pixels.astype(int) - picture()).mean() > 15


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF"])
def test_cmyk_in_a_format_without_it_is_srgb_with_a_note(kind: str) -> None:
    photo = read_photo(encoded(cmyk_image(), "TIFF", icc_profile=bundled_profile("cmyk")))
    data, notes = encode_photo(kind, photo.pixels, photo)
    assert notes == [f"{kind} holds no CMYK: written as sRGB"]
    again = read_photo(data)
    assert again.icc is None and np.abs(again.pixels.astype(int) - photo.pixels).mean() < 5


@pytest.mark.parametrize("icc", [b"junk" * 60, bundled_profile("cmyk")[:4000], bundled_profile("p3")])
def test_an_unusable_profile_of_cmyk_is_said(icc: bytes) -> None:
    photo = read_photo(encoded(cmyk_image(), "TIFF", icc_profile=icc))
    assert "unusable profile" in photo.notes[0]
    assert Image.open(io.BytesIO(encode_photo("TIFF", photo.pixels, photo)[0])).mode == "CMYK"


def test_orientation_of_what_is_kept_beside_the_pixels() -> None:
    """The samples kept of a CMYK photo are turned as its pixels are."""
    exif = Image.Exif()
    exif[274] = 6
    photo = read_photo(encoded(cmyk_image(), "JPEG", exif=exif, quality=95))
    assert photo.native is not None and photo.native.samples is not None
    assert photo.pixels.shape[:2] == photo.native.samples.shape[:2] == (48, 36)
    plain = Image.fromarray(photo.native.samples, mode="CMYK").convert("RGB")
    np.testing.assert_array_equal(np.asarray(plain), photo.pixels)


def test_results_of_another_size_or_type_are_converted_whole() -> None:
    photo = read_photo(encoded(cmyk_image(), "TIFF", icc_profile=bundled_profile("cmyk")))
    found = Image.open(io.BytesIO(encode_photo("TIFF", photo.pixels[:20, :20].copy(), photo)[0]))
    assert found.mode == "CMYK" and found.size == (20, 20)
    deep = read_photo(gray_file("PNG", np.uint16, GRAY_PROFILE, True))
    small = np.full((5, 6, 3), 90, np.uint8)
    again = Image.open(io.BytesIO(encode_photo("PNG", small, deep)[0]))
    assert again.mode == "L" and again.size == (6, 5)


def test_black_and_white() -> None:
    bits = Image.fromarray(picture()[..., 0]).convert("1")
    photo = read_photo(encoded(bits, "PNG"))
    again = read_photo(encode_photo("PNG", photo.pixels, photo)[0])
    np.testing.assert_array_equal(again.pixels, photo.pixels)
    assert again.native is not None and again.native.mode in {"1", "L"}
