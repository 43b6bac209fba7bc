"""The promises on full-size results: exactness outside the edit, no shift, no scaling, sharpness; in 8 and 16 bits."""

from pathlib import Path

import numpy as np
import pytest
from alignment import sharpness, shift, shift_and_scale
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dimrt.manifest import Resolution
from dimrt.photo.bounds import Bounds, mask_bounds, region_bounds
from dimrt.photo.closeup import agrees, bounds_of_change, closer_window
from dimrt.photo.composite import Mode, choose, composite
from dimrt.photo.fit import painter_frame
from dimrt.photo.lookup import interpolate
from dimrt.photo.read import read_photo
from dimrt.photo.tone import LOOKUP, fit_tone
from dimrt.photo.window import context_window

PHOTOS = sorted((Path(__file__).parents[2] / "benchmarks" / "photos").glob("*.jpg"))
MODES: tuple[Mode, ...] = ("auto", "tone", "local", "painted")
NANO = Resolution(side=128, multiple=16, latent_factor=8, aspect="square")


@pytest.fixture(scope="module")
def cat() -> np.ndarray:
    """A real photograph, uint8 [300, 451, 3]."""
    return read_photo(PHOTOS[0]).pixels


def small(picture: np.ndarray, side: int = 128) -> np.ndarray:
    """As the painter sees it, float32 [side, side, 3] from 0 to 255."""
    eight = (picture // 257).astype(np.uint8) if picture.dtype == np.uint16 else picture
    return np.asarray(Image.fromarray(eight).resize((side, side), Image.Resampling.BILINEAR)).astype(np.float32)


def sepia(levels: np.ndarray) -> np.ndarray:
    luma = levels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.clip(luma[..., None] * np.array([1.07, 0.86, 0.62]) + np.array([16, 10, 4]), 0, 255).astype(np.float32)


def deepened(picture: np.ndarray, seed: int = 0) -> np.ndarray:
    """The picture in 16 bits, with something in the low ones."""
    low = np.random.default_rng(seed).integers(-120, 121, picture.shape)
    return np.clip(picture.astype(np.int32) * 257 + low, 0, 65535).astype(np.uint16)


def disk(shape: tuple[int, ...]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.where(np.hypot(y - shape[0] / 2, x - shape[1] / 2) < shape[0] / 4, 255, 0).astype(np.uint8)


def bounds_for(name: str, shape: tuple[int, ...]) -> tuple[Bounds, np.ndarray]:
    """Bounds, and what they let be edited."""
    if name == "region":
        allowed = np.zeros(shape[:2], np.bool_)
        allowed[40:200, 100:300] = True
        return region_bounds((shape[1], shape[0]), (100, 40, 300, 200)), allowed
    return mask_bounds(disk(shape)), disk(shape) > 0


@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("name", ["region", "mask"])
@pytest.mark.parametrize("mode", MODES)
def test_nothing_outside_a_mask_or_region_changes_in_any_mode(
    cat: np.ndarray, mode: Mode, name: str, deep: bool
) -> None:
    photo = deepened(cat) if deep else cat
    bounds, allowed = bounds_for(name, photo.shape)
    source = small(photo)
    edit = sepia(source)
    edit[5:20, 5:20] = 255  # also outside
    image, ran = composite(photo, source, edit, mode, bounds)
    assert ran != "unchanged" and image.dtype == photo.dtype
    np.testing.assert_array_equal(image[~allowed], photo[~allowed])
    middle = np.s_[120:180, 200:250]
    truth = sepia(photo / (257.0 if deep else 1.0)) * (257 if deep else 1)
    assert np.abs(image[middle] - truth[middle]).mean() < (12 if mode == "painted" else 4) * (257 if deep else 1)


@pytest.mark.parametrize(("name", "deep"), [("region", True), ("mask", False), ("found", True)])
def test_ten_edits_in_a_row_leave_the_rest_exact(cat: np.ndarray, name: str, deep: bool) -> None:
    photo = deepened(cat) if deep else cat
    bounds, allowed = (None, np.zeros(photo.shape[:2], np.bool_)) if name == "found" else bounds_for(name, photo.shape)
    if name == "found":
        allowed[:170, :260] = True
    image = photo
    for turn in range(10):
        source = small(image)
        edit = source.copy()
        edit[20:60, 30:60] += -40 if turn % 2 else 40
        image, ran = composite(image, source, np.clip(edit, 0, 255), "auto", bounds)
        assert ran != "unchanged"
    assert (image != photo).any()
    np.testing.assert_array_equal(image[~allowed], photo[~allowed])


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.sampled_from(("local", "painted", "auto")),
    st.booleans(),
    st.one_of(st.none(), st.floats(0, 30)),
)
def test_outside_any_mask_on_any_photo_nothing_changes(
    seed: int, size: tuple[int, int], mode: Mode, deep: bool, feather: float | None
) -> None:
    random = np.random.default_rng(seed)
    height, width = size
    photo = random.integers(0, 65536 if deep else 256, (height, width, 3)).astype(np.uint16 if deep else np.uint8)
    source, edit = (random.uniform(0, 255, (48, 64, 3)).astype(np.float32) for _ in range(2))
    marked = np.kron(random.random((3, 3)) < 0.5, np.ones((30, 30)))[:height, :width]
    mask = (marked * random.integers(1, 256, (height, width))).astype(np.uint8)
    if not mask.any():
        return
    bounds = mask_bounds(mask, feather)
    image, _ = composite(photo, source, edit, mode, bounds)
    assert image.shape == photo.shape and image.dtype == photo.dtype
    np.testing.assert_array_equal(image[mask == 0], photo[mask == 0])


def test_a_full_mask_changes_nothing_about_an_edit(cat: np.ndarray) -> None:
    source = small(cat)
    bounds = mask_bounds(np.full(cat.shape[:2], 255, np.uint8))
    whole, ran = composite(cat, source, sepia(source))
    masked, ran_masked = composite(cat, source, sepia(source), "auto", bounds)
    assert ran == ran_masked
    np.testing.assert_array_equal(masked, whole)


def test_a_half_grey_mask_is_half_the_edit(cat: np.ndarray) -> None:
    source = small(cat)
    whole, _ = composite(cat, source, sepia(source), "tone")
    half, _ = composite(cat, source, sepia(source), "tone", mask_bounds(np.full(cat.shape[:2], 128, np.uint8)))
    assert np.abs(half - (cat + (whole.astype(float) - cat) * 128 / 255)).max() <= 0.51


def test_a_tone_within_a_mask_is_fitted_there_and_stays_sharp(cat: np.ndarray) -> None:
    """The painter makes the marked part sepia and turns all else green: the green teaches nothing."""
    bounds, allowed = bounds_for("mask", cat.shape)
    source = small(cat)
    edit = np.where(bounds.inside((128, 128))[..., None], sepia(source), (20, 200, 40)).astype(np.float32)
    image, ran = composite(cat, source, edit, "auto", bounds)
    assert ran == "tone"
    core = np.s_[90:210, 165:285]
    assert np.abs(image[core] - sepia(cat)[core]).mean() < 3
    assert abs(sharpness(image[core]) / sharpness(sepia(cat)[core]) - 1) < 0.05
    np.testing.assert_array_equal(image[~allowed], cat[~allowed])


def test_a_change_outside_the_mask_alone_is_none(cat: np.ndarray) -> None:
    bounds, _ = bounds_for("mask", cat.shape)
    source = small(cat)
    edit = np.where(bounds.inside((128, 128))[..., None], source, 255 - source)
    image, ran = composite(cat, source, edit, "auto", bounds)
    assert ran == "unchanged" and image is cat


def test_a_feathered_edit_fades_in(cat: np.ndarray) -> None:
    source = small(cat)
    bounds = region_bounds((451, 300), (100, 40, 300, 200), 30)
    image, _ = composite(cat, source, np.full_like(source, 250), "painted", bounds)
    shares = (image.astype(float) - cat)[120, 100:200].mean(1) / (250 - cat.astype(float))[120, 100:200].mean(1)
    assert shares[0] < 0.05 and abs(shares[14:16].mean() - 0.5) < 0.1 and (np.abs(shares[30:] - 1) < 0.02).all()


def test_a_faint_tone_of_everything_is_carried(cat: np.ndarray) -> None:
    """Ten levels brighter: below what counts as a change in one place, and yet all that was asked for."""
    source = small(cat)
    image, ran = composite(cat, source, np.clip(source + 10, 0, 255))
    assert ran == "tone"
    assert 8 < (image.astype(float) - cat)[50:250, 100:350].mean() < 11


def test_drift_beside_a_change_in_one_place_is_not(cat: np.ndarray) -> None:
    source = small(cat)
    edit = source + 4
    edit[40:70, 40:70] = (220, 30, 30)
    image, ran = composite(cat, source, np.clip(edit, 0, 255))
    assert ran == "local"
    np.testing.assert_array_equal(image[230:], cat[230:])


def test_a_plan_for_all_of_the_picture_makes_a_tone_of_what_is_strong_in_few_places(cat: np.ndarray) -> None:
    """Lights are pulled down strongly, the rest a little: by itself this looks like a change of the lights."""
    source = small(cat)
    edit = source - 5 - np.maximum(source - 165, 0) * 0.9
    assert choose(source, edit).ran == "local"
    assert choose(source, edit, everywhere=True).ran == "tone"
    removed = source.copy()
    removed[40:70, 40:70] = (220, 30, 30)
    assert choose(source, removed, everywhere=True).ran == "local"


# Sixteen bits


def test_the_identity_map_is_exact_in_sixteen_bits() -> None:
    axis = np.linspace(0, 1, LOOKUP, dtype=np.float32)
    cube = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    pixels = np.dstack([every, every.T, every[::-1]])
    np.testing.assert_array_equal(interpolate(cube, pixels), pixels)


def test_both_depths_get_the_same_tone(cat: np.ndarray) -> None:
    tone = fit_tone(small(cat), sepia(small(cat)))
    eight = tone.apply(cat).astype(float)
    deep = tone.apply(cat.astype(np.uint16) * np.uint16(257)) / 257
    assert np.abs(eight - deep).max() <= 0.6


@pytest.mark.parametrize("mode", MODES)
def test_both_depths_get_the_same_edit(cat: np.ndarray, mode: Mode) -> None:
    source = small(cat)
    edit = sepia(source)
    edit[80:100, 20:50] = (20, 200, 40)
    eight, ran = composite(cat, source, edit, mode)
    deep, ran_deep = composite(cat.astype(np.uint16) * np.uint16(257), source, edit, mode)
    assert ran == ran_deep and deep.dtype == np.uint16
    assert np.abs(eight - deep / 257).max() <= 1.1


def test_sixteen_bits_keep_their_fine_steps() -> None:
    """A gradient of 4096 steps made warmer has far more than 256 colours."""
    ramp = np.linspace(0, 65535, 4096).astype(np.uint16)[None, :, None].repeat(64, 0).repeat(3, 2)
    source = small(ramp)
    image, ran = composite(ramp, source, np.clip(source * np.array([1.1, 1, 0.8], np.float32), 0, 255))
    assert ran == "tone"
    assert len(np.unique(image[0, :, 2])) > 3000


# Neither shifted nor scaled


def test_the_measure_of_alignment_sees_shifts_and_scales(cat: np.ndarray) -> None:
    assert np.abs(shift(np.roll(cat, (1, -2), (0, 1)), cat) - (1, -2)).max() < 0.1
    wider = np.asarray(Image.fromarray(cat).resize((451, 300), Image.Resampling.BICUBIC, box=(0, 0, 449.6, 299)))
    moved, grown = shift_and_scale(wider, cat)
    assert 0.6 < moved < 1.2 and 0.002 < grown < 0.005
    assert shift_and_scale(cat, cat) == (0, 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_an_edit_neither_shifts_nor_scales(path: Path, mode: Mode) -> None:
    """Darker by a fifth, so that every mode has something to do; also where the photo is no multiple of anything."""
    photo = read_photo(path).pixels[3:, 5:]
    source = small(photo)
    image, ran = composite(photo, source, source * np.float32(0.8), mode)
    assert image.shape == photo.shape and ran == ("tone" if mode == "auto" else mode)
    moved, grown = shift_and_scale(image, photo)
    assert moved <= 0.5 and grown <= 0.001


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_no_edit_is_the_photo_itself_in_sixteen_bits(path: Path) -> None:
    photo = deepened(read_photo(path).pixels)
    image, ran = composite(photo, small(photo), small(photo) + np.float32(0.4))
    assert ran == "unchanged" and image is photo


# Sharpness


@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_tones_keep_the_sharpness_of_real_photos(path: Path, deep: bool) -> None:
    eight = read_photo(path).pixels
    photo = deepened(eight) if deep else eight
    source = small(photo)
    for edit in (sepia, lambda levels: 255 - levels.astype(np.float32)):
        image, ran = composite(photo, source, edit(source))
        truth = edit(photo / (257.0 if deep else 1.0)) * (257 if deep else 1)
        assert ran == "tone"
        assert abs(sharpness(image) / sharpness(np.floor(truth + 0.5).astype(photo.dtype)) - 1) < 0.05


def test_twenty_four_megapixels_stay_sharp() -> None:
    """A 6000 x 4000 photo of real texture with grain of one pixel, made sepia from 128 x 128."""
    tile = read_photo(PHOTOS[1]).pixels[:400, :600]
    grain = np.random.default_rng(5).integers(-6, 7, (400, 600, 1))
    tile = np.clip(tile.astype(np.int16) + grain, 0, 255).astype(np.uint8)
    photo = np.tile(tile, (10, 10, 1))
    source = small(tile)
    image, ran = composite(photo, np.tile(source, (2, 2, 1)), np.tile(sepia(source), (2, 2, 1)))
    assert ran == "tone" and image.shape == (4000, 6000, 3)
    truth = np.floor(sepia(tile) + 0.5).astype(np.uint8)
    assert abs(sharpness(image[1200:1600, 3000:3600]) / sharpness(truth) - 1) < 0.05
    np.testing.assert_array_equal(image[:400, :600], image[-400:, -600:])


# From nearer


def scene(side: int, dot: str = "") -> np.ndarray:
    """A soft ground, and a small "striped" or "plain" dot on it."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    picture = np.stack([120 + 60 * x, 150 + 40 * y, 140 - 50 * x * y], -1)
    if dot:
        cover = np.clip((0.06 - np.hypot(x - 0.7, y - 0.3)) * side + 0.5, 0, 1)[..., None]
        paint = np.where(np.sin(x * 400) > 0, 230, 30) if dot == "striped" else 30 + 100 * y
        picture = picture * (1 - cover) + paint[..., None] * cover
    return np.floor(picture + 0.5).astype(np.uint8)


def test_a_change_painted_from_nearer_has_its_detail() -> None:
    photo, truth = scene(1024), scene(1024, "striped")
    far = choose(small(photo), small(truth))
    assert far.ran == "local"
    changed, whole = far.box((1024, 1024)), (0, 0, 1024, 1024)
    window = closer_window(changed, whole, (1024, 1024), NANO)
    assert window is not None
    left, top, right, bottom = window
    cut = np.s_[top:bottom, left:right]
    near = choose(small(photo[cut]), small(truth[cut]), "local")
    limits = bounds_of_change(far, None, changed, whole, window)
    image = photo.copy()
    image[cut] = near.apply(photo[cut], limits)
    place = np.s_[240:380, 650:790]
    errors = [np.abs(one[place].astype(float) - truth[place]).mean() for one in (far.apply(photo), image)]
    assert errors[1] < 0.75 * errors[0]
    outside = np.ones((1024, 1024), np.bool_)
    outside[changed[1] : changed[3], changed[0] : changed[2]] = False
    np.testing.assert_array_equal(image[outside], photo[outside])


def test_a_closeup_of_something_else_is_told() -> None:
    photo, truth = scene(512), scene(512, "plain")
    change = small(truth) - small(photo)
    window = (256, 51, 461, 256)
    cut = (truth.astype(np.float32) - photo)[51:256, 256:461]
    whole = (0, 0, 512, 512)
    assert agrees(cut, window, change, whole)
    assert agrees(cut * np.float32(0.8), window, change, whole)
    assert not agrees(np.zeros_like(cut), window, change, whole)
    assert not agrees(-cut, window, change, whole)
    assert not agrees(np.roll(cut, 40, axis=1), window, change, whole)


def test_nothing_to_gain_from_nearer() -> None:
    assert closer_window((0, 0, 0, 0), (0, 0, 1000, 1000), (1000, 1000), NANO) is None
    assert closer_window((100, 100, 800, 900), (0, 0, 1000, 1000), (1000, 1000), NANO) is None
    nearer = closer_window((100, 100, 200, 200), (0, 0, 1000, 1000), (1000, 1000), NANO)
    assert nearer == context_window((1000, 1000), (100, 100, 200, 200), NANO)
    assert closer_window((100, 100, 200, 200), nearer, (1000, 1000), NANO) is None
    assert painter_frame((nearer[2] - nearer[0], nearer[3] - nearer[1]), NANO, "whole").size == (128, 128)
