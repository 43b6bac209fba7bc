"""The speed benchmark's arithmetic, and that both sides of it do the same work."""

import argparse
from pathlib import Path

import precision_speed as speed
import pytest
import torch

from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.model.source import Shallow
from dimrt.export.pipeline import NANO


def test_rounds_take_turns_and_each_variant_is_first_in_some():
    order = []
    variants = {name: lambda name=name: (order.append(name) or 1.0, None) for name in "abc"}
    seconds = speed.rounds(variants, 3)
    assert "".join(order) == "cab" + "abc" + "bca" + "cab"  # the first round isn't counted
    assert seconds == {"a": [1.0] * 3, "b": [1.0] * 3, "c": [1.0] * 3}


def test_ratios_are_of_one_round_and_their_spread_is_kept():
    seconds = {"ort x": [1.0, 2.0, 1.0], "torch fp32": [2.0, 6.0, 8.0], "torch bf16": [1.0, 1.0, 1.0]}
    report = speed.summary(seconds, tokens=10)
    assert report["variants"]["torch fp32"]["median_s"] == 6
    assert report["variants"]["ort x"] == {
        "median_s": 1.0,
        "min_s": 1.0,
        "rounds_s": [1.0, 2.0, 1.0],
        "tokens_per_s_median": 10.0,
        "tokens_per_s_best": 10.0,
    }
    assert report["times_as_fast"] == {
        "ort x against torch fp32": {"median": 3.0, "least": 2.0, "most": 8.0},
        "ort x against torch bf16": {"median": 1.0, "least": 0.5, "most": 1.0},
    }


def test_repeated_runs_give_their_mean():
    runs = iter([(1.0, "first"), (2.0, "second"), (6.0, "last")])
    assert speed.repeated(lambda: next(runs), 3)() == (3.0, "last")


@pytest.mark.parametrize("part", ["language", "step"])
def test_both_sides_compute_the_same(part: str, tmp_path: Path):
    args = argparse.Namespace(
        recipes=["fp32"], torch=["fp32", "bf16"], threads=1, rounds=1, tokens=2, cache=40, prompt=6, rows=9, side=16
    )
    threads = torch.get_num_threads()
    measured = getattr(speed, part)(Shallow(Checkpoint.open(NANO), 2), args, tmp_path)
    assert torch.get_num_threads() == threads
    assert measured["layers"] == 2
    differences = measured["difference_from_torch_fp32"]
    for row in differences.values() if part == "language" else [differences]:
        assert row["ort fp32"] < 1e-4 and row["torch fp32"] == 0
        assert 1e-4 < row["torch bf16"] < 0.1
    weights = measured["weight_bytes"]
    assert weights["torch bf16"] * 2 == weights["torch fp32"]
    share = weights["ort fp32"] / weights["torch fp32"]
    # The library's painter also holds what `context` does once an edit.
    assert share == pytest.approx(1, abs=0.01) if part == "language" else 0.8 < share < 1
    assert "2 layers" in speed.table({part: measured})
