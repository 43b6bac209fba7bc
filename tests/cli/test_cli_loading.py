"""What an edit pays once is told, and what it paints with can be bounded: on nano."""

import re
from pathlib import Path

import pytest
from cli_harness import Dimrt

from dimrt.cli.console import Console
from dimrt.cli.running import warm
from dimrt.editor import Editor

GRAPHS = ["vision", "language", "connector", "encode", "context", "step", "decode"]
QUICK = ("--device", "cpu", "--threads", 1, "--no-plan", "--composite", "none")
GUIDED = ("--schedule", "teacher", "--guidance")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where an edit goes."""
    return tmp_path / "edited.png"


def test_the_document_tells_what_was_loaded_and_how_guidance_went(dimrt: Dimrt, photo: Path, out: Path) -> None:
    given = ("--steps", 2, *GUIDED, 2, "--guidance-interval", "0.1,0.9", "--json")
    document = dimrt("edit", photo, "warmer", "-o", out, *QUICK, *given).document
    assert list(document["loading"]) == GRAPHS
    assert document["seconds"]["load"] == pytest.approx(sum(document["loading"].values()), abs=0.01)
    assert (document["guidance_interval"], document["tile"]) == ([0.1, 0.9], None)


def test_verbose_tells_the_phases_where_no_one_watches(dimrt: Dimrt, photo: Path, out: Path) -> None:
    told = dimrt("edit", photo, "warmer", "-o", out, *QUICK, "-v").err
    assert re.search(r"^load +7/7 +\d+\.\d\d s$|^load +\d+\.\d\d s$", told, re.MULTILINE), told
    assert re.search(r"^loaded +vision \d+\.\d\d s, language", told, re.MULTILINE), told
    assert re.search(r"^paint +", told, re.MULTILINE)
    assert "paint " not in dimrt("edit", photo, "warmer", "-o", out, *QUICK).err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--guidance-interval", "0.2"), "--guidance-interval 0.2: give two noise levels"),
        (("--guidance-interval", "a,b"), "--guidance-interval a,b: give two noise levels"),
        ((*GUIDED, 2, "--guidance-interval", "0.9,0.2"), "guidance_interval is 0.9 to 0.2"),
        ((*GUIDED, 1, "--guidance-interval", "0.2,0.9"), "guidance_scale is 1; leave it out"),
        (("--tile", 64), "takes pictures of 128 x 128 and no others"),
    ],
)
def test_what_can_not_be_is_one_line(
    dimrt: Dimrt, photo: Path, out: Path, given: tuple[object, ...], said: str
) -> None:
    outcome = dimrt("edit", photo, "warmer", "-o", out, *QUICK, *given)
    assert (outcome.code, out.exists()) == (2, False)
    assert said in outcome.err and "Traceback" not in outcome.err


def test_a_server_says_what_went_before_its_first_edit(capsys: pytest.CaptureFixture[str]) -> None:
    editor = Editor.load(device="cpu", threads=1, verify="layout")
    warm(editor, Console(quiet=False, as_json=False))
    assert re.search(r"^ready     after \d+\.\d s: \d+\.\d\d s for loading \(vision", capsys.readouterr().err, re.M)
    assert editor.warm().loading == {}
