"""Shapes that pictures are cut to."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dimrt.export.train.data.crops import covering_frame, cut, shape_of, shapes
from dimrt.manifest import Resolution
from dimrt.photo.fit import MAX_ASPECT, original_crop, painter_frame
from dimrt.photo.read import Photo

DIM = Resolution(side=1024, multiple=32, latent_factor=32, aspect="free")
SQUARE = Resolution(side=1024, multiple=32, latent_factor=32, aspect="square")
NANO = Resolution(side=128, multiple=64, latent_factor=32, aspect="free")
sides = st.integers(16, 4000)


@pytest.mark.parametrize("resolution", [DIM, NANO])
def test_shapes_are_near_the_area_and_of_whole_multiples(resolution: Resolution) -> None:
    found = shapes(resolution)
    assert (resolution.side, resolution.side) in found
    assert {(height, width) for width, height in found} == set(found)
    for width, height in found:
        assert width % resolution.multiple == height % resolution.multiple == 0
        assert width * height <= resolution.side**2
        longer = max(width, height), min(width, height) + resolution.multiple
        assert longer[0] * longer[1] > resolution.side**2 or (longer[1], longer[0]) in found or longer in found
    assert shapes(SQUARE) == ((1024, 1024),)


def test_dims_shapes_keep_most_of_the_area() -> None:
    assert 30 < len(shapes(DIM)) < 80
    assert min(width * height for width, height in shapes(DIM)) > 0.9 * 1024**2


@settings(max_examples=200, deadline=None)
@given(sides, sides)
def test_a_picture_gets_the_nearest_shape_and_keeps_its_proportions(width: int, height: int) -> None:
    assume(max(width, height) <= 8 * min(width, height))
    shape = shape_of((width, height), DIM)
    nearest = min(abs(math.log(w / h * height / width)) for w, h in shapes(DIM))
    assert abs(math.log(shape[0] / shape[1] * height / width)) == pytest.approx(nearest, abs=1e-6)
    frame = covering_frame((width, height), shape)
    left, top, *size = frame.crop
    assert tuple(size) == shape
    assert 0 <= left <= frame.resize[0] - shape[0] and 0 <= top <= frame.resize[1] - shape[1]
    assert shape[0] == frame.resize[0] or shape[1] == frame.resize[1]
    ideal = max(shape[0] / width, shape[1] / height)
    assert frame.resize[0] == pytest.approx(width * ideal, abs=1)
    assert frame.resize[1] == pytest.approx(height * ideal, abs=1)


@settings(max_examples=200, deadline=None)
@given(sides, sides)
def test_a_square_is_the_originals_crop(width: int, height: int) -> None:
    assume(max(width, height) <= MAX_ASPECT * min(width, height))
    assert covering_frame((width, height), (1024, 1024)) == painter_frame((width, height), SQUARE, "crop")


def picture(width: int, height: int) -> Photo:
    """A picture whose colours tell where in it they are."""
    y, x = np.mgrid[0:height, 0:width]
    values = np.stack([x * 255 / (width - 1), y * 255 / (height - 1), 0 * x], axis=-1)
    return Photo(np.round(values).astype(np.uint8))


def test_source_and_target_are_cut_alike_at_different_sizes() -> None:
    shape = shape_of((400, 150), DIM)
    one, other = cut(picture(400, 150), shape), cut(picture(1600, 600), shape)
    assert one.shape == (3, shape[1], shape[0]) and one.dtype == np.float32
    assert np.abs(one - other).mean() < 0.01
    assert np.abs(one).max() <= 1


def test_a_square_cut_has_the_originals_pixels() -> None:
    photo = picture(300, 200)
    assert np.array_equal(cut(photo, (128, 128)), original_crop(photo, 128)[0])
