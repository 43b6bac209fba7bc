"""The contact sheet: every case is on it, with its verdict."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageFont

from dimrt.errors import InputError
from dimrt.export.nano import sheet
from dimrt.export.nano.__main__ import main
from dimrt.export.nano.edits import EDIT_TYPES
from dimrt.export.nano.filters import FILTERS
from dimrt.export.nano.shapes import SIDE
from dimrt.export.nano.trials import REFERRING, Answer, Condition

PHOTOS = Path(__file__).parents[3] / "benchmarks" / "photos"


def perfect(case, condition):
    return Answer(case.target, "", 0, {})


def idle(case, condition):
    return Answer(case.source, "", 0, {})


def test_a_sheet_shows_the_pictures_of_every_case():
    trials = sheet.trials_of(1, 2, 0, PHOTOS, 0)
    shown = sheet.run(perfect, trials, Condition())
    assert [case.row for case in shown] == [kind for kind in EDIT_TYPES for _ in range(2)]
    assert all(case.good and case.verdict == "done, rest kept" for case in shown)
    board = sheet.draw(shown)
    top, left = 2 * sheet.LINE, sheet.LABEL
    for index, picture in enumerate(shown[0].pictures):
        across = left + index * (SIDE + sheet.GAP)
        np.testing.assert_array_equal(board[top : top + SIDE, across : across + SIDE], picture)


def test_verdicts_are_told_apart():
    trials = sheet.trials_of(1, 0, 1, PHOTOS, 1)
    assert len(trials) == len(REFERRING) + len(FILTERS)
    shown = sheet.run(idle, trials, Condition("none"))
    assert not any(case.good for case in shown if case.row in FILTERS or case.row.endswith("*"))
    remove = next(case for case in shown if case.row == "remove*")
    assert remove.verdict.endswith("not done, rest kept") and ":" in remove.verdict
    sepia = next(case for case in shown if case.row == "sepia")
    assert "dB (unedited" in sepia.verdict
    board = sheet.draw(shown)
    assert board.shape[0] > len(shown) * SIDE  # every row fits
    assert (board == np.array([179, 38, 30])).all(-1).any()  # a verdict in red


def test_long_words_are_wrapped_and_cut():
    font = ImageFont.load_default(sheet.TEXT)
    assert sheet._wrapped("remove it", 300, font) == ["remove it"]
    lines = sheet._wrapped("word " * 100, 120, font)
    assert len(lines) == sheet.LINES and lines[-1].endswith("…")


def test_an_unknown_style_is_refused_before_anything_runs():
    with pytest.raises(InputError, match="terse"):
        sheet.run(None, [], Condition("designer", "terse"))


def test_the_command_writes_a_picture(monkeypatch, tmp_path):
    monkeypatch.setattr("dimrt.editor.Editor.load", lambda path: None)
    monkeypatch.setattr("dimrt.export.nano.trials.edit_with", lambda editor: perfect)
    out = tmp_path / "sheet.png"
    told = CliRunner().invoke(main, ["sheet", "-o", str(out), "--cases", "1", "--styles", "brief"])
    assert told.exit_code == 0, told.output
    assert "9 cases, 9 reached" in told.output
    with Image.open(out) as picture:
        assert picture.width == sheet.LABEL + 3 * SIDE + 2 * sheet.GAP + 2 * sheet.MARGIN
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    for wrong, said in (
        (["-o", str(tmp_path / "a.jpg")], "png"),
        (["-o", str(tmp_path / "no" / "a.png")], "no folder"),
    ):
        told = CliRunner().invoke(main, ["sheet", *wrong])
        assert told.exit_code == 2 and said in told.output
