"""The composite's measurement with an autoencoder that loses nothing."""

import json
from types import SimpleNamespace

import numpy as np
import photo_transfer
import pytest

from dimrt.manifest import Resolution
from dimrt.photo.fit import painter_frame, to_painter
from dimrt.photo.read import Photo, read_photo

RESOLUTION = Resolution(side=128, multiple=16, latent_factor=8, aspect="square")


def lossless():
    """An editor whose latent is the small picture itself."""

    def encode(picture):
        photo = picture if isinstance(picture, Photo) else read_photo(picture)
        return to_painter(photo, painter_frame(photo.size, RESOLUTION, "whole"))

    manifest = SimpleNamespace(resolution=RESOLUTION, name="lossless")
    return SimpleNamespace(
        encode=encode, decode=lambda latent: latent, bundle=SimpleNamespace(manifest=manifest, digest="0")
    )


@pytest.fixture(scope="module")
def rows():
    photos = [photo_transfer.PHOTOS / "chelsea.jpg"]
    return photo_transfer.measure(lossless(), photos, ["sepia", "vignette", "blur"])


def test_the_automatic_choice_is_the_right_one_for_each_kind_of_edit(rows):
    assert {name: row["ran"] for name, row in rows.items()} == {
        "sepia": ["tone"],
        "vignette": ["local"],
        "blur": ["painted"],
    }
    for row in rows.values():
        assert row["ran_noisy"] == row["ran"]
        assert row["auto"] > 34 and row["goal_met"] and row["auto"] > row["source"] + 8
        assert row["auto_noisy"] > photo_transfer.GOAL
        assert row["lost_to_best_mode"] == 0


def test_the_table_has_every_filter(rows):
    shown = photo_transfer.table(json.loads(json.dumps(rows)))
    assert all(name in shown for name in ("sepia", "vignette", "blur", "auto took", "painted"))


def test_noise_has_the_pictures_shape():
    noise = photo_transfer.noise((50, 41, 3), 0)
    assert noise.shape == (50, 41, 3) and 7 < noise.std() < 13
    assert np.array_equal(noise, photo_transfer.noise((50, 41, 3), 0))
