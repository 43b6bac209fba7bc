"""`dimrt edit` in a mask or a region: what is edited, what stays, what is said and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from cli_harness import Dimrt, left_in
from PIL import Image

ONCE = ("--no-plan", "--steps", 1)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out" / "edited.png"


@pytest.fixture
def mask(tmp_path: Path, out: Path) -> Path:
    """White on the right third of a 451 x 300 photo."""
    out.parent.mkdir()
    picture = np.zeros((300, 451), np.uint8)
    picture[:, 300:] = 255
    Image.fromarray(picture).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


def test_a_mask_keeps_the_rest_exactly_and_says_how_it_was_read(
    dimrt: Dimrt, photo: Path, mask: Path, out: Path, tiny_edit_bundle: Path
) -> None:
    outcome = dimrt("edit", photo, "warmer", "-o", out, "--bundle", tiny_edit_bundle, *ONCE, "--mask", mask)
    assert outcome.code == 0, outcome.err
    assert "mask: its white part is edited" in outcome.err
    before, after = pixels(photo), pixels(out)
    np.testing.assert_array_equal(after[:, :300], before[:, :300])
    assert (after[:, 340:] != before[:, 340:]).any()


def test_a_transparent_mask(dimrt: Dimrt, photo: Path, mask: Path, out: Path, tiny_edit_bundle: Path) -> None:
    image = Image.open(mask)
    clear = Image.new("RGBA", image.size, "white")
    clear.putalpha(Image.fromarray(255 - np.asarray(image)))
    clear.save(mask)
    given = ("--bundle", tiny_edit_bundle, *ONCE, "--mask", mask, "--feather", 0)
    outcome = dimrt("edit", photo, "warmer", "-o", out, *given)
    assert outcome.code == 0, outcome.err
    assert "mask: its transparent part is edited" in outcome.err
    np.testing.assert_array_equal(pixels(out)[:, :300], pixels(photo)[:, :300])


def test_a_region_in_percent_as_json(dimrt: Dimrt, photo: Path, mask: Path, out: Path, tiny_edit_bundle: Path) -> None:
    given = ("--bundle", tiny_edit_bundle, *ONCE, "--region", "0,0,50%,100%", "--composite", "painted", "--json")
    document = dimrt("edit", photo, "warmer", "-o", out, *given).document
    assert document["region"] == [0, 0, 226, 300] and document["composite"] == "painted"
    x, y, width, height = document["window"]
    assert x == y == 0 and width >= 226 and height == 300
    assert 0.1 < document["painted_scale"] < 1 and document["closeup"] is False
    np.testing.assert_array_equal(pixels(out)[:, 226:], pixels(photo)[:, 226:])


def test_the_resolution_of_what_was_painted_is_said(
    dimrt: Dimrt, photo: Path, mask: Path, out: Path, tiny_edit_bundle: Path
) -> None:
    given = ("--bundle", tiny_edit_bundle, *ONCE, "--composite", "painted")
    outcome = dimrt("edit", photo, "warmer", "-o", out, *given)
    assert outcome.code == 0, outcome.err
    assert "for 451 x 300 pixels of the photo at 0,0" in outcome.err and "% of its resolution" in outcome.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--region", "400,0,100,50"), "leaves the photo, which is 451 x 300"),
        (("--region", "here"), "four numbers"),
        (("--feather", 3), "feather"),
        (("--region", "0,0,9,9", "--composite", "none"), "composite 'none'"),
        (("--mask", "none.png"), "none.png: no such file"),
    ],
)
def test_bad_places_are_refused(
    dimrt: Dimrt, photo: Path, mask: Path, out: Path, tiny_edit_bundle: Path, given: tuple[object, ...], said: str
) -> None:
    outcome = dimrt("edit", photo, "warmer", "-o", out, "--bundle", tiny_edit_bundle, *ONCE, *given)
    assert outcome.code == 2
    assert said in outcome.err and "Traceback" not in outcome.err
    assert left_in(out.parent) == []


def test_a_mask_of_another_size_is_refused(
    dimrt: Dimrt, photo: Path, mask: Path, out: Path, tiny_edit_bundle: Path
) -> None:
    Image.open(mask).resize((200, 100)).save(mask)
    outcome = dimrt("edit", photo, "warmer", "-o", out, "--bundle", tiny_edit_bundle, *ONCE, "--mask", mask)
    assert outcome.code == 2
    assert "mask.png is 200 x 100 and the photo is 451 x 300" in outcome.err
    assert left_in(out.parent) == []
