"""Carrying the change to full size: as sharp as the photo, exact where nothing changed."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image, ImageFilter
from threadpoolctl import threadpool_info, threadpool_limits

from dimrt.photo import tone
from dimrt.photo.blas import one_thread
from dimrt.photo.composite import composite
from dimrt.photo.local import changed_region
from dimrt.photo.planes import box_mean, enlarge
from dimrt.photo.read import read_photo
from dimrt.photo.tone import LOOKUP, Tone, fit_tone

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
EDITS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float, float]] = {
    # Edit on float levels; least PSNR in dB from an exact small edit and from one with the painter's noise.
    "grayscale": (lambda p: np.repeat((p @ LUMA)[..., None], 3, -1), 54, 36),
    "sepia": (lambda p: (p @ LUMA)[..., None] * [1.07, 0.86, 0.62] + [16, 10, 4], 54, 36),
    "warm": (lambda p: p * [1.12, 1.0, 0.75] + [12, 4, 0], 52, 36),
    "cool": (lambda p: p * [0.75, 0.98, 1.12] + [0, 2, 14], 52, 36),
    "vivid": (lambda p: (p @ LUMA)[..., None] * -0.8 + p * 1.8, 46, 34),
    "faded": (lambda p: p * 0.35 + (p @ LUMA)[..., None] * 0.35 + 60, 54, 36),
    "contrast": (lambda p: (p - 128) * 1.6 + 128, 42, 33),
    "night": (lambda p: (p * 0.35 + (p @ LUMA)[..., None] * 0.15) * [0.7, 0.85, 1.5], 54, 36),
    "brighten": (lambda p: 255 * (p / 255) ** 0.6, 40, 34),
    "darken": (lambda p: 255 * (p / 255) ** 1.7, 40, 34),
    "negative": (lambda p: 255 - p, 54, 36),
}


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A real photograph, uint8 [512, 512, 3]."""
    path = Path(__file__).parents[2] / "export" / "nano" / "photos" / "astronaut.jpg"
    return np.asarray(Image.fromarray(read_photo(path).pixels).resize((512, 512), Image.Resampling.LANCZOS))


def small(picture: np.ndarray, side: int = 128) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR)).astype(np.float32)


def edited(name: str, picture: np.ndarray) -> np.ndarray:
    return np.clip(EDITS[name][0](picture.astype(np.float32)), 0, 255).astype(np.float32)


def painter_noise(seed: int = 0) -> np.ndarray:
    """Uneven patches of 16 pixels and grain, in levels, about what a small painter leaves."""
    random = np.random.default_rng(seed)
    patches = random.normal(0, 8, (8, 8, 3)).repeat(16, 0).repeat(16, 1)
    return patches + random.normal(0, 6, (128, 128, 3))


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(((picture - truth) ** 2).mean() / 255**2 + 1e-12))


def sharpness(picture: np.ndarray) -> float:
    levels = picture.astype(np.float64)
    return float((np.diff(levels, axis=0) ** 2).mean() + (np.diff(levels, axis=1) ** 2).mean())


@pytest.mark.parametrize("name", EDITS)
def test_tones_are_true_and_sharp_at_full_size(photo: np.ndarray, name: str) -> None:
    truth, source = edited(name, photo), small(photo)
    image, ran = composite(photo, source, edited(name, source))
    assert ran == "tone"
    assert psnr(image, truth) > EDITS[name][1]
    assert abs(sharpness(image) / sharpness(truth) - 1) < 0.05


@pytest.mark.parametrize("name", EDITS)
def test_tones_survive_the_painters_noise(photo: np.ndarray, name: str) -> None:
    truth, source = edited(name, photo), small(photo)
    noisy = np.clip(edited(name, source) + painter_noise(), 0, 255)
    image, ran = composite(photo, source, noisy, "tone")
    assert ran == "tone"
    assert psnr(image, truth) > EDITS[name][2]
    assert abs(sharpness(image) / sharpness(truth) - 1) < 0.1


