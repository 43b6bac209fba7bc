"""Colour on the way into the model and back: as Little CMS has it, invertible, and nothing at all for sRGB."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_files import (
    ADOBE_TO_XYZ,
    SRGB_TO_XYZ,
    bundled_profile,
    gamma_curve,
    gray_profile,
    matrix_profile,
    picture,
    table_profile,
)
from PIL import Image, ImageCms

from dimrt.manifest import Resolution
from dimrt.photo.colour import from_srgb, is_srgb, to_eight, to_srgb
from dimrt.photo.fit import painter_frame, to_painter
from dimrt.photo.gray import gray_from_srgb, gray_to_srgb
from dimrt.photo.photo import Photo
from dimrt.photo.read import read_photo
from dimrt.photo.write import encode_photo

WIDE = {
    "Display P3": lambda: bundled_profile("p3"),
    "Adobe RGB": lambda: matrix_profile(ADOBE_TO_XYZ, gamma_curve(2.19921875)),
    "gamma 1.8": lambda: matrix_profile(SRGB_TO_XYZ, gamma_curve(1.8)),
    "tables": lambda: table_profile(ADOBE_TO_XYZ, 2.2),
}
COLOURS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def by_cms(pixels: np.ndarray, source: object, target: object) -> np.ndarray:
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    return np.asarray(ImageCms.profileToProfile(Image.fromarray(pixels), source, target, renderingIntent=intent))


def profile(icc: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(icc))


@pytest.mark.parametrize("name", WIDE)
def test_into_srgb_as_little_cms(name: str) -> None:
    icc = WIDE[name]()
    expected = by_cms(COLOURS, profile(icc), ImageCms.createProfile("sRGB"))
    found = to_srgb(COLOURS, icc)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert np.abs(found.astype(int) - COLOURS).max() > 5


@pytest.mark.parametrize(("name", "worst"), [("Display P3", 1), ("Adobe RGB", 1), ("gamma 1.8", 1), ("tables", 4)])
def test_out_of_srgb_as_little_cms(name: str, worst: int) -> None:
    """Colours over 24, below which the curves are steepest and 8 bits of either side are coarse."""
    icc, colours = WIDE[name](), COLOURS // 2 + 64
    expected = by_cms(colours, ImageCms.createProfile("sRGB"), profile(icc))
    found = from_srgb(colours.astype(np.float32), icc)
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 255
    assert np.abs(found - expected).max() <= worst


@pytest.mark.parametrize("name", ["Display P3", "Adobe RGB", "gamma 1.8"])
def test_there_and_back(name: str) -> None:
    """What sRGB holds comes back in floating point to within the rounding of the 8 bits between."""
    icc = WIDE[name]()
    inside = from_srgb((COLOURS // 2 + 64).astype(np.float32), icc)
    again = from_srgb(to_srgb(np.round(inside).astype(np.uint8), icc).astype(np.float32), icc)
    assert np.abs(again - inside).max() < 1.6


def test_a_step_of_a_fraction_of_a_level_arrives() -> None:
    """The way back isn't rounded to 8 bits: smooth changes stay smooth."""
    ramp = np.linspace(100, 102, 201, dtype=np.float32)[None, :, None].repeat(3, 2)
    for make in WIDE.values():
        steps = np.diff(from_srgb(ramp, make()), axis=1)
        assert steps.min() > 0 and steps.max() < 0.1


@pytest.mark.parametrize(
    "icc",
    [
        None,
        b"",
        b"no profile at all",
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        gray_profile(gamma_curve(1.8)),
        bundled_profile("p3")[:300],
        matrix_profile(np.zeros((3, 3)), gamma_curve(2.2)),
    ],
    ids=["none", "empty", "junk", "sRGB", "gray", "cut off", "singular"],
)
def test_nothing_is_converted_without_a_reason(icc: bytes | None) -> None:
    levels = COLOURS.astype(np.float32)
    assert is_srgb(icc)
    assert to_srgb(COLOURS, icc) is COLOURS
    assert from_srgb(levels, icc) is levels


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 470))
def test_a_damaged_profile_converts_somehow_or_not_at_all(damage: bytes, place: int) -> None:
    icc = bytearray(bundled_profile("p3"))
    icc[place : place + len(damage)] = damage
    found = from_srgb(to_srgb(COLOURS[:4], bytes(icc)).astype(np.float32), bytes(icc))
    assert found.shape == (4, 64, 3) and np.isfinite(found).all() and found.min() >= 0 and found.max() <= 255


