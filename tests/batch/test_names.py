"""Every photo has a result of its own, inside the folder of results."""

import unicodedata
from pathlib import PurePosixPath
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimrt.batch.find import PHOTOS
from dimrt.batch.names import folded, name_outputs
from dimrt.photo.write import FORMATS

STEMS = st.sampled_from(
    ["a", "A", "b", "a.heic", "a~2", "a.jpg", "caf\u00e9", "cafe\u0301", "CAF\u00c9", "stra\u00dfe", ".b"]
)
SUFFIXES = st.sampled_from([*sorted(PHOTOS)[::2], ".JPG", ".Heic", ".jpg", ".png"])
FOLDERS = st.lists(st.sampled_from(["x", "X", "y", "a.jpg", "a.png"]), max_size=2)
PATHS = st.builds(lambda folders, stem, suffix: "/".join([*folders, stem + suffix]), FOLDERS, STEMS, SUFFIXES)
TREES = st.lists(PATHS, unique=True, max_size=12)


@given(TREES, st.sampled_from([None, *FORMATS]))
def test_no_two_photos_share_a_result_on_any_disk(photos: list[str], suffix: str | None) -> None:
    outputs = name_outputs(photos, suffix)
    assert list(outputs) == photos
    assert len({folded(output) for output in outputs.values()}) == len(photos)


@given(TREES, st.sampled_from([None, *FORMATS]))
def test_results_mirror_the_tree_and_can_be_written(photos: list[str], suffix: str | None) -> None:
    for photo, output in name_outputs(photos, suffix).items():
        assert PurePosixPath(output).parent == PurePosixPath(photo).parent
        assert ".." not in PurePosixPath(output).parts
        kind = FORMATS[PurePosixPath(output).suffix.lower()]
        assert suffix is None or kind == FORMATS[suffix]


@given(TREES)
def test_no_result_has_the_name_of_a_folder(photos: list[str]) -> None:
    outputs = name_outputs(photos)
    folders = {folded(str(parent)) for photo in photos for parent in PurePosixPath(photo).parents}
    assert not folders & {folded(output) for output in outputs.values()}


@given(TREES, st.randoms())
def test_names_depend_on_the_set_of_photos_alone(photos: list[str], random: Random) -> None:
    shuffled = random.sample(photos, len(photos))
    assert name_outputs(shuffled) == name_outputs(photos)


@pytest.mark.parametrize(
    ("photos", "suffix", "outputs"),
    [
        (["a.jpg", "d/b.JPEG"], None, ["a.jpg", "d/b.JPEG"]),
        (["a.bmp", "b.jp2", "c.gif"], None, ["a.png", "b.jpg", "c.png"]),
        (["a.jpeg", "b.png"], ".jpg", ["a.jpeg", "b.jpg"]),
        (["a.heic", "a.jpg"], ".jpg", ["a.heic.jpg", "a.jpg"]),
        (["a.bmp", "a.ppm"], None, ["a.png", "a.ppm.png"]),
        (["a.bmp", "a.bmp.png", "a.png"], None, ["a~2.png", "a.bmp.png", "a.png"]),
        (["A.jpg", "a.jpg"], None, ["A.jpg", "a~2.jpg"]),
        (["X/a.jpg", "x/A.jpg"], None, ["X/a.jpg", "x/A~2.jpg"]),
    ],
)
def test_names_as_documented(photos: list[str], suffix: str | None, outputs: list[str]) -> None:
    assert list(name_outputs(photos, suffix).values()) == outputs


def test_composed_and_decomposed_accents_are_one_name() -> None:
    composed, decomposed = "caf\u00e9.jpg", unicodedata.normalize("NFD", "caf\u00e9.jpg")
    outputs = name_outputs([composed, decomposed])
    assert sorted(outputs.values()) != sorted([composed, decomposed])
    assert len({folded(output) for output in outputs.values()}) == 2