def scene(side: int, objects: str) -> np.ndarray:
    """A gently shaded ground with fine texture and the named objects, sampled exactly at any size."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    picture = np.stack([150 + 40 * x, 170 + 20 * y, 120 + 30 * x * y], -1)
    for name in objects.split():
        colour, where = SHAPES[name]
        cover = np.clip(where(x, y) * side + 0.5, 0, 1)[..., None]
        picture = picture * (1 - cover) + np.array(colour) * cover
    return np.floor(picture + 0.5).astype(np.uint8)


SHAPES: dict[str, tuple[tuple[int, int, int], Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "red": ((210, 40, 40), lambda x, y: 0.12 - np.hypot(x - 0.3, y - 0.35)),
    "blue": ((40, 80, 220), lambda x, y: 0.12 - np.hypot(x - 0.3, y - 0.35)),
    "red-square": ((210, 40, 40), lambda x, y: 0.1 - np.maximum(abs(x - 0.75), abs(y - 0.7))),
    "black": ((20, 20, 25), lambda x, y: 0.08 - abs(x - 0.75) - abs(y - 0.2)),
}
GRAIN = np.random.default_rng(1).integers(-3, 4, (512, 512, 1))


def grained(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture.astype(int) + GRAIN, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("before", "after", "least"),
    [
        ("red red-square black", "red-square black", 44),
        ("red red-square black", "blue red-square black", 42),
        ("red-square black", "red red-square black", 32),
    ],
    ids=["remove", "recolour", "add"],
)
def test_object_edits(before: str, after: str, least: float) -> None:
    source, edit = small(scene(512, before)), small(scene(512, after))
    photo, truth = grained(scene(512, before)), grained(scene(512, after))
    image, ran = composite(photo, source, edit)
    assert ran == "local"
    enlarged = np.asarray(Image.fromarray(edit.astype(np.uint8)).resize((512, 512), Image.Resampling.BICUBIC))
    assert psnr(image, truth) > max(least, psnr(enlarged, truth) + 1)
    y, x = (np.mgrid[:512, :512] + 0.5) / 512
    far = np.hypot(x - 0.3, y - 0.35) > 0.12 + 0.09
    np.testing.assert_array_equal(image[far], photo[far])


def test_a_removed_object_leaves_no_outline() -> None:
    source, edit = small(scene(512, "red black")), small(scene(512, "black"))
    photo, truth = scene(512, "red black"), scene(512, "black")
    image, _ = composite(photo, source, edit)
    assert np.abs(image.astype(int) - truth).max() <= 8


def test_outside_stays_exact_through_ten_edits(photo: np.ndarray) -> None:
    """A change in one corner, repeated: not one pixel of the other half moves, and the photo isn't shifted."""
    image = photo
    for turn in range(10):
        source = small(image)
        edit = source.copy()
        edit[10:40, 10:40] += 40 if turn % 2 else -40
        image, ran = composite(image, source, np.clip(edit, 0, 255))
        assert ran == "local"
    np.testing.assert_array_equal(image[256:], photo[256:])
    np.testing.assert_array_equal(image[:, 256:], photo[:, 256:])


@pytest.mark.parametrize("mode", ["auto", "tone", "local", "painted"])
def test_no_change_returns_the_photo_itself(photo: np.ndarray, mode: str) -> None:
    source = small(photo)
    for noise in (0, np.random.default_rng(2).normal(0, 1, source.shape)):
        image, ran = composite(photo, source, source + noise, mode)
        assert ran == "unchanged"
        np.testing.assert_array_equal(image, photo)


def test_none_is_the_small_edit(photo: np.ndarray) -> None:
    edit = small(photo) + np.float32(0.5)
    image, ran = composite(photo, small(photo), edit, "none")
    assert ran == "none"
    np.testing.assert_array_equal(image, np.clip(small(photo) + 1, 0, 255).astype(np.uint8))


