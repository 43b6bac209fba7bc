"""Where an edit may change the photo, how it fades in, and which window around it is painted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimrt.manifest import Resolution
from dimrt.photo.bounds import Bounds, mask_bounds, region_bounds
from dimrt.photo.fit import painter_frame
from dimrt.photo.window import LEAST, LONGEST, context_window

FREE = Resolution(side=1024, multiple=32, latent_factor=32, aspect="free")
SQUARE = Resolution(side=128, multiple=16, latent_factor=8, aspect="square")


@st.composite
def sizes_and_boxes(draw: st.DrawFn, longest: int = 12_000) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    width, height = draw(st.integers(8, longest)), draw(st.integers(8, longest))
    if max(width, height) > 100 * min(width, height):
        width = height
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (width, height), (left, top, draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height)))


@settings(max_examples=300)
@given(sizes_and_boxes(), st.sampled_from([FREE, SQUARE]))
def test_a_window_holds_its_box_within_the_photo(
    given_: tuple[tuple[int, int], tuple[int, int, int, int]], resolution: Resolution
) -> None:
    size, box = given_
    left, top, right, bottom = context_window(size, box, resolution)
    assert 0 <= left <= box[0] and 0 <= top <= box[1]
    assert box[2] <= right <= size[0] and box[3] <= bottom <= size[1]
    lengths = right - left, bottom - top
    for length, whole in zip(lengths, size, strict=True):
        assert length >= min(round(LEAST * whole), whole)
        assert length >= min(resolution.side, whole)
    painter_frame(lengths, resolution, "whole")


@settings(max_examples=300)
@given(sizes_and_boxes(), st.sampled_from([FREE, SQUARE]))
def test_a_window_is_neither_long_nor_stretched_unless_the_photo_is_in_the_way(
    given_: tuple[tuple[int, int], tuple[int, int, int, int]], resolution: Resolution
) -> None:
    size, box = given_
    left, top, right, bottom = context_window(size, box, resolution)
    width, height = right - left, bottom - top
    if width == size[0] or height == size[1]:
        return
    longest = 1.0 if resolution.aspect == "square" else LONGEST * 1.1
    assert max(width, height) <= longest * min(width, height) + 2
    across, down = painter_frame((width, height), resolution, "whole").size
    # One pixel of rounding of the shorter side.
    assert abs(width * down - height * across) <= max(across, down)


def test_a_window_has_context_on_all_sides() -> None:
    left, top, right, bottom = context_window((8000, 6000), (3000, 2500, 4200, 3400), FREE)
    assert left <= 3000 - 600 and top <= 2500 - 400 and right >= 4200 + 600 and bottom >= 3400 + 400
    assert (right - left) * (bottom - top) < 0.2 * 8000 * 6000


def test_a_window_at_the_border_is_moved_inwards() -> None:
    left, _, right, bottom = context_window((8000, 6000), (0, 5900, 900, 6000), FREE)
    assert left == 0 and bottom == 6000 and right >= 1800


def test_a_small_place_is_not_shown_larger_than_the_painter_sees() -> None:
    window = context_window((3000, 2000), (100, 100, 110, 110), FREE)
    assert window[2] - window[0] >= 1024 and window[3] - window[1] >= 1024


def test_nearly_all_is_all() -> None:
    assert context_window((3000, 2000), (300, 200, 2700, 1800), FREE) == (0, 0, 3000, 2000)
    assert context_window((100, 80), (10, 10, 20, 20), FREE) == (0, 0, 100, 80)


def whole(bounds: Bounds) -> np.ndarray:
    """The shares on all of the picture."""
    share = np.zeros((bounds.size[1], bounds.size[0]), np.float32)
    left, top, right, bottom = bounds.box
    share[top:bottom, left:right] = bounds.part(bounds.box)
    return share


@settings(max_examples=150, deadline=None)
@given(sizes_and_boxes(longest=120), st.one_of(st.none(), st.floats(0, 200)))
def test_a_region_fades_inwards_only(
    given_: tuple[tuple[int, int], tuple[int, int, int, int]], feather: float | None
) -> None:
    size, box = given_
    share = whole(region_bounds(size, box, feather))
    left, top, right, bottom = box
    outside = np.ones_like(share, np.bool_)
    outside[top:bottom, left:right] = False
    assert not share[outside].any()
    assert (share[~outside] > 0).all() and share.max() <= 1
    if feather == 0 or box == (0, 0, *size):
        assert (share[~outside] == 1).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(3, 60), st.integers(3, 60), st.one_of(st.none(), st.floats(0, 40)))
def test_a_mask_fades_inwards_only(seed: int, height: int, width: int, feather: float | None) -> None:
    random = np.random.default_rng(seed)
    marked = np.kron(random.random((4, 4)) < 0.6, np.ones((16, 16)))[:height, :width]
    mask = (marked * random.integers(1, 256, (height, width))).astype(np.uint8)
    if not mask.any():
        return
    share = whole(mask_bounds(mask, feather))
    assert not share[mask == 0].any()
    assert (share <= mask / np.float32(255)).all()
    if feather == 0:
        np.testing.assert_array_equal(share, mask / np.float32(255))


def disk(side: int = 400, radius: float = 150) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side / 2 + 0.5
    return np.where(np.hypot(x, y) < radius, 255, 0).astype(np.uint8)


def test_a_mask_is_full_a_feather_inside_its_edge() -> None:
    share = whole(mask_bounds(disk(), 40))
    y, x = np.mgrid[:400, :400] - 199.5
    depth = 150 - np.hypot(x, y)
    # Depths are counted in octagons of blocks, which cut corners.
    assert (share[depth > 50] == 1).all()
    assert abs(share[(depth > 18) & (depth < 22)].mean() - 0.5) < 0.1
    assert share[(depth > 0) & (depth < 3)].max() < 0.1
    assert np.abs(np.diff(share, axis=1)).max() < 0.1


def test_a_region_is_full_a_feather_inside_its_edge() -> None:
    share = whole(region_bounds((400, 300), (100, 100, 300, 200), 20))
    assert (share[120:180, 120:280] == 1).all()
    assert share[150, 100] < 0.01 and abs(share[150, 109:111].mean() - 0.5) < 0.05
    np.testing.assert_array_equal(share, share[:, ::-1])


def test_the_photos_border_is_no_edge() -> None:
    share = whole(region_bounds((400, 300), (0, 0, 200, 300), 20))
    assert (share[:, :180] == 1).all() and share[150, 199] < 0.01
    corner = np.zeros((300, 400), np.uint8)
    corner[:150, :150] = 255
    share = whole(mask_bounds(corner, 20))
    assert (share[:120, :120] == 1).all() and share[10, 149] < 0.1
    assert (whole(mask_bounds(np.full((30, 40), 255, np.uint8))) == 1).all()


def test_a_feather_wider_than_the_mask_leaves_its_middle_full() -> None:
    assert whole(mask_bounds(disk(), 5000)).max() > 0.95
    assert whole(region_bounds((400, 300), (100, 100, 140, 200), 5000)).max() > 0.98


def test_the_automatic_feather_leaves_thin_and_small_marks_alone() -> None:
    line = np.zeros((300, 400), np.uint8)
    line[150:152, 20:380] = 255
    assert whole(mask_bounds(line)).max() == 1
    dot = np.zeros((300, 400), np.uint8)
    dot[150, 200] = 255
    bounds = mask_bounds(dot)
    assert whole(bounds)[150, 200] == 1 and bounds.box == (200, 150, 201, 151)
    assert bounds.inside((8, 6)).any()


def test_bounds_follow_a_window() -> None:
    for bounds in (region_bounds((400, 300), (100, 100, 300, 200), 20), mask_bounds(disk(400), 40)):
        window = 50, 40, 390, 390
        moved = bounds.within(window)
        assert moved.size == (340, 350)
        np.testing.assert_array_equal(whole(moved), np.pad(whole(bounds), ((0, 100), (0, 0)))[40:390, 50:390])


def test_parts_join() -> None:
    bounds = mask_bounds(disk(), 30)
    left, top, right, bottom = bounds.box
    rows = [bounds.part((left, row, right, min(row + 37, bottom))) for row in range(top, bottom, 37)]
    np.testing.assert_allclose(np.concatenate(rows), bounds.part(bounds.box), atol=1e-5)


@pytest.mark.parametrize("bounds", [region_bounds((400, 400), (100, 120, 300, 200)), mask_bounds(disk())])
def test_inside_at_another_size(bounds: Bounds) -> None:
    inside = bounds.inside((40, 40))
    share = whole(bounds) > 0
    assert abs(inside.mean() - share.mean()) < 0.02
    assert (share[5::10, 5::10] == inside).mean() > 0.97