def png_with_code(primaries: int, transfer: int) -> bytes:
    data = encode_photo("PNG", COLOURS)[0]
    chunk = b"cICP" + bytes([primaries, transfer, 0, 1])
    return data[:33] + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


def heic_with_code(primaries: int, transfer: int) -> bytes:
    buffer = io.BytesIO()
    codes = {"color_primaries": primaries, "transfer_characteristics": transfer, "matrix_coefficients": 6}
    pillow_heif.from_pillow(Image.fromarray(picture(64, 64))).save(buffer, save_nclx_profile=True, **codes)
    return buffer.getvalue()


def avif_with_code(primaries: int, transfer: int) -> bytes:
    data = bytearray(encode_photo("AVIF", picture(64, 64))[0])
    place = data.index(b"nclx") + 4
    data[place : place + 4] = struct.pack(">HH", primaries, transfer)
    return bytes(data)


@pytest.mark.parametrize("make", [png_with_code, heic_with_code, avif_with_code], ids=["PNG", "HEIC", "AVIF"])
def test_display_p3_told_by_code_points_gets_a_profile(make: Callable[[int, int], bytes]) -> None:
    photo, plain, hdr = (read_photo(make(*code)) for code in ((12, 13), (1, 13), (9, 16)))
    assert photo.icc is not None and plain.icc is None and hdr.icc is None
    assert photo.notes == plain.notes == () and "HDR (PQ)" in hdr.notes[0]
    np.testing.assert_array_equal(photo.pixels, plain.pixels)
    assert read_photo(encode_photo("TIFF", photo.pixels, photo)[0]).icc == photo.icc
    found = to_srgb(COLOURS, photo.icc).astype(int)
    assert np.abs(by_cms(COLOURS, profile(photo.icc), ImageCms.createProfile("sRGB")) - found).max() <= 1
    # libvips' own leaves out the small share of blue that red has, which shows in the darkest values.
    assert np.abs(to_srgb(COLOURS, bundled_profile("p3")) - found).mean() < 0.3


def test_eight_of_sixteen_bits() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    np.testing.assert_array_equal(to_eight(every), np.floor(every / 257 + 0.5))
    np.testing.assert_array_equal(to_eight(np.arange(256, dtype=np.uint16)[None] * 257)[0], np.arange(256))


@settings(max_examples=20, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_the_painter_sees_sixteen_bits_as_eight(pixels: np.ndarray) -> None:
    frame = painter_frame((pixels.shape[1], pixels.shape[0]), Resolution(64, 16, 8, "square"), "whole")
    deep = Photo(pixels.astype(np.uint16) * 257)
    np.testing.assert_array_equal(to_painter(deep, frame), to_painter(Photo(pixels), frame))


def test_the_painter_sees_srgb() -> None:
    pixels = picture(64, 64)
    frame = painter_frame((64, 64), Resolution(64, 16, 8, "square"), "whole")
    icc = bundled_profile("p3")
    found = to_painter(Photo(pixels, icc=icc), frame)
    np.testing.assert_array_equal(found, to_painter(Photo(to_srgb(pixels, icc)), frame))
    assert np.abs(found - to_painter(Photo(pixels), frame)).max() > 0.05


@pytest.mark.parametrize("levels", [256, 65536])
@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_gray_profiles_go_both_ways(gamma: float, levels: int) -> None:
    icc = gray_profile(gamma_curve(gamma))
    table, back = gray_to_srgb(icc, levels), gray_from_srgb(icc, levels)
    assert table is not None and table[0] == 0 and table[-1] == levels - 1 and (np.diff(table.astype(int)) >= 0).all()
    # Every value that has a gray of its own comes back to it; the others come near.
    alone = np.flatnonzero(np.bincount(table, minlength=levels)[table] == 1)
    np.testing.assert_array_equal(back[table[alone]], alone)


def test_gray_as_little_cms() -> None:
    icc = gray_profile(gamma_curve(1.8))
    ramp = np.arange(256, dtype=np.uint8)[None]
    transform = ImageCms.buildTransform(profile(icc), ImageCms.createProfile("sRGB"), "L", "RGB")
    expected = np.asarray(ImageCms.applyTransform(Image.fromarray(ramp), transform))[0, :, 1]
    table = gray_to_srgb(icc, 256)
    assert table is not None and np.abs(table.astype(int) - expected).max() <= 1