def test_a_tone_with_one_odd_place_is_mended(photo: np.ndarray) -> None:
    """A darkened photo in which the painter also drew something: both arrive."""
    source = small(photo)
    edit = edited("darken", source)
    edit[80:110, 20:50] = (20, 220, 40)
    image, ran = composite(photo, source, edit)
    assert ran == "tone"
    assert np.abs(image[350:410, 110:170].astype(int).mean((0, 1)) - (20, 220, 40)).max() < 12
    assert psnr(image[:256], edited("darken", photo)[:256]) > 38


def test_other_sizes_and_shapes() -> None:
    photo = np.random.default_rng(3).integers(0, 256, (301, 77, 3), dtype=np.uint8)
    source = np.asarray(Image.fromarray(photo).resize((64, 256), Image.Resampling.BILINEAR))
    for mode in ("auto", "tone", "local"):
        image, _ = composite(photo, source, 255 - source, mode)
        assert image.shape == photo.shape and image.dtype == np.uint8


def test_identity_map_is_exact() -> None:
    axis = np.linspace(0, 1, LOOKUP, dtype=np.float32)
    cube = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    pixels = np.random.default_rng(4).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Tone(cube).apply(pixels), pixels)


def test_colours_that_an_edit_leaves_alone_stay_exact() -> None:
    """Red becomes blue, grays were seen unchanged: grays at full size are untouched."""
    gray = np.linspace(0, 255, 128 * 64)[:, None].repeat(3, 1).reshape(64, 128, 3)
    red = np.broadcast_to([200.0, 30, 30], (64, 128, 3))
    blue = np.broadcast_to([30.0, 30, 200], (64, 128, 3))
    tone = fit_tone(np.concatenate([gray, red]).astype(np.float32), np.concatenate([gray, blue]).astype(np.float32))
    grays = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, 2)
    np.testing.assert_array_equal(tone.apply(grays), grays)
    assert np.abs(tone.apply(np.full((1, 1, 3), (200, 30, 30), np.uint8)).astype(int) - (30, 30, 200)).max() <= 4


def test_region_holds_weak_change_joined_to_strong_and_drops_specks() -> None:
    change = np.zeros((128, 128, 3), np.float32)
    change[40:60, 40:60] = 60
    change[60:80, 40:60] = 12
    change[100, 100] = 60
    change[10:14, 100:104] = 12
    region = changed_region(change)
    assert (region[40:80, 40:60] == 1).all()
    assert (region[94:] == 0).all() and (region[:30] == 0).all() and (region[:, :25] == 0).all()
    assert ((region >= 0) & (region <= 1)).all()


def test_parts_of_an_enlargement_join_without_a_seam() -> None:
    planes = np.random.default_rng(5).random((37, 53, 2)).astype(np.float32)
    whole = enlarge(planes, (400, 300), (0, 0, 400, 300))
    parts = [enlarge(planes, (400, 300), (0, top, 400, top + 60)) for top in range(0, 300, 60)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)


def test_box_mean_against_a_plain_loop() -> None:
    plane = np.random.default_rng(6).random((9, 7)).astype(np.float32)
    expected = [[plane[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].mean() for x in range(7)] for y in range(9)]
    np.testing.assert_allclose(box_mean(plane, 2), expected, rtol=1e-5)


def blurred(picture: np.ndarray) -> np.ndarray:
    """A Gaussian blur of 2 % of the side."""
    levels = Image.fromarray(np.clip(picture + 0.5, 0, 255).astype(np.uint8))
    return np.asarray(levels.filter(ImageFilter.GaussianBlur(0.02 * levels.width))).astype(np.float32)


def darkened_corners(picture: np.ndarray) -> np.ndarray:
    y, x = ((np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5) / picture.shape[0] * 2 - 1) ** 2
    return np.asarray(picture * (1 - 0.375 * (x + y))[..., None], np.float32)


