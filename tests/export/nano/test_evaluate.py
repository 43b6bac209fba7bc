import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
from click.testing import CliRunner

import dimrt
from dimrt.blueprint import Blueprint
from dimrt.errors import InputError
from dimrt.events import Progress
from dimrt.export.nano.__main__ import main
from dimrt.export.nano.edits import EDIT_TYPES, NEIGHBOURS
from dimrt.export.nano.evaluate import Amount, evaluate, right_slots
from dimrt.export.nano.filters import FILTERS
from dimrt.export.nano.judging import combine
from dimrt.export.nano.oracle import decibels, judge
from dimrt.export.nano.plans import Plan
from dimrt.export.nano.references import REASONING
from dimrt.export.nano.tables import table
from dimrt.export.nano.trials import REFERRING, Answer, Condition, direct_trials, edit_with, reasoning_trials

PHOTOS = Path(__file__).parents[3] / "benchmarks" / "photos"


def perfect(case, condition):
    """An editor that knows all answers."""
    plan = "" if condition.planner == "none" else case.plan.text(condition.style)
    return Answer(case.target, plan, len(plan.split()), {"plan": 0.25, "paint": 0.5})


def idle(case, condition):
    return Answer(case.source, "", 0, {})


def test_a_perfect_editor_gets_full_marks():
    seen = []
    told = {"photos": PHOTOS, "on_case": lambda done, total: seen.append((done, total))}
    report = evaluate(perfect, 5, Amount(usual=2, photos=2), **told)
    condition = report.conditions["designer full"]
    part = condition.sets["usual"]
    assert tuple(part.edits) == EDIT_TYPES and tuple(condition.photos) == tuple(FILTERS)
    assert part.all.both.share == 1 and part.all.both.n == 18 and 0.8 < part.all.both.low < 1
    assert all(slot.share == 1 for row in part.edits.values() for slot in row.slots.values())
    assert part.all.right.share == 1 and part.all.tokens > 20
    assert (part.all.plan_seconds, part.all.seconds) == (0.25, 0.75)
    assert all(row.lowest == row.output == 99 and row.source < 40 for row in condition.photos.values())
    assert all(row.plan == row.plan_unseen == 1 for row in condition.photos.values())
    assert seen[-1] == (2 * 9 + 2 * 13, 2 * 9 + 2 * 13)
    assert json.loads(json.dumps(asdict(report)))["conditions"]["designer full"]["sets"]["usual"]["all"]["n"] == 18
    text = table(report)
    assert all(name in text for name in (*EDIT_TYPES, *FILTERS))


def test_an_editor_that_changes_nothing_is_found_out():
    condition = evaluate(idle, 5, Amount(usual=2, photos=1), photos=PHOTOS).conditions["designer full"]
    rows = condition.sets["usual"].edits.values()
    assert all(row.done.share == 0 and row.right.share == 0 for row in rows)
    assert all(row.output == pytest.approx(row.source) and row.plan == 0 for row in condition.photos.values())


def test_a_wrong_plan_costs_its_slot_only():
    def wrong_area(case, condition):
        return Answer(case.target, replace(case.plan, area="nowhere").text(condition.style), 9, {})

    for row in evaluate(wrong_area, 5, Amount(usual=1)).conditions["designer full"].sets["usual"].edits.values():
        assert row.both.share == 1 and row.right.share == 0
        assert {name: slot.share for name, slot in row.slots.items()} == {
            "layout": 1,
            "edit": 1,
            "area": 0,
            "result": 1,
        }


def test_slots_are_those_of_the_style():
    truth = Plan("words", "what is there", "remove it", "top left", "what is left")
    assert right_slots(truth.text("brief"), truth, "brief") == {"edit": True, "area": True}
    assert right_slots(truth.text("short"), truth, "short") == {"layout": True, "edit": True, "area": True}
    assert not any(right_slots(truth.text("full"), truth, "brief").values())
    wrong = replace(truth, area="center")
    assert right_slots(wrong.text("brief"), truth, "brief") == {"edit": True, "area": False}


def test_conditions_run_the_same_cases_and_are_paired():
    seen = {}

    def needs_a_plan(case, condition):
        seen.setdefault(condition.name, []).append(case.source.tobytes())
        return idle(case, condition) if condition.planner == "none" else perfect(case, condition)

    conditions = (Condition("none"), Condition("designer", "brief"), Condition("oracle", "brief"))
    report = evaluate(needs_a_plan, 1, Amount(usual=0, reasoning=5), conditions)
    assert list(seen) == list(report.conditions) == ["no plan", "designer brief", "oracle brief"]
    assert seen["no plan"] == seen["designer brief"] == seen["oracle brief"]
    assert set(report.differences) == {"direct", "reasoning"}
    found = report.differences["reasoning"]["designer brief"]
    assert (found.n, found.only_first, found.only_second, found.difference) == (35, 35, 0, 1.0) and found.is_evidence
    assert report.conditions["oracle brief"].sets["reasoning"].all.slots == {}
    assert "+100.0 [" in table(report) and "no plan" in table(report)


