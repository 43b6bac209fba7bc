"""The group itself: help, version, usage errors, errors as JSON, a reader that goes away."""

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from cli_harness import Dimrt, start

from dimrt.cli.console import harmless
from dimrt.cli.main import COMMANDS


def test_version(dimrt: Dimrt) -> None:
    outcome = dimrt("--version")
    assert (outcome.code, outcome.out) == (0, f"dimrt {version('dimrt')}\n")


@pytest.mark.parametrize("args", [(), ("--help",), ("-h",)])
def test_help_names_every_command_and_exit_code(dimrt: Dimrt, args: tuple[str, ...]) -> None:
    outcome = dimrt(*args)
    assert outcome.code == 0
    for name, line in COMMANDS.items():
        assert f"  {name} " in outcome.out and line in outcome.out
    for code in ("0 ", "1 ", "2 ", "3 ", "130 "):
        assert f"\n    {code}" in outcome.out


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_helps(dimrt: Dimrt, name: str) -> None:
    outcome = dimrt(name, "--help")
    assert outcome.code == 0
    assert outcome.out.startswith(f"Usage: dimrt {name}")
    assert "--json" in outcome.out or name == "worker"  # whose stdout belongs to the program that started it


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("paint",), "No such command 'paint'"),
        (("edit",), "Missing argument 'PHOTO'"),
        (("edit", "a.jpg", "warmer"), "Missing option '-o'"),
        (("edit", "a.jpg", "warmer", "-o", "b.jpg", "--steps", "0"), "--steps"),
        (("edit", "a.jpg", "warmer", "-o", "b.jpg", "--seed", "-1"), "--seed"),
        (("edit", "a.jpg", "warmer", "-o", "b.jpg", "--guidance", "-1"), "--guidance"),
        (("edit", "a.jpg", "warmer", "-o", "b.jpg", "--device", "tpu"), "--device"),
        (("edit", "a.jpg", "warmer", "-o", "b.jpg", "--quality", "101"), "--quality"),
        (("edit", "a.jpg", "warmer", "-o", "b.jpg", "--colour"), "--colour"),
        (("edit", "a.jpg", "warmer", "-o", "b.jpg", "--plan", "p.txt", "--no-plan"), "exclude each other"),
        (("export", "--fp16", "--fp32"), "exclude each other"),
    ],
)
def test_usage_errors_exit_2_and_name_the_flag(dimrt: Dimrt, args: tuple[str, ...], said: str) -> None:
    outcome = dimrt(*args)
    assert outcome.code == 2
    assert said in outcome.err
    assert "--help`" in outcome.err
    assert outcome.out == ""


def test_errors_as_json(dimrt: Dimrt, tmp_path: Path) -> None:
    typed = dimrt("edit", tmp_path / "none.jpg", "warmer", "-o", tmp_path / "out.jpg", "--json")
    assert typed.code == 2
    assert typed.document["error"]["type"] == "InputError"
    assert "none.jpg" in typed.document["error"]["message"]
    assert typed.err == ""
    usage = dimrt("edit", "--json")
    assert usage.code == 2
    assert "PHOTO" in usage.document["error"]["message"]


@pytest.mark.parametrize("how", [KeyboardInterrupt, MemoryError, OSError(28, "No space left on device")])
def test_what_interrupts_python_has_an_exit_code(
    dimrt: Dimrt, monkeypatch: pytest.MonkeyPatch, how: BaseException
) -> None:
    """A stand-in raises, since a test can't fill the machine's memory or press keys at a given instant."""

    def interrupted() -> None:
        raise how

    monkeypatch.setattr("dimrt.cli.doctor.CHECKS", (interrupted,))
    outcome = dimrt("doctor")
    assert outcome.code == (130 if how is KeyboardInterrupt else 3)
    assert outcome.err.startswith("dimrt: ")
    assert "Traceback" not in outcome.err


def test_a_reader_that_went_away_is_no_error() -> None:
    process = start("--help", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait() == 141
    process.stderr.close()


def test_a_plan_does_not_steer_the_terminal() -> None:
    assert harmless("1. Layout:\ta café 写真\n\x1b[2J\x07") == "1. Layout:\ta café 写真\n\ufffd[2J\ufffd"
