"""Photo files through a real edit of a region: outside, the file written has exactly the samples of the file read."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
from made_files import bundled_profile, encoded, gamma_curve, gray_profile, picture, vips_image
from PIL import Image, ImageCms

from dimrt.editor import Editor
from dimrt.options import EditOptions
from dimrt.photo.colour import to_srgb
from dimrt.photo.photo import Photo
from dimrt.photo.read import read_photo
from dimrt.photo.write import write_photo

REGION = (60, 30, 50, 40)
PATCH = np.s_[20:85, 50:125]
"""The region and its feather at most."""
SIZE = (160, 120)
SEPIA = "make it look like an old sepia photo"


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.load(device="cpu", verify="layout", threads=1)


def tagged(image: pyvips.Image, icc: bytes) -> pyvips.Image:
    image = image.copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
    return image


def cmyk() -> bytes:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(bundled_profile("cmyk")))
    source = Image.fromarray(picture(*SIZE))
    made = ImageCms.profileToProfile(source, ImageCms.createProfile("sRGB"), profile, outputMode="CMYK")
    return encoded(made, "TIFF", icc_profile=bundled_profile("cmyk"))


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "P3": (lambda: encoded(Image.fromarray(picture(*SIZE)), "PNG", icc_profile=bundled_profile("p3")), ".png"),
    "16-bit P3 TIFF": (
        lambda: tagged(vips_image(picture(*SIZE, np.uint16)), bundled_profile("p3")).tiffsave_buffer(),
        ".tif",
    ),
    "16-bit PNG with alpha": (
        lambda: vips_image(picture(*SIZE, np.uint16, 4)).pngsave_buffer(bitdepth=16),
        ".png",
    ),
    "CMYK": (cmyk, ".tif"),
    "16-bit gray": (
        lambda: tagged(vips_image(picture(*SIZE, np.uint16)[..., 0]), gray_profile(gamma_curve(1.8))).tiffsave_buffer(),
        ".tif",
    ),
}


def stored(data: bytes) -> np.ndarray:
    """The samples as they are in the file, without the code under test."""
    image = pyvips.Image.new_from_buffer(data, "")
    return image.numpy().reshape(image.height, image.width, -1)


@pytest.mark.parametrize(("make", "suffix"), FILES.values(), ids=FILES)
def test_outside_a_region_the_files_are_equal(
    tmp_path: Path, editor: Editor, make: Callable[[], bytes], suffix: str
) -> None:
    path, out = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    path.write_bytes(bytes(make()))
    photo = read_photo(path)
    words = "make it darker" if photo.native is not None and photo.native.mode == "L" else SEPIA
    result = editor.edit(photo, words, EditOptions(region=REGION, feather=8, seed=1))
    write_photo(out, result.image, photo)
    before, after = stored(path.read_bytes()), stored(out.read_bytes())
    outside = np.ones(before.shape[:2], bool)
    outside[PATCH] = False
    assert before.dtype == after.dtype and before.shape == after.shape
    np.testing.assert_array_equal(after[outside], before[outside])
    assert (after != before)[PATCH].any()
    assert read_photo(out).icc == photo.icc and read_photo(out).depth == photo.depth


def test_a_wide_gamut_photo_is_painted_as_its_srgb_twin(editor: Editor) -> None:
    icc = bundled_profile("p3")
    wide = Photo(picture(128, 128), icc=icc)
    twin = Photo(to_srgb(wide.pixels, icc))
    options = EditOptions(seed=1, composite="none")
    in_wide, in_srgb = (editor.edit(photo, SEPIA, options) for photo in (wide, twin))
    np.testing.assert_array_equal(in_wide.painted, in_srgb.painted)
    np.testing.assert_array_equal(in_srgb.image, in_srgb.painted)
    assert np.abs(to_srgb(in_wide.image, icc).astype(int) - in_srgb.image).mean() < 1
    assert np.abs(in_wide.image.astype(int) - in_srgb.image).mean() > 2