def far_grain(photo: np.ndarray) -> np.ndarray:
    """The photo with grain that no small picture shows."""
    return np.clip(photo + np.random.default_rng(7).normal(0, 10, photo.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("noisy", [False, True])
def test_a_blur_takes_the_detail_of_the_full_size_photo_away(photo: np.ndarray, noisy: bool) -> None:
    photo = far_grain(photo)
    truth, source = blurred(photo), small(photo)
    edit = blurred(source) + (painter_noise() if noisy else 0)
    image, ran = composite(photo, source, np.clip(edit, 0, 255))
    assert ran == "painted"
    by_region, _ = composite(photo, source, np.clip(edit, 0, 255), "local")
    assert psnr(image, truth) > psnr(by_region, truth)
    assert psnr(image, truth) > (28 if noisy else 33)
    assert sharpness(image) < 0.1 * sharpness(photo)


def test_a_blur_is_seen_by_the_finest_detail_that_there_is() -> None:
    """A large painter's picture of soft blobs: nothing happens within five pixels, but the blobs go."""
    blobs = np.random.default_rng(8).normal(128, 30, (96, 96, 3)).clip(0, 255).astype(np.uint8)
    photo = np.asarray(Image.fromarray(blobs).resize((1024, 1024), Image.Resampling.BICUBIC))
    source = small(photo, 768)
    edit = np.asarray(Image.fromarray(source.astype(np.uint8)).filter(ImageFilter.GaussianBlur(14))).astype(np.float32)
    assert composite(photo, source, edit)[1] == "painted"
    assert composite(photo, source, edited("warm", source))[1] == "tone"


@pytest.mark.parametrize("noisy", [False, True])
def test_an_edit_that_depends_on_the_place_stays_sharp(photo: np.ndarray, noisy: bool) -> None:
    truth, source = darkened_corners(photo), small(photo)
    edit = darkened_corners(source) + (painter_noise() if noisy else 0)
    image, ran = composite(photo, source, np.clip(edit, 0, 255))
    assert ran == "local"
    assert psnr(image, truth) > (28 if noisy else 38)
    assert abs(sharpness(image) / sharpness(truth) - 1) < 0.15


def test_a_blur_of_one_half_leaves_the_other_half_exact(photo: np.ndarray) -> None:
    source = small(photo)
    edit = source.copy()
    edit[:, :64] = blurred(source)[:, :64]
    image, ran = composite(photo, source, edit)
    assert ran == "local"
    np.testing.assert_array_equal(image[:, 330:], photo[:, 330:])


def test_the_painted_picture_enlarged_when_asked(photo: np.ndarray) -> None:
    edit = edited("negative", small(photo))
    image, ran = composite(photo, small(photo), edit, "painted")
    assert ran == "painted" and image.shape == photo.shape and image.dtype == np.uint8
    assert psnr(small(image), edit) > 25
    assert abs(float(image.mean()) - float(edit.mean())) < 0.5
    tall, _ = composite(photo[:, :300], small(photo), edit, "painted")
    assert tall.shape == (512, 300, 3)


def test_equations_of_the_colour_map_solved_in_blocks() -> None:
    random = np.random.default_rng(3)
    colours = random.random((3000, 3)) * (1.0, 0.6, 0.3)
    cells, shares = tone._cells(colours)
    order = np.argsort(cells)
    cells, shares, weights, target = cells[order], shares[order], random.random(3000), random.random((3000, 3))
    matrix, right = tone._normal_equations(tone._groups(cells), shares, weights, target)
    plain = np.zeros((len(colours), tone.NODES**3))
    np.put_along_axis(plain, cells[:, None] + tone.OFFSETS, shares, axis=1)
    assert np.allclose(matrix, plain.T @ (plain * weights[:, None]), atol=1e-12)
    assert np.allclose(right, plain.T @ (target * weights[:, None]), atol=1e-12)
    matrix += tone._penalty()
    assert np.allclose(tone._solve(matrix, right), np.linalg.solve(matrix, right), atol=1e-9)


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_small_products_take_one_thread_and_give_the_others_back() -> None:
    with threadpool_limits(2, "blas"):
        found = []

        @one_thread()
        def small() -> None:
            found.append(blas_threads())

        small()
        thread = Thread(target=small)  # another thread's limits are its own business: it must not leave any behind
        with one_thread():
            thread.start()
            thread.join()
        assert set(found[0]) == {1}
        assert set(blas_threads()) == {2}