def test_reasoning_names_its_kinds_and_direct_words_need_none():
    trials = list(reasoning_trials(2, 5))
    assert len(trials) == 5 * len(REFERRING)
    kinds = {trial.reference for trial in trials if trial.case.kind == "remove"}
    assert kinds == set(REASONING)
    assert {trial.reference for trial in trials if trial.case.kind == "add"} == {"neighbour"}
    assert all(2 <= len(trial.case.before.items) <= 4 for trial in trials)
    for trial in direct_trials(2, 5):
        assert not any(f" {words} the " in trial.case.instruction for words in NEIGHBOURS)


def test_another_seed_gives_other_cases():
    first, again, other = ([trial.case.instruction for trial in reasoning_trials(seed, 3)] for seed in (1, 1, 2))
    assert first == again != other


def test_a_folder_without_photographs_and_an_unknown_style_are_named(tmp_path):
    with pytest.raises(InputError, match=tmp_path.name):
        evaluate(idle, 0, Amount(usual=0, photos=1), photos=tmp_path)
    with pytest.raises(InputError, match=r"'terse'.*full, short, brief"):
        evaluate(idle, 0, Amount(usual=1), [Condition("designer", "terse")])


def test_decibels_and_the_nothing_changed_verdict():
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert decibels(black, black) == 99 and decibels(black, white) == 0
    assert judge(black, black, black).both and not judge(black, black, white).done


def test_lists_are_combined():
    found = list(dict.fromkeys(combine("none,designer", "full,brief", "own,2,teacher", "own,off")))
    assert len(found) == 1 * 3 * 2 + 2 * 3 * 2
    assert Condition("none", "full", 2, 1.0, "auto") in found
    names = [condition.name for condition in found]
    assert len(set(names)) == len(names) and "designer brief, teacher's steps, no guidance" in names
    for lists in (("magic", "full", "own", "own"), ("none", "full", "0", "own"), ("none", "full", "own", "some")):
        with pytest.raises(click.BadParameter, match="'"):
            list(combine(*lists))


class Recorded:
    """An editor that keeps what it was asked, and hands the picture back."""

    def __init__(self, bundle):
        self.bundle, self.asked = bundle, []

    def edit(self, picture, instruction, options, on_event):
        self.asked.append(options)
        on_event(Progress("plan", 7))

        plan = options.plan or ("3. Local Object Perception: nothing" if options.think else None)
        blueprint = Blueprint.parse(plan) if plan else None
        return SimpleNamespace(image=picture, blueprint=blueprint, timings={"paint": 1.0})


@pytest.fixture
def recorded(monkeypatch):
    editor = Recorded(dimrt.Bundle.open(dimrt.bundle.NANO, verify="layout"))

    class Lazy:
        @classmethod
        def load(cls, path):
            assert path == Path("some-bundle")
            return editor

    monkeypatch.setattr(dimrt, "Editor", Lazy)
    return editor


def test_an_editor_is_asked_what_the_condition_says(recorded):
    run = edit_with(recorded, seed=4)
    case = next(direct_trials(0, 1)).case
    bare = run(case, Condition("none", steps=2, guidance_scale=1.0))
    own = run(case, Condition("designer", "brief", schedule="teacher"))
    true = run(case, Condition("oracle", "brief"))
    first, second, third = recorded.asked
    assert (first.think, first.plan, first.plan_style, first.steps, first.guidance_scale) == (False, None, None, 2, 1.0)
    assert (second.think, second.plan_style, second.schedule, second.seed) == (True, "brief", "teacher", 4)
    assert third.plan == case.plan.text("brief") and third.plan_style is None
    assert bare.plan == "" and own.tokens == 7 and own.seconds == {"paint": 1.0}
    assert true.tokens > 7


def test_the_command_prints_the_report_as_json_or_tables(recorded):
    arguments = ["evaluate", "--seed", "9", "--cases", "1", "--photo-cases", "1", "--bundle", "some-bundle"]
    told = CliRunner().invoke(main, [*arguments, "--json"])
    assert told.exit_code == 0, told.output
    report = json.loads(told.stdout)
    row = report["conditions"]["designer full"]["sets"]["usual"]["edits"]["remove"]
    assert report["seed"] == 9 and (row["n"], row["both"]["share"], row["preserved"]["share"]) == (1, 0.0, 1.0)
    photo = report["conditions"]["designer full"]["photos"]["sepia"]
    assert photo["output"] == photo["source"]
    shown = CliRunner().invoke(main, [*arguments, "--plans", "none,designer", "--steps", "1,2"])
    assert shown.exit_code == 0 and "unseen words" in shown.stdout and "designer full, 2 steps" in shown.stdout


def test_the_command_refuses_what_it_cannot_judge(tmp_path):
    told = CliRunner().invoke(main, ["evaluate", "--bundle", str(tmp_path / "nowhere")])
    assert told.exit_code == 1 and "nowhere" in told.output and "Traceback" not in told.output
    empty = CliRunner().invoke(main, ["evaluate", "--cases", "0", "--photo-cases", "0"])
    assert empty.exit_code == 2 and "--reasoning" in empty.output
