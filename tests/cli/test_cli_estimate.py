"""`dimrt estimate` from the command line."""

import json
from pathlib import Path

import pytest
from cli_harness import Dimrt

from dimrt.bundle import NANO, Bundle


def test_nano_fits_an_orin(dimrt: Dimrt) -> None:
    outcome = dimrt("estimate", "nano", "--target", "orin-nano-super-8gb")
    assert outcome.code == 0, outcome.err
    assert "fits" in outcome.out and "painter   decode" in outcome.out


def test_json_adds_up(dimrt: Dimrt) -> None:
    document = dimrt("estimate", "nano", "--target", "orin-nano-super-8gb", "--json").document
    assert document["fits"] and document["peak"] <= document["available"]
    assert document["peak"] == document["overhead"] + max(document["designer"], document["painter"])


def test_a_target_too_small_exits_1(dimrt: Dimrt, tmp_path: Path) -> None:
    from dimrt.engines.target import FOLDER

    lines = (FOLDER / "orin-nano-super-8gb.toml").read_text().replace("5_200_000_000", "1_000_000")
    (tmp_path / "tight.toml").write_text(lines.replace('name = "orin-nano-super-8gb"', 'name = "tight"'))
    outcome = dimrt("estimate", "nano", "--target", tmp_path / "tight.toml")
    assert outcome.code == 1
    assert "doesn't fit" in outcome.out
    assert dimrt("estimate", "nano", "--target", tmp_path / "tight.toml", "--json").code == 1


def test_bad_arguments(dimrt: Dimrt) -> None:
    assert dimrt("estimate", "nano", "--target", "orin-nano").code == 2
    outcome = dimrt("estimate", "nano", "--size", "big")
    assert outcome.code == 2
    assert "--size big" in outcome.err


def test_time_is_said_phase_by_phase_with_its_error(dimrt: Dimrt) -> None:
    outcome = dimrt("estimate", "nano", "--target", "orin-agx-64gb", "--steps", "3")
    assert outcome.code == 0, outcome.err
    assert "paint            4" in outcome.out and "3 steps" in outcome.out
    assert "were predicted within a factor of" in outcome.out


def test_json_of_time_adds_up(dimrt: Dimrt) -> None:
    words = ("estimate", "nano", "--target", "orin-agx-64gb", "--json", "--plan-tokens", "32")
    time = dimrt(*words).document["time"]
    assert time["seconds"] == pytest.approx(sum(phase["seconds"] for phase in time["phases"]))
    for phase in time["phases"]:
        assert phase["seconds"] == pytest.approx(sum(phase["by"].values()))
        assert phase["seconds"] == pytest.approx(sum(phase["graphs"].values()))
    assert time["least"] < time["seconds"] < time["most"]
    assert (time["plan_tokens"], time["efficiency"]["family"]) == (32, "orin")
    guesses = dimrt(*words, "--tokens-per-run", "2").document["time"]
    assert guesses["seconds"] < time["seconds"]


def test_several_targets_and_recipes_are_compared(dimrt: Dimrt, tmp_path: Path) -> None:
    words = ["estimate", "nano", "--target", "orin-nano-8gb", "--target", "rtx-4090", "--recipe", "fp16"]
    outcome = dimrt(*words, "--recipe", "fp8", "--svg", tmp_path / "all.svg")
    assert outcome.code == 0, outcome.err
    rows = [line for line in outcome.out.splitlines() if line.startswith(("orin", "rtx"))]
    assert len(rows) == 4 and "has no fp8 arithmetic" in rows[1]
    assert (tmp_path / "all.svg").read_text().startswith("<svg")
    compared = dimrt(*words, "--json").document["compared"]
    assert [row["target"] for row in compared] == ["orin-nano-8gb", "rtx-4090"]


def test_a_document_of_bench_stands_for_its_machine(dimrt: Dimrt, tmp_path: Path) -> None:
    ceilings = {"bandwidth": 1e10, "matmul": {"float32": 1e11}}
    card = {"gpu": None, "memory_bytes": 8 * 10**9}
    (tmp_path / "mine.json").write_text(json.dumps({"card": card, "ceilings": ceilings}))
    document = dimrt("estimate", "nano", "--target", tmp_path / "mine.json", "--json").document
    assert (document["target"], document["available"]) == ("mine", 8 * 10**9)
    assert document["time"]["efficiency"]["family"] == "processor" and document["time"]["seconds"] > 0


def test_a_measured_gpu_is_not_given_the_hosts_memory(dimrt: Dimrt, tmp_path: Path) -> None:
    ceilings = {"bandwidth": 1e11, "matmul": {"float16": 1e13, "float32": 1e12}}
    card = {"gpu": "Orin", "compute_capability": "8.7", "provider": "tensorrt 10.3 on Orin", "memory_bytes": 8 * 10**9}
    (tmp_path / "board.json").write_text(json.dumps({"card": card, "ceilings": ceilings}))
    document = dimrt("estimate", "nano", "--target", tmp_path / "board.json", "--json").document
    assert document["available"] is None and document["overhead"] == 400_000_000
    assert document["time"]["efficiency"]["family"] == "orin"


def test_a_machine_that_edited_with_the_bundle_shows_both(dimrt: Dimrt, tmp_path: Path) -> None:
    document = {
        "card": {"gpu": None},
        "ceilings": {"bandwidth": 1e10, "matmul": {"float32": 1e11}},
        "bundle": {"digest": Bundle.open(NANO, verify="layout").digest},
        "settings": {"steps": 1, "guidance_scale": 1.0},
        "decode": {"tokens": [40], "tokens_per_pass": 1.0},
        "edit": {"phases": {"vision": [0.01], "paint": [0.02]}},
    }
    (tmp_path / "mine.json").write_text(json.dumps(document))
    outcome = dimrt("estimate", "nano", "--target", tmp_path / "mine.json")
    assert "measured here" in outcome.out and "20 ms measured" in outcome.out
    measured = dimrt("estimate", "nano", "--target", tmp_path / "mine.json", "--json").document["measured"]
    assert set(measured["phases"]) == {"vision", "paint"} and measured["ratio"] > 0


def test_without_a_target_no_time_is_said(dimrt: Dimrt) -> None:
    outcome = dimrt("estimate", "nano")
    assert outcome.code == 0 and "name a --target" in outcome.out
    assert dimrt("estimate", "nano", "--json").document["time"] is None


def test_bad_questions_about_time(dimrt: Dimrt, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    for words, told in {
        ("--target", tmp_path / "none.json"): "can't be read as JSON",
        ("--target", tmp_path / "other.json"): "holds no ceilings",
        ("--target", "orin-nano-8gb", "--recipe", "fp8"): "has no fp8 arithmetic",
        ("--recipe", "int2"): "--recipe int2: give one of",
        ("--target", "cpu", "--steps", "0"): "--steps",
        ("--target", "cpu", "--tokens-per-run", "0.5"): "--tokens-per-run",
    }.items():
        outcome = dimrt("estimate", "nano", *words)
        assert outcome.code == 2 and told in outcome.err, words
