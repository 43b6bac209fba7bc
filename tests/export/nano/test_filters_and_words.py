import numpy as np
import pytest
from PIL import Image

from dimrt.export.nano.cases import Mixture, draw_case, generator, style_case
from dimrt.export.nano.filters import FILTERS, apply_filter
from dimrt.export.nano.looks import LOOKS
from dimrt.export.nano.photos import photo_crop, texture, training_photos
from dimrt.export.nano.wordings import word_look


@pytest.fixture(scope="module")
def photo():
    return training_photos()[0]


def saturation(picture):
    return float(np.ptp(picture.astype(float), axis=2).mean())


def test_each_filter_does_what_its_name_says(photo):
    out = {name: apply_filter(name, photo) for name in FILTERS}
    assert (np.ptp(out["grayscale"], axis=2) == 0).all()
    assert (out["negative"] == 255 - photo).all()
    assert out["brighter"].mean() > photo.mean() + 10 and out["darker"].mean() < photo.mean() - 10
    assert out["night"].mean() < photo.mean() * 0.7 and out["night"][..., 2].mean() > out["night"][..., 0].mean()
    assert saturation(out["vivid"]) > saturation(photo) > saturation(out["faded"])
    assert out["contrast"].std() > photo.std() > out["faded"].std()
    tilt = photo[..., 0].mean() - photo[..., 2].mean()
    warm, cool, sepia = (out[name][..., 0].mean() - out[name][..., 2].mean() for name in ("warmer", "cooler", "sepia"))
    assert cool < tilt < warm and sepia > 30


def test_the_vignette_darkens_the_corners_alone_and_the_blur_keeps_the_mean(photo):
    out = {name: apply_filter(name, photo).astype(float) for name in ("vignette", "blur")}
    height, width = photo.shape[:2]
    middle = np.s_[height // 2 - 4 : height // 2 + 4, width // 2 - 4 : width // 2 + 4]
    corner = np.s_[:8, :8]
    assert abs(out["vignette"][middle] - photo[middle]).max() <= 1
    assert out["vignette"][corner].mean() < photo[corner].mean() * 0.4
    assert abs(out["blur"].mean() - photo.mean()) < 2
    assert abs(np.diff(out["blur"], axis=0)).mean() < 0.5 * abs(np.diff(photo.astype(float), axis=0)).mean()


@pytest.mark.parametrize("name", sorted(set(FILTERS) - {"vignette", "blur"}))
def test_colour_filters_are_the_same_at_every_size(photo, name):
    assert np.array_equal(apply_filter(name, photo)[::3, ::3], apply_filter(name, photo[::3, ::3]))


@pytest.mark.parametrize("name", ["vignette", "blur"])
def test_filters_of_the_place_look_alike_at_every_size(photo, name):
    half = np.asarray(Image.fromarray(photo).reduce(2))
    shrunk = np.asarray(Image.fromarray(apply_filter(name, photo)).reduce(2))
    assert abs(shrunk.astype(float) - apply_filter(name, half)).mean() < 1.5


@pytest.mark.parametrize("name", FILTERS)
def test_filters_stay_in_range(name):
    extremes = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]]], np.uint8)
    assert apply_filter(name, extremes).dtype == np.uint8


def test_every_filter_has_words_of_every_form():
    assert set(LOOKS) == set(FILTERS)
    for name, look in LOOKS.items():
        for words in (look.adjectives, look.looks, look.verbs, look.into, look.sentences, look.held_out):
            assert words and all(word.strip() == word and word for word in words), name


@pytest.mark.parametrize("name", FILTERS)
def test_words_vary_and_held_out_ones_are_never_drawn_in_training(name):
    drawn = [word_look(generator("training", 5, index), name) for index in range(300)]
    assert len(set(drawn)) > 100
    assert not set(drawn) & set(LOOKS[name].held_out)
    assert not any("{" in text or "  " in text for text in drawn)
    assert word_look(generator("held-out", 5, 0), name, held_out=True) in LOOKS[name].held_out


def test_no_wording_means_two_edits():
    owner: dict[str, str] = {}
    for name in FILTERS:
        for index in range(300):
            text = word_look(generator("training", 6, index), name).lower()
            assert owner.setdefault(text, name) == name, text


def test_photographs_and_colour_fields_are_training_pictures_of_the_right_size():
    assert len(training_photos()) >= 6
    crops = [photo_crop(generator("training", 7, index)) for index in range(6)]
    fields = [texture(generator("training", 8, index)) for index in range(6)]
    for picture in crops + fields:
        assert picture.shape == (128, 128, 3) and picture.dtype == np.uint8 and picture.std() > 3
    assert all(not np.array_equal(crops[0], crop) for crop in crops[1:])


def test_a_photo_case_says_so_in_its_plan():
    case = style_case(generator("held-out", 1, 0), photo_crop(generator("held-out", 1, 1)), "photo", name="sepia")
    assert (case.plan.layout, case.plan.edit, case.plan.area) == ("a photo", "style sepia", "whole picture")
    assert np.array_equal(case.target, apply_filter("sepia", case.source))


def test_photo_cases_come_with_every_filter():
    mixture = Mixture(photos=1.0, textures=0.0)
    assert {draw_case("training", 1, index, mixture).detail for index in range(120)} == set(FILTERS)
