"""The time of an edit: which runs it has, how they add up, and what changes it in which direction."""

from dataclasses import replace

import msgspec
import pytest

from dimrt.bundle import NANO, Bundle
from dimrt.engines.target import load_target, target_names
from dimrt.errors import BundleError
from dimrt.memory.fits import estimate
from dimrt.memory.setting import Setting
from dimrt.predict.edit import edit_runs, plan_length, predict
from dimrt.predict.models import model
from dimrt.predict.rates import Rates, target_rates
from dimrt.predict.roofline import run_time
from dimrt.predict.turns import INSTRUCTION, count_turns
from dimrt.prompt import Prompts
from dimrt.work import graph_work


@pytest.fixture(scope="module")
def nano() -> Bundle:
    return Bundle.open(NANO, verify="layout")


@pytest.fixture(scope="module")
def rates() -> Rates:
    return target_rates(load_target("orin-agx-64gb"))


SETTING = Setting((128, 128), plan_tokens=64, guided=False)


def test_an_edit_runs_every_graph_as_often_as_the_chain_does(nano: Bundle) -> None:
    runs = edit_runs(nano, SETTING, steps=3, tokens_per_run=1.0)
    counts = {(run.phase, run.graph): run.count for run in runs if run.graph != "language"}
    assert counts == {
        ("vision", "vision"): 1,
        ("condition", "connector"): 1,
        ("encode", "encode"): 1,
        ("paint", "context"): 1,
        ("paint", "step"): 3,
        ("decode", "decode"): 1,
        ("composite", "decode"): 1,
    }
    language = [(run.phase, run.axes["tokens"], run.count) for run in runs if run.graph == "language"]
    prompts = Prompts(nano.tokenizer_path, nano.manifest.designer)
    turn = prompts.plan_turn(INSTRUCTION, 16)
    assert language == [
        ("plan", turn.shared, 1),  # the picture, shared by both turns
        ("plan", len(turn.ids) - turn.shared, 1),  # the request, which gives the first token
        ("plan", 1, 63),
        ("condition", 64, 1),  # the plan, after what is shared
    ]
    rows = {run.axes["rows"] for run in runs if run.graph in ("connector", "context", "step")}
    told = prompts.condition_turn("a plan", 16)
    assert rows == {told.condition.stop - told.condition.start - (len(told.ids) - told.shared) + 64}


def test_long_turns_are_read_in_pieces_of_the_engine(nano: Bundle) -> None:
    runs = edit_runs(nano, replace(SETTING, piece=30, length=512), 1, 1.0)
    read = [run.axes["tokens"] for run in runs if run.graph == "language" and run.phase == "condition"]
    assert read == [30, 30, 4]
    assert {run.axes["length"] for run in runs if run.graph == "language"} == {512}


def test_the_times_are_those_of_the_runs(nano: Bundle, rates: Rates) -> None:
    found = predict(nano, rates, SETTING, steps=2)
    each = [
        run_time(graph_work(nano, run.graph, run.axes), rates, found.efficiency).seconds * run.count
        for run in edit_runs(nano, SETTING, 2, 1.0)
    ]
    assert found.seconds == pytest.approx(sum(each))
    assert sum(found.by_role) == pytest.approx(found.seconds)
    assert found.least < found.seconds < found.most and found.most / found.seconds == pytest.approx(found.error)
    assert [phase.name for phase in found.phases] == [
        "vision",
        "plan",
        "condition",
        "encode",
        "paint",
        "decode",
        "composite",
    ]


def test_the_next_edit_of_a_photo_reads_it_no_more(nano: Bundle, rates: Rates) -> None:
    found = predict(nano, rates, SETTING, steps=2)
    kept = [run for run in edit_runs(nano, SETTING, 2, 1.0) if run.kept]
    assert [run.graph for run in kept] == ["vision", "language", "encode", "decode"]
    saved = sum(run_time(graph_work(nano, run.graph, run.axes), rates, found.efficiency).seconds for run in kept)
    assert found.again == pytest.approx(found.seconds - saved) and found.again < found.seconds


def test_more_to_do_never_takes_less(nano: Bundle, rates: Rates) -> None:
    def seconds(setting: Setting = SETTING, steps: int = 2, tokens_per_run: float = 1.0) -> float:
        return predict(nano, rates, setting, steps=steps, tokens_per_run=tokens_per_run).seconds

    assert seconds(steps=3) > seconds()
    assert seconds(replace(SETTING, plan_tokens=65)) > seconds()
    assert seconds(replace(SETTING, guided=True)) > seconds()
    assert seconds(replace(SETTING, length=2048)) > seconds(replace(SETTING, length=512))
    assert seconds(tokens_per_run=2.0) < seconds()


def test_a_plan_is_no_longer_than_the_model_writes(nano: Bundle) -> None:
    most = nano.manifest.designer.decoding.max_new_tokens
    assert plan_length(nano.manifest, replace(SETTING, plan_tokens=10_000)) == most
    assert plan_length(nano.manifest, replace(SETTING, plan_tokens=0)) == 0


def test_without_a_plan_there_is_no_plan_phase(nano: Bundle, rates: Rates) -> None:
    found = predict(nano, rates, replace(SETTING, plan_tokens=0))
    assert "plan" not in {phase.name for phase in found.phases}
    condition = next(phase for phase in found.phases if phase.name == "condition")
    assert condition.runs == 3  # what is shared, the instruction, the connector


def test_a_models_turns_are_told_from_the_length_of_its_texts(nano: Bundle) -> None:
    counted = count_turns(model("dim-4.6b-edit"), 1369)
    assert 1369 + 15 < counted.shared < 1369 + 30 and 120 < counted.request < 220  # the published request has 190
    assert count_turns(nano, 16).instruction < count_turns(nano, 16).request


@pytest.mark.parametrize("name", target_names())
def test_every_target_has_rates_for_nano(nano: Bundle, name: str) -> None:
    target = load_target(name)
    found = predict(nano, target_rates(target), estimate(nano, target).setting)
    assert 0 < found.seconds < 10


def test_a_picture_from_text_has_no_photo_to_read(nano: Bundle, rates: Rates) -> None:
    graphs = {name: graph for name, graph in nano.manifest.graphs.items() if name not in ("vision", "encode")}
    painter = msgspec.structs.replace(nano.manifest.painter, task="generate")
    made = Bundle(nano.path, msgspec.structs.replace(nano.manifest, graphs=graphs, painter=painter), "")
    found = predict(made, rates, SETTING)
    assert [phase.name for phase in found.phases] == ["plan", "condition", "paint", "decode"]
    assert found.seconds < predict(nano, rates, SETTING).seconds


def test_a_bundle_without_recorded_work_must_be_exported_again(nano: Bundle, rates: Rates) -> None:
    graphs = {name: msgspec.structs.replace(graph, work=None) for name, graph in nano.manifest.graphs.items()}
    old = Bundle(nano.path, msgspec.structs.replace(nano.manifest, graphs=graphs), "")
    with pytest.raises(BundleError, match="export it again"):
        predict(old, rates, SETTING)
