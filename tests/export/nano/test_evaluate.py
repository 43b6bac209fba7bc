import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import dimrt
from dimrt.blueprint import Blueprint
from dimrt.errors import InputError
from dimrt.export.nano import evaluate as judging
from dimrt.export.nano.__main__ import main
from dimrt.export.nano.cases import generator, scene_case
from dimrt.export.nano.edits import EDIT_TYPES
from dimrt.export.nano.filters import FILTERS
from dimrt.export.nano.oracle import decibels, judge

PHOTOS = Path(__file__).parents[3] / "benchmarks" / "photos"


class Perfect:
    """An editor that knows all answers of a seed by their pictures' bytes and instructions."""

    def __init__(self, seed, cases, photo_count):
        self.answers = {}
        for number, kind in enumerate(EDIT_TYPES):
            for index in range(cases):
                case = scene_case(generator("held-out", seed, number * 100_000 + index), kind, judging.ITEM_COUNTS)
                self.answers[case.source.tobytes(), case.instruction] = case.target, case.plan
        for source, target, plan, _ in judging.photo_cases(PHOTOS, seed, photo_count):
            self.answers[source.tobytes(), plan.instruction] = target, plan

    def __call__(self, picture, instruction):
        target, plan = self.answers[picture.tobytes(), instruction]
        return target, plan.text()


@pytest.fixture(scope="module")
def perfect():
    return Perfect(5, 2, 2)


def run(edit, seed=5):
    return judging.evaluate(edit, seed, cases=2, photos=PHOTOS, photo_count=2)


def test_a_perfect_editor_gets_full_marks(perfect):
    seen = []
    report = judging.evaluate(
        perfect, 5, cases=2, photos=PHOTOS, photo_count=2, on_case=lambda done, total: seen.append((done, total))
    )
    assert tuple(report.edits) == EDIT_TYPES and tuple(report.photos) == tuple(FILTERS)
    assert all(row.both == 1 and set(row.slots.values()) == {1.0} for row in report.edits.values())
    assert all(row.output == 99 and row.source < 40 and row.plan == 1 for row in report.photos.values())
    assert seen[-1] == (2 * 9 + 2 * 13, 2 * 9 + 2 * 13)
    assert json.loads(json.dumps(asdict(report)))["edits"]["action"]["n"] == 2
    text = judging.table(report)
    assert all(name in text for name in (*EDIT_TYPES, *FILTERS))


def test_an_editor_that_changes_nothing_is_found_out(perfect):
    report = run(lambda picture, instruction: (picture, ""))
    assert all(row.done == 0 and set(row.slots.values()) == {0.0} for row in report.edits.values())
    assert all(row.output == pytest.approx(row.source) and row.plan == 0 for row in report.photos.values())


def test_a_wrong_plan_costs_its_slot_only(perfect):
    def wrong_area(picture, instruction):
        target, plan = perfect.answers[picture.tobytes(), instruction]
        return target, replace(plan, area="nowhere").text()

    for row in run(wrong_area).edits.values():
        assert row.both == 1
        assert row.slots == {"layout": 1, "edit": 1, "area": 0, "result": 1}


def test_another_seed_gives_other_cases(perfect):
    with pytest.raises(KeyError):
        run(perfect, seed=6)


def test_a_folder_without_photographs_is_named(tmp_path):
    with pytest.raises(InputError, match=tmp_path.name):
        judging.evaluate(lambda picture, text: (picture, ""), 0, cases=1, photos=tmp_path, photo_count=1)


def test_decibels_and_the_nothing_changed_verdict():
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert decibels(black, black) == 99 and decibels(black, white) == 0
    assert judge(black, black, black).both and not judge(black, black, white).done


def test_the_command_prints_the_report_as_json_or_tables(monkeypatch):
    class Unchanged:
        image = None
        blueprint = Blueprint.parse("1. Edit Instruction: nothing")

    class Lazy:
        @classmethod
        def load(cls, path):
            assert path == Path("some-bundle")
            return cls()

        def edit(self, picture, instruction):
            result = Unchanged()
            result.image = picture
            return result

    monkeypatch.setattr(dimrt, "Editor", Lazy)
    arguments = ["evaluate", "--seed", "9", "--cases", "1", "--photo-cases", "1", "--bundle", "some-bundle"]
    told = CliRunner().invoke(main, [*arguments, "--json"])
    assert told.exit_code == 0, told.output
    report = json.loads(told.stdout)
    assert report["seed"] == 9 and report["edits"]["remove"] == {
        "n": 1,
        "done": 0.0,
        "preserved": 1.0,
        "both": 0.0,
        "slots": {"layout": 0.0, "edit": 0.0, "area": 0.0, "result": 0.0},
    }
    assert report["photos"]["sepia"]["output"] == report["photos"]["sepia"]["source"]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0 and "unseen words" in shown.stdout


def test_the_command_names_a_missing_bundle(tmp_path):
    told = CliRunner().invoke(main, ["evaluate", "--bundle", str(tmp_path / "nowhere")])
    assert told.exit_code == 1 and "nowhere" in told.output and "Traceback" not in told.output
