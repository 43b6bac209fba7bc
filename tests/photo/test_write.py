"""Writing: what the format can hold arrives, what it can't is said, and a failure leaves nothing."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import ExifTags, Image, ImageCms

from dimrt.errors import InputError, ResourceError
from dimrt.photo.read import Photo, read_photo
from dimrt.photo.write import check_output, write_photo

SMOOTH = np.stack(np.meshgrid(np.arange(40), np.arange(50), indexing="ij"), -1)[..., [0, 1, 1]].astype(np.uint8) * 4
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def an_exif() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "maker"
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: "2024:05:06 07:08:09"}
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N"}
    return exif.tobytes()


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([3, 4]))))
def test_lossless_round_trip(tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray) -> None:
    folder = tmp_path_factory.mktemp("lossless")
    for suffix in (".png", ".tiff"):
        write_photo(folder / f"x{suffix}", pixels)
        photo = read_photo(folder / f"x{suffix}")
        np.testing.assert_array_equal(photo.pixels, pixels[:, :, :3])
        if pixels.shape[2] == 4:
            np.testing.assert_array_equal(photo.alpha, pixels[:, :, 3])


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".PNG", ".webp", ".tif", ".tiff"])
def test_pixels_and_metadata_survive(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    source = Photo(SMOOTH, icc=PROFILE, exif=an_exif())
    assert write_photo(path, SMOOTH, source) == []
    photo = read_photo(path)
    assert np.abs(photo.pixels.astype(int) - SMOOTH).max() <= (0 if suffix.lower() in {".png", ".tif", ".tiff"} else 12)
    assert photo.icc == PROFILE
    exif = Image.Exif()
    assert photo.exif is not None
    exif.load(photo.exif)
    assert exif[ExifTags.Base.Make] == "maker"
    assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2024:05:06 07:08:09"
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
    assert photo.notes == ()


def test_alpha_of_the_photo_is_kept_or_laid_on_white(tmp_path: Path) -> None:
    alpha = np.zeros(SMOOTH.shape[:2], np.uint8)
    alpha[:20] = 255
    source = Photo(SMOOTH, alpha=alpha)
    assert write_photo(tmp_path / "a.png", SMOOTH, source) == []
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png").alpha, alpha)
    notes = write_photo(tmp_path / "a.jpg", SMOOTH, source)
    assert "laid on white" in notes[0]
    assert (read_photo(tmp_path / "a.jpg").pixels[28:] > 250).all()
    write_photo(tmp_path / "b.png", SMOOTH[:30], source)
    assert read_photo(tmp_path / "b.png").alpha is None


def test_colour_keeps_its_full_resolution_in_jpeg(tmp_path: Path) -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    write_photo(tmp_path / "x.jpg", stripes)
    assert np.abs(read_photo(tmp_path / "x.jpg").pixels.astype(int) - stripes).mean() < 10


@pytest.mark.parametrize(
    ("name", "quality", "message"),
    [
        ("out.bmp", 95, r"unknown picture suffix '\.bmp'.*\.jpg"),
        ("out", 95, "unknown picture suffix ''"),
        ("no/out.jpg", 95, "doesn't exist"),
        ("folder.jpg", 95, "is a folder"),
        ("out.jpg", 0, "quality 0"),
        ("out.jpg", 101, "quality 101"),
    ],
)
def test_an_impossible_output_is_refused_early(tmp_path: Path, name: str, quality: int, message: str) -> None:
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(InputError, match=message):
        check_output(tmp_path / name, quality)


@pytest.mark.parametrize(("suffix", "side"), [(".jpg", 65_536), (".webp", 16_384)])
def test_sides_beyond_the_format(tmp_path: Path, suffix: str, side: int) -> None:
    with pytest.raises(InputError, match=r"holds sides up to .*use \.png"):
        write_photo(tmp_path / f"x{suffix}", np.zeros((1, side, 3), np.uint8))


def test_overlong_exif_is_left_out_of_jpeg_with_a_note(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 70_000
    source = Photo(SMOOTH, exif=exif.tobytes())
    assert "EXIF left out" in write_photo(tmp_path / "x.jpg", SMOOTH, source)[0]
    assert write_photo(tmp_path / "x.png", SMOOTH, source) == []


def test_the_longest_exif_that_jpeg_holds(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x"
    padding = 65_527 - len(exif.tobytes())
    exif[ExifTags.Base.ImageDescription] = "x" * (padding + 1)
    while len(exif.tobytes()) > 65_527:
        exif[ExifTags.Base.ImageDescription] = exif[ExifTags.Base.ImageDescription][:-1]
    assert write_photo(tmp_path / "x.jpg", SMOOTH, Photo(SMOOTH, exif=exif.tobytes())) == []


def test_full_disk_leaves_the_old_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.png"
    write_photo(path, SMOOTH)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match=r"x\.png.*after [1-9][\d,]* bytes"):
        write_photo(path, 255 - SMOOTH)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.png"]


def test_the_input_may_be_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    write_photo(path, SMOOTH)
    write_photo(path, 255 - SMOOTH, read_photo(path))
    np.testing.assert_array_equal(read_photo(path).pixels, 255 - SMOOTH)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8)])
def test_other_arrays_are_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match="can't write an array"):
        write_photo(tmp_path / "x.png", pixels)
