"""The whole measurement on nano, with as little of everything as there can be."""

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from measuring import CASE, LEAST, ONCE, Listening

from dimrt.bundle import NANO
from dimrt.errors import BundleError, InputError, ResourceError
from dimrt.measure import runs, scene
from dimrt.measure.edits import Edit, Edits
from dimrt.measure.lasting import Watt, summed
from dimrt.measure.meters.energy import Power
from dimrt.measure.runs import bench
from dimrt.measure.samples import Amount

PARTS = ["card", "ceilings", "cold", "edit", "graphs", "sustained"]


class StandinMeter:
    """A meter of ten watts."""

    name, scope, interval = "stand-in meter", "a stand-in", 0.1

    def __init__(self, failing: bool = False) -> None:
        self.running, self.stops = False, 0
        self._failing = failing

    def start(self) -> None:
        if self._failing:
            raise ResourceError("the stand-in went away; measure without power")
        assert not self.running
        self.running = True

    def stop(self) -> Power:
        assert self.running
        self.running = False
        self.stops += 1
        watts = ((0.0, 10.0), (2.0, 10.0))
        return Power(self.name, self.scope, 0.0, 2.0, watts, {"all": 10.0}, 20.0)


@pytest.fixture
def no_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "find_meter", lambda _: None)
    monkeypatch.setattr(runs, "why_none", lambda _: "a stand-in machine tells nothing")


def numbers(value: Any) -> Iterator[float]:
    """Every number in a document."""
    if isinstance(value, dict):
        for each in value.values():
            yield from numbers(each)
    elif isinstance(value, list):
        for each in value:
            yield from numbers(each)
    elif isinstance(value, float | int) and not isinstance(value, bool):
        yield float(value)


@pytest.mark.usefixtures("small", "no_meter")
def test_the_document() -> None:
    listening = Listening()
    document = bench(CASE, replace(LEAST, edits=Amount(2, 2, 0.0)), listening, "dimrt bench")
    assert listening.parts == PARTS
    assert json.loads(json.dumps(document)) == document
    assert all(math.isfinite(number) for number in numbers(document))
    assert document["format"] == runs.FORMAT
    assert document["card"]["provider"] == "onnxruntime CPUExecutionProvider"
    assert document["bundle"]["name"] == "dimrt-nano" and document["bundle"]["random"] is False
    edit = document["edit"]
    assert len(edit["samples_s"]) == len(edit["second_edit_s"]) == 2
    assert all(len(samples) == 2 for samples in edit["phases"].values())
    assert edit["cold_s"] is None and edit["p90"] is None
    rows = zip(*edit["phases"].values(), strict=True)
    assert all(sum(row) <= total for row, total in zip(rows, edit["samples_s"], strict=True))
    assert document["decode"]["tokens_per_s"] > 0
    assert len(document["decode"]["tokens"]) == 2
    assert {"vision", "language.read", "language.token", "step", "decode"} <= document["graphs"].keys()
    assert document["sustained"] is None and document["power"] is None
    assert document["power_why"] == "a stand-in machine tells nothing"


@pytest.mark.usefixtures("small", "no_meter")
def test_a_cold_process_is_part_of_it_and_gives_each_graph_its_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[bool] = []

    def first_edit(case: dict[str, Any], files: list[Path], *, drop: bool) -> dict[str, Any]:
        assert json.loads(json.dumps(case)) == CASE.as_json()
        assert all(file.is_file() for file in files)
        dropped.append(drop)
        loads = {"step": {"load_s": 0.5, "first_run_s": 0.25}, "decode": {"load_s": 0.5, "first_run_s": None}}
        return {"seconds": 3.0 + len(dropped), "graphs": loads, "peak_rss_bytes": 100 * len(dropped)}

    monkeypatch.setattr(runs.cold, "first_edit", first_edit)
    plan = replace(LEAST, colds=(True, False), graphs=("step", "decode", "encode"))
    document = bench(CASE, plan, Listening(), "dimrt bench")
    assert dropped == [True, False]
    assert document["edit"]["cold_s"] == 4.0
    assert [document["graphs"][graph]["cold_s"] for graph in ("step", "decode", "encode")] == [0.75, 0.5, None]
    assert document["memory"]["peak_rss_bytes"] == 200


@pytest.mark.usefixtures("small", "no_meter")
def test_a_cold_process_that_fails_is_told_and_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs.cold, "SECONDS", 0.01)
    document = bench(CASE, replace(LEAST, colds=(False,), graphs=()), Listening(), "dimrt bench")
    assert "took over" in document["cold"][0]["error"]
    assert document["edit"]["cold_s"] is None
    assert document["edit"]["p50"] > 0


