"""The designer's picture route against the original's preprocessing."""

import json
from pathlib import Path

import numpy as np
import pytest
from facts import VISION
from numpy.typing import NDArray
from PIL import Image

from dimrt.errors import InputError
from dimrt.vision import MASKED, VisionInput, condition_size, fit_size, prepare, window_order

PICTURES = ("syn_640x427", "syn_1333x2000", "syn_77x300", "syn_rgba_201x120", "syn_gray_90x64")
LIMIT = 1e-5


def raster(prepared: VisionInput) -> NDArray[np.float32]:
    """The patches back in the image processor's order, padding left out."""
    source, _ = window_order(prepared.grid, VISION)
    patches = np.empty((prepared.grid[0] * prepared.grid[1], prepared.patches.shape[1]), np.float32)
    patches[source[source >= 0]] = prepared.patches[source >= 0]
    return patches


def test_rounding_rule(reference: Path) -> None:
    sizes = json.loads((reference / "preprocess.json").read_text())["_smart_resize_hw_factor28"]
    assert len(sizes) > 30
    for case, (height, width) in sizes.items():
        rows, columns = map(int, case.split("x"))
        assert fit_size(columns, rows, VISION) == (width, height), case


def test_1024_becomes_1036() -> None:
    assert condition_size(VISION) == (1036, 1036)


def test_too_long_a_picture_is_refused() -> None:
    fit_size(20, 4000, VISION)
    with pytest.raises(InputError, match="20 x 4001"):
        fit_size(20, 4001, VISION)


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("route", ["forced128", "forced1024", "native"])
def test_patches_are_the_originals(reference: Path, name: str, route: str) -> None:
    with Image.open(reference / "images" / f"{name}.png") as image:
        alpha = np.asarray(image.getchannel("A")) if image.mode == "RGBA" else None
        pixels = np.asarray(image.convert("RGB"))
    side = {"forced128": (128, 128), "forced1024": (1024, 1024), "native": (pixels.shape[1], pixels.shape[0])}[route]
    patches = raster(prepare(pixels, VISION, fit_size(*side, VISION), alpha))
    with np.load(reference / "preprocess.npz") as expected:
        key = f"{name}.{route}"
        assert np.abs(patches.reshape(-1)[:64] - expected[f"{key}.first64"]).max() < LIMIT
        statistics = [patches.mean(dtype=np.float64), patches.std(dtype=np.float64), patches.min(), patches.max()]
        assert np.abs(statistics - expected[f"{key}.stats"]).max() < LIMIT
        if route == "forced1024":
            assert np.abs(patches[2737, :64] - expected[f"{key}.row2737.first64"]).max() < LIMIT
            assert np.abs(patches.reshape(-1)[-64:] - expected[f"{key}.last64"]).max() < LIMIT
        if f"{key}.pixel_values" in expected:
            assert np.abs(patches - expected[f"{key}.pixel_values"]).max() < LIMIT


@pytest.mark.parametrize("case", ["image_a", "image_b"])
def test_windows_are_the_originals(reference: Path, case: str) -> None:
    with np.load(reference / "designer_tiny.npz") as expected:
        pixels = expected[f"{case}.image_uint8"]
        prepared = prepare(pixels, VISION, (pixels.shape[1], pixels.shape[0]))
        source, order = window_order(prepared.grid, VISION)
        listed = source[source >= 0].reshape(-1, 4)
        assert np.array_equal(listed[:, 0] // 4, expected[f"{case}.window_index"])
        assert np.array_equal(listed, listed[:, :1] + np.arange(4))
        filled = (source.reshape(-1, 64) >= 0).sum(axis=1)
        assert np.array_equal(np.cumsum(filled), expected[f"{case}.cu_window_seqlens"][1:])
        assert np.abs(raster(prepared) - expected[f"{case}.pixel_values"]).max() < LIMIT
    assert np.array_equal(source.reshape(-1, 4)[order, 0] // 4, np.arange(len(order)))
    assert np.array_equal(prepared.window_mask.reshape(-1) == MASKED, source < 0)


def test_padding_is_zero_and_at_the_end_of_its_window() -> None:
    prepared = prepare(np.full((140, 196, 3), 90, np.uint8), VISION, (196, 140))
    padding = prepared.window_mask.reshape(-1, 64) == MASKED
    assert padding.any()
    assert np.all(np.diff(padding.astype(int), axis=1) >= 0)
    assert not prepared.patches[padding.reshape(-1)].any()


def test_rotary_angles_turn_with_row_and_column() -> None:
    prepared = prepare(np.zeros((112, 112, 3), np.uint8), VISION, (112, 112))
    first_window = prepared.cos[:64].reshape(16, 2, 2, -1), prepared.sin[:64].reshape(16, 2, 2, -1)
    assert np.allclose(prepared.cos**2 + prepared.sin**2, 1, atol=1e-6)
    quarter = VISION.head_dim // 4
    assert np.allclose(first_window[1][0, :, 0, 0], np.sin([0, 1]))
    assert np.allclose(first_window[1][0, 0, :, quarter], np.sin([0, 1]))
    assert np.allclose(first_window[1][5, 0, 0, [0, quarter]], np.sin([2, 2]))
