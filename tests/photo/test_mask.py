"""Masks and regions as users give them: what is read as the part to edit, and what is refused."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dimrt.errors import InputError
from dimrt.photo.mask import BY_ALPHA, BY_WHITE, Mask, parse_region, read_mask, region_box

SIZE = 40, 30


def half(white: int = 255) -> np.ndarray:
    """Black on the left, `white` on the right."""
    picture = np.zeros((30, 40), np.uint8)
    picture[:, 20:] = white
    return picture


def as_png(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def test_white_is_edited_where_there_is_no_transparency(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(half()).save(path)
    for source in (path, str(path), path.read_bytes(), Image.open(path), half(), np.dstack([half()] * 3)):
        mask = read_mask(source, SIZE)
        np.testing.assert_array_equal(mask.share, half())
        assert mask.reading == BY_WHITE and "white" in mask.reading


def test_transparent_is_edited_where_there_is_some() -> None:
    """As in OpenAI's API: the colours say nothing then."""
    image = Image.new("RGBA", SIZE, "white")
    image.putalpha(Image.fromarray(255 - half(155)))
    for source in (image, as_png(image), np.asarray(image)):
        mask = read_mask(source, SIZE)
        np.testing.assert_array_equal(mask.share, half(155))
        assert mask.reading == BY_ALPHA and "transparent" in mask.reading


def test_an_opaque_alpha_channel_says_nothing() -> None:
    image = Image.fromarray(half()).convert("RGBA")
    mask = read_mask(as_png(image), SIZE)
    np.testing.assert_array_equal(mask.share, half())
    assert mask.reading == BY_WHITE


def test_greys_are_partial_shares() -> None:
    grey = np.linspace(0, 255, 40).round().astype(np.uint8)[None].repeat(30, 0)
    np.testing.assert_array_equal(read_mask(as_png(Image.fromarray(grey)), SIZE).share, grey)


def test_arrays_of_truth_and_of_ones_mark_fully() -> None:
    for source in (half() > 0, half(1), half(1)[..., None], half(1) > 0):
        np.testing.assert_array_equal(read_mask(source, SIZE).share, half())


def test_sixteen_bits() -> None:
    deep = half().astype(np.uint16) * 257
    np.testing.assert_array_equal(read_mask(np.dstack([deep] * 3), SIZE).share, half())


def test_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    turned = Image.fromarray(half()).transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "mask.png", exif=exif)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", SIZE).share, half())


def test_another_size_is_refused_with_both_sizes_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(half()).save(path)
    with pytest.raises(InputError, match=r"mask\.png is 40 x 30 and the photo is 80 x 60; .*exactly the photo's size"):
        read_mask(path, (80, 60))
    with pytest.raises(InputError, match=r"lies on its side.*upright"):
        read_mask(half(), (30, 40))


def test_a_mask_that_marks_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"nothing to edit.*black everywhere.*white or transparent"):
        read_mask(np.zeros((30, 40), np.uint8), SIZE)


def test_a_full_mask_is_one() -> None:
    assert read_mask(np.ones((30, 40), np.bool_), SIZE).share.min() == 255


def test_what_is_no_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_mask(tmp_path / "none.png", SIZE)
    with pytest.raises(InputError, match="float64"):
        read_mask(np.zeros((30, 40)), SIZE)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match="not an image"):
        read_mask(tmp_path / "text.png", SIZE)


def test_masks_are_equal_by_what_they_mark() -> None:
    assert Mask(half()) == Mask(half()) and hash(Mask(half())) == hash(Mask(half()))
    assert Mask(half()) != Mask(half(1)) and Mask(half()) != "mask"
    assert read_mask(Mask(half()), SIZE).share is not None


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("0,0,40,30", (0, 0, 40, 30)),
        (" 5, 6 ,7,8", (5, 6, 7, 8)),
        ("50%,0,50%,100%", (20, 0, 20, 30)),
        ("33.3%,0%,33.4%,50%", (13, 0, 14, 15)),
        ("39,29,1,1", (39, 29, 1, 1)),
    ],
)
def test_regions_in_pixels_and_percent(text: str, region: tuple[int, ...]) -> None:
    assert parse_region(text, SIZE) == region


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2,3", "four numbers"),
        ("a,b,c,d", "four numbers"),
        ("1,2,3,4,5", "four numbers"),
        ("-1,0,5,5", "four numbers"),
        ("1.5,0,5,5", "four numbers"),
        ("", "four numbers"),
        ("0,0,0,5", "empty"),
        ("0,0,0.1%,5", "empty"),
        ("30,0,11,5", "leaves the photo, which is 40 x 30"),
        ("0,50%,10,60%", "leaves the photo"),
        ("inf,0,1,1", "four numbers"),
        ("9" * 400 + ",0,1,1", "four numbers"),
        ("999999999,0,1,1", "leaves the photo"),
    ],
)
def test_bad_regions_are_named(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_region(text, SIZE)


@given(st.text(max_size=30))
def test_no_text_breaks_the_reading_of_a_region(text: str) -> None:
    try:
        x, y, width, height = parse_region(text, SIZE)
    except InputError:
        return
    assert 0 <= x < x + width <= SIZE[0] and 0 <= y < y + height <= SIZE[1]


@given(st.integers(1, 9999), st.integers(1, 9999), st.integers(1, 99))
def test_neighbouring_percentages_meet(width: int, height: int, split: int) -> None:
    """No pixel between two regions that share an edge, and none in both."""
    if round(width * split / 100) in (0, width):
        return
    left = parse_region(f"0,0,{split}%,100%", (width, height))
    right = parse_region(f"{split}%,0,{100 - split}%,100%", (width, height))
    assert left[2] == right[0] and right[0] + right[2] == width and left[3] == height


def test_a_region_becomes_a_box() -> None:
    assert region_box((3, 4, 5, 6), SIZE) == (3, 4, 8, 10)
