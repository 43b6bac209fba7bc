"""Rotary positions of the text decoder against the original's."""

import json
from pathlib import Path

import numpy as np
import pytest
from facts import language, tokens

from dimrt.rope import position_ids, rotary, text_positions


@pytest.mark.parametrize("case", ["image_a", "image_b", "text"])
def test_positions_and_delta(reference: Path, case: str) -> None:
    with np.load(reference / "designer_tiny.npz") as expected:
        special = tokens(json.loads(str(expected["ids"])))
        ids = expected[f"{case}.input_ids"][0]
        grids = [] if case == "text" else [tuple(int(n) // 2 for n in expected[f"{case}.image_grid_thw"][0, 1:])]
        positions, delta = position_ids(ids, special, grids)
        assert np.array_equal(positions, expected[f"{case}.position_ids"][:, 0])
        assert delta == expected[f"{case}.rope_deltas"].item()
    assert np.array_equal(text_positions(len(ids), 2, delta)[0], positions.max() + np.array([1, 2]))


def test_each_section_follows_its_axis(reference: Path) -> None:
    facts = language(reference)
    positions = np.array([[0], [1], [2]])
    cos, sin = rotary(positions, facts)
    assert cos.shape == sin.shape == (1, 1, facts.head_dim // 2)
    frequencies = facts.rope_theta ** (-np.arange(0, facts.head_dim, 2) / facts.head_dim)
    turns = np.repeat([0, 1, 2], facts.mrope_section) * frequencies
    assert np.allclose(cos[0, 0], np.cos(turns), atol=1e-6)
    assert np.allclose(sin[0, 0], np.sin(turns), atol=1e-6)
