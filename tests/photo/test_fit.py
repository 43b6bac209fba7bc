"""Fitting: the original's crop bit for bit, and sizes that the painter can take."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dimrt.errors import InputError
from dimrt.manifest import Resolution
from dimrt.photo.fit import from_painter, original_crop, painter_frame, to_levels, to_painter
from dimrt.photo.read import Photo, read_photo

IMAGES = ("syn_640x427", "syn_1333x2000", "syn_77x300", "syn_rgba_201x120", "syn_gray_90x64")
FREE = Resolution(side=1024, multiple=32, latent_factor=32, aspect="free")
SQUARE = Resolution(side=128, multiple=16, latent_factor=8, aspect="square")


@pytest.mark.parametrize("name", IMAGES)
def test_original_crop(reference: Path, name: str) -> None:
    expected = np.load(reference / "preprocess.npz")
    photo = read_photo(reference / "images" / f"{name}.png")
    np.testing.assert_array_equal(original_crop(photo, 64)[0], expected[f"{name}.painter64"])
    larger = original_crop(photo, 128)
    np.testing.assert_array_equal(larger.ravel()[:64], expected[f"{name}.painter128.first64"])
    statistics = [larger.mean(), larger.std(), larger.min(), larger.max()]
    np.testing.assert_allclose(statistics, expected[f"{name}.painter128.stats"], atol=1e-6)


@pytest.mark.parametrize("name", IMAGES)
def test_crop_frame_is_the_original_crop(reference: Path, name: str) -> None:
    facts = json.loads((reference / "preprocess.json").read_text())[name]
    frame = painter_frame((facts["width"], facts["height"]), Resolution(64, 16, 8, "square"), "crop")
    assert frame.resize == tuple(facts["painter_resize_64"])
    assert frame.crop == (*facts["painter_crop_64"], 64, 64)


sizes = st.tuples(st.integers(1, 20_000), st.integers(1, 20_000))


@settings(deadline=None)
@given(sizes, st.sampled_from([128, 512, 1000, 1024]), st.sampled_from([16, 28, 32]))
def test_free_sizes(size: tuple[int, int], side: int, multiple: int) -> None:
    assume(max(size) <= 200 * min(size))
    frame = painter_frame(size, Resolution(side, multiple, 8, "free"), "whole")
    width, height = frame.size
    assert frame.resize == frame.size and frame.crop[:2] == (0, 0)
    assert width % multiple == 0 and height % multiple == 0
    assert min(width, height) >= multiple
    assert width * height <= side**2
    scale = (side**2 / (size[0] * size[1])) ** 0.5
    if min(size) * scale < multiple:
        return
    # Nothing but rounding: no side is further from its ideal length than a multiple.
    for fitted, length in zip(frame.size, size, strict=True):
        assert abs(fitted - length * scale) <= multiple


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((1024, 1024), (1024, 1024)),
        ((100, 100), (1024, 1024)),
        ((4000, 1000), (2048, 512)),
        ((6000, 4000), (1248, 832)),
    ],
)
def test_free_sizes_known(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert painter_frame(size, FREE, "whole").size == fitted
    assert painter_frame(size[::-1], FREE, "whole").size == fitted[::-1]


@settings(deadline=None)
@given(sizes)
def test_regions_lie_inside_the_photo(size: tuple[int, int]) -> None:
    assume(max(size) <= 200 * min(size))
    left, top, right, bottom = painter_frame(size, SQUARE, "crop").region
    assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
    assert max(right - left, bottom - top) - min(size) <= max(size) / 128 + 1
    assert min(right - left, bottom - top) == min(size)
    assert abs((left + right) - size[0]) <= size[0] / 64 + 2 and abs((top + bottom) - size[1]) <= size[1] / 64 + 2
    assert painter_frame(size, SQUARE, "whole").region == (0, 0, *size)


def test_square_models_get_squares() -> None:
    assert painter_frame((640, 427), SQUARE, "whole").size == (128, 128)


def test_ribbons_are_refused() -> None:
    with pytest.raises(InputError, match="2001 x 10"):
        painter_frame((2001, 10), FREE, "whole")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_input_and_output_are_inverse(seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    tensor = to_painter(Photo(pixels), painter_frame((128, 128), SQUARE, "whole"))
    assert tensor.shape == (1, 3, 128, 128) and tensor.dtype == np.float32
    assert tensor.min() >= -1 and tensor.max() <= 1
    np.testing.assert_array_equal(from_painter(tensor), pixels)


def test_output_is_clamped_and_rounded() -> None:
    levels = np.array([-300.0, 0.499, 0.501, 1.501, 254.499, 255.4, 900.0], np.float32)
    tensor = np.tile((levels / 127.5 - 1)[None, None, None], (1, 3, 1, 1))
    assert from_painter(tensor)[0, :, 0].tolist() == [0, 0, 1, 2, 254, 255, 255]
    assert to_levels(tensor).min() == 0 and to_levels(tensor).max() == 255
