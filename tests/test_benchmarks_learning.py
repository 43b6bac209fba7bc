"""Learning curves: read from the logs that training writes, thinned, summed up, drawn."""

import json
from pathlib import Path
from xml.etree import ElementTree

import learning_curves
import pytest


def write_log(root: Path, place: str, figure: str, values: list[float]) -> None:
    """A log with a line every 50 steps of half a second."""
    path = root / place
    path.parent.mkdir(parents=True)
    lines = [
        json.dumps({"step": 50 * (index + 1), figure: value, "seconds_per_step": 0.5})
        for index, value in enumerate(values)
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe's folder with the designer's second lesson and the painter's first."""
    write_log(tmp_path, "designer/plan/log.jsonl", "designer/tokens_right", [0.5, 0.75])
    write_log(tmp_path, "drawing/run/log.jsonl", "painter/relative_error", [1 - index / 100 for index in range(80)])
    return tmp_path


def test_lessons_are_summed_up_and_drawn(recipe: Path, tmp_path: Path) -> None:
    out, picture = tmp_path / "out.json", tmp_path / "out.svg"
    learning_curves.main([str(recipe), "--out", str(out), "--chart", str(picture)])
    lessons = json.loads(out.read_text())["measured"]["lessons"]
    assert list(lessons) == ["designer: plans", "painter: drawing"]
    assert lessons["designer: plans"]["curve"] == [[50, 0.5], [100, 0.25]]
    painter = lessons["painter: drawing"]
    assert (painter["steps"], painter["hours"]) == (4000, round(4000 * 0.5 / 3600, 2))
    assert len(painter["curve"]) == learning_curves.POINTS
    assert painter["curve"][0] == [100, 0.995]
    words = {element.text for element in ElementTree.fromstring(picture.read_text()).iter() if element.text}
    assert {"painter: relative error", "plans", "drawing", "25%"} <= words


def test_a_folder_without_a_log_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        learning_curves.main([str(tmp_path)])
    assert stop.value.code == 2
    assert "holds no log" in capsys.readouterr().err
