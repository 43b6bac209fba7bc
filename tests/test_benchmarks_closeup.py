"""The close-ups' measurement with an autoencoder that loses nothing."""

from types import SimpleNamespace

import closeup
import pytest

from dimrt.export.nano.cases import Case
from dimrt.manifest import Resolution
from dimrt.photo.fit import painter_frame, to_painter
from dimrt.photo.read import Photo, read_photo

RESOLUTION = Resolution(side=128, multiple=16, latent_factor=8, aspect="square")


@pytest.fixture(scope="module")
def lossless():
    """An editor whose latent is the small picture itself."""

    def encode(picture):
        photo = picture if isinstance(picture, Photo) else read_photo(picture)
        return to_painter(photo, painter_frame(photo.size, RESOLUTION, "whole"))

    manifest = SimpleNamespace(resolution=RESOLUTION)
    return SimpleNamespace(encode=encode, decode=lambda latent: latent, bundle=SimpleNamespace(manifest=manifest))


@pytest.fixture(scope="module")
def small_shapes() -> list[Case]:
    """Removed shapes that are small: there is a nearer window around them."""
    found = [case for case in closeup.cases(["remove"], 12, 5) if "small" in case.plan.edit]
    return found[:2]


def test_a_perfect_painter_gains_from_nearer(lossless, small_shapes):
    row = closeup.resolution(lossless, small_shapes, 4)
    assert row["cases"] >= 1 and row["of"] == len(small_shapes)
    assert row["near_db"] > row["far_db"] and row["near_better"] == row["cases"]


def test_sides_and_places(small_shapes):
    source, target = closeup.drawn(small_shapes[0], 256)
    assert source.shape == target.shape == (256, 256, 3)
    place = closeup.place_of(source, target)
    assert place[(source != target).any(axis=2)].mean() > 0.95 and place.mean() < 0.3
    perfect, none = closeup.score(target, target, place), closeup.score(source, target, place)
    assert perfect["db"] > 70 > 40 > none["db"] and perfect["energy"] == perfect["true_energy"]


def test_nothing_measured_is_said():
    assert closeup.summary([]) == {"cases": 0}
    half = {"db": 20.0, "energy": 1.0, "true_energy": 2.0}
    full = {"db": 30.0, "energy": 2.0, "true_energy": 2.0}
    row = closeup.summary([{"far": half, "near": full}, {"far": full, "near": half}])
    assert (row["far_db"], row["near_better"], row["worst_gain_db"], row["near_sharpness"]) == (25.0, 1, -10.0, 0.75)