@pytest.mark.usefixtures("small")
def test_power_is_taken_while_edits_run_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = StandinMeter()
    monkeypatch.setattr(runs, "find_meter", lambda _: meter)
    monkeypatch.setattr(runs, "why_none", lambda _: None)
    document = bench(CASE, replace(LEAST, graphs=(), sustained=0.01), Listening(), "dimrt bench")
    edits = len(document["sustained"]["samples_s"])
    power = document["power"]
    assert (power["meter"], power["joules"], power["mean_watts"]) == ("stand-in meter", 20.0, 10.0)
    assert power["joules_per_edit"] == 20.0 / edits == 20.0 / power["edits"]
    assert power["idle_watts"] == 10.0
    assert power["watts"] == [[0.0, 10.0], [2.0, 10.0]]
    assert meter.stops == 2 and not meter.running
    assert document["power_why"] is None


@pytest.mark.usefixtures("small")
def test_a_meter_that_went_away_costs_the_power_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "find_meter", lambda _: StandinMeter(failing=True))
    document = bench(CASE, replace(LEAST, graphs=(), sustained=0.01), Listening(), "dimrt bench")
    assert document["power"] is None
    assert document["power_why"] == "the stand-in went away; measure without power"
    assert document["sustained"]["samples_s"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ResourceError("no memory")])
def test_the_meter_stops_when_an_edit_does(error: Any) -> None:
    meter = StandinMeter()

    def fail() -> None:
        raise error

    with pytest.raises((KeyboardInterrupt, ResourceError)):
        Watt(meter, None).of(fail)
    assert not meter.running


@pytest.mark.usefixtures("small", "no_meter")
def test_random_weights_write_plans_of_one_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "random"
    shutil.copytree(NANO, path)
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest["provenance"]["random_seed"] = 7
    (path / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    monkeypatch.setattr(scene, "RANDOM_PLAN", 40)
    document = bench(replace(CASE, bundle=str(path)), replace(LEAST, graphs=()), Listening(), "dimrt bench")
    assert document["bundle"]["random"] is True
    assert document["settings"]["plan_tokens"] == 40
    assert document["decode"]["tokens"] == [40]


@pytest.mark.usefixtures("small", "no_meter")
def test_a_plan_of_asked_length_and_asked_steps() -> None:
    document = bench(
        replace(CASE, plan_tokens=9, steps=3, schedule="teacher"),
        replace(LEAST, graphs=("step",)),
        Listening(),
        "dimrt bench",
    )
    assert document["decode"]["tokens"] == [9]
    assert document["settings"]["steps"] == 3
    assert document["graphs"]["step"]["runs_per_edit"] == 3


@pytest.mark.usefixtures("small")
def test_bad_input_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    listening = Listening()
    with pytest.raises(InputError, match="no graph 'painter'"):
        bench(CASE, replace(LEAST, graphs=("painter",)), listening, "dimrt bench")
    with pytest.raises(BundleError):
        bench(replace(CASE, bundle=str(tmp_path)), LEAST, listening, "dimrt bench")
    with pytest.raises(InputError, match="--target"):
        bench(replace(CASE, target="h200"), LEAST, listening, "dimrt bench")
    assert listening.parts == listening.stages == []


@pytest.mark.parametrize(("count", "known"), [(3, False), (6, True), (30, True)])
def test_drift_compares_the_end_with_the_beginning(count: int, known: bool) -> None:
    edits = Edits()
    for number in range(count):
        edits.first.append(Edit(1.0 + number / count, {}, None))
        edits.at.append(float(number))
    found = summed(edits)
    assert found["seconds"] == edits.at[-1] + edits.first[-1].seconds
    assert (found["drift"] is not None) == known
    if known:
        assert 0.3 < found["drift"] < 0.8


@pytest.mark.usefixtures("small", "no_meter")
def test_a_bundle_that_paints_from_text(tiny_generate_bundle: Path) -> None:
    plan = replace(LEAST, edits=ONCE)
    document = bench(replace(CASE, bundle=str(tiny_generate_bundle), steps=2), plan, Listening(), "dimrt bench")
    assert document["bundle"]["task"] == "generate"
    assert document["edit"]["second"] is None
    assert "vision" not in document["graphs"]
    assert document["graphs"]["step"]["p50"] > 0
