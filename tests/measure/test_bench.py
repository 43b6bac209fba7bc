"""`dimrt bench` as it is typed: what it prints, what it writes, how it ends."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_harness import left_in
from measuring import LEAST
from standin_bench import standin_document

from dimrt.cli.main import run
from dimrt.measure import plan, runs, show

pytestmark = pytest.mark.usefixtures("small")
WORDS = ("bench", "--quick", "--device", "cpu", "--threads", "1", "--bundle", "nano")


@pytest.fixture(autouse=True)
def least(monkeypatch: pytest.MonkeyPatch) -> None:
    """The short form is the least there is, on a machine without a meter."""
    monkeypatch.setattr(plan, "QUICK", replace(LEAST, graphs=("step",)))
    monkeypatch.setattr(runs, "find_meter", lambda _: None)
    monkeypatch.setattr(runs, "why_none", lambda _: "no meter: " + "a reason that goes on and on " * 5)


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit code and both streams of one command line."""
    capsys.readouterr()
    code = run([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_what_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, page = tmp_path / "bench.json", tmp_path / "bench.html"
    code, said, notes = call(capsys, *WORDS, "-o", out, "--html", page)
    assert code == 0
    *lines, last = said.splitlines()
    document = json.loads(last)
    assert json.loads(out.read_text(encoding="utf-8")) == document
    assert all(len(line) <= 80 for line in lines)
    headings = [line for line in lines if line and not line.startswith(" ")]
    assert headings == [heading for heading, _ in show_sections()]
    assert "onnxruntime CPUExecutionProvider" in said
    assert str(tmp_path) not in said
    assert "<html" in page.read_text(encoding="utf-8").lower()
    assert sorted(left_in(tmp_path)) == ["bench.html", "bench.json"]
    assert "bench.json" in notes


def show_sections() -> list[tuple[str, Any]]:
    from dimrt.cli.bench import SECTIONS

    return list(SECTIONS.values())


def test_with_json_there_is_one_document_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    code, said, notes = call(capsys, *WORDS, "--json", "--graphs", "connector,decode", "--rounds", 2)
    assert (code, notes) == (0, "")
    document = json.loads(said)
    assert said.count("\n") == 1
    assert set(document["graphs"]) == {"connector", "decode"}
    assert len(document["edit"]["samples_s"]) == 2
    assert document["command"].startswith("dimrt")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--graphs", "painter"), "no graph 'painter'; this bundle has vision"),
        (("-o", "nowhere/bench.json"), "there is no folder nowhere"),
        (("--html", "."), "this is a folder"),
        (("--target", "h200"), "--target is for TensorRT engines"),
        (("--bundle", "nowhere"), "unknown bundle 'nowhere'"),
        (("--rounds", "0"), "'--rounds'"),
    ],
)
def test_bad_input(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, notes = call(capsys, *WORDS, *words)
    assert code == 2
    assert out == ""
    assert notes.startswith("dimrt: ") and said in notes
    assert notes.count("\n") == 1


def test_a_full_disk_loses_the_file_but_not_the_measurement(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(runs, "bench", lambda *_: standin_document())
    code, said, notes = call(capsys, *WORDS, "-o", tmp_path / "bench.json")
    assert code == 3
    assert json.loads(said.splitlines()[-1])["edit"]["p50"] > 0
    assert "can't write" in notes and "free some space" in notes
    assert left_in(tmp_path) == []


def test_a_reader_that_goes_away_does_not_lose_the_file(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_words: object, **_how: object) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr(runs, "bench", lambda *_: standin_document())
    monkeypatch.setattr("dimrt.cli.bench.click.echo", gone)
    assert call(capfd, *WORDS, "-q", "-o", tmp_path / "bench.json")[0] == 141
    assert json.loads((tmp_path / "bench.json").read_text())["edit"]["p50"] > 0


def test_an_interrupt_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "run_edits", interrupt)
    code, said, notes = call(capsys, *WORDS, "-o", tmp_path / "bench.json")
    assert code == 130
    assert "cancelled" in notes
    assert "ceilings" in said and '"format"' not in said
    assert left_in(tmp_path) == []


def test_two_measurements_are_compared(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    one.write_text(json.dumps(standin_document(seed=1)), encoding="utf-8")
    slower = json.dumps(standin_document(seed=2, scale=1.5))
    other.write_text(f"words that were printed before it\n{slower}\n", encoding="utf-8")
    code, said, _ = call(capsys, "bench", "compare", one, other)
    assert code == 0
    assert "worse" in said and "better" not in said
    assert all(len(line) <= 80 for line in said.splitlines())
    code, said, _ = call(capsys, "bench", "compare", one, one, "--json")
    assert code == 0
    assert {finding["verdict"] for finding in json.loads(said)["findings"]} == {"no evidence"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no measurement of `dimrt bench`"),
        ("{]", "is no measurement of `dimrt bench`"),
        ("[1, 2]", "is no measurement of `dimrt bench`"),
        ('{"format": 99, "ceilings": {}}', "format 99"),
    ],
)
def test_what_is_no_measurement_is_refused(
    text: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "odd.json").write_text(text)
    code, out, notes = call(capsys, "bench", "compare", tmp_path / "odd.json", tmp_path / "odd.json")
    assert code == 2
    assert said in notes and notes.count("\n") == 1
    assert out == ""


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, notes = call(capsys, "bench", "compare", "nowhere.json", "nowhere.json")
    assert code == 2
    assert "nowhere.json: can't be read" in notes


@pytest.mark.parametrize("seconds", [None, 0.0, 1e-7, 9.996e-4, 0.0123456, 0.99951, 1.0, 99.99, 12345.0])
def test_times_fit_their_column(seconds: float | None) -> None:
    assert len(show._time(seconds)) <= 8


def test_long_names_are_wrapped() -> None:
    lines = show._row("processor", "a very long name of a processor " * 9)
    assert all(len(line) <= show.WIDTH for line in lines)
    assert len(lines) > 1
