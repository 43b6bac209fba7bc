"""`dimrt edit` and `dimrt plan` on a real photo with a real (tiny, random) bundle."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_harness import Dimrt, left_in, start
from PIL import Image

from dimrt.blueprint import TITLES

PLAN = "Paint it red"
"""The tiny bundle has room for 13 tokens, and its tokens are bytes."""
FAST = ("--steps", 2, "--max-plan-tokens", 6)


def pixels(path: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """A written picture."""
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where an edit goes."""
    return tmp_path / "edited.png"


def test_a_photo_is_edited_at_its_size(dimrt: Dimrt, photo: Path, out: Path, tiny_edit_bundle: Path) -> None:
    outcome = dimrt("edit", photo, "warmer", "-o", out, "--bundle", tiny_edit_bundle, *FAST)
    assert outcome.code == 0, outcome.err
    assert pixels(out).shape == pixels(photo).shape
    assert outcome.out.strip()
    for said in (str(tiny_edit_bundle), "--bundle", "CPUExecutionProvider", "seed", str(out), "451 x 300"):
        assert said in outcome.err
    assert left_in(out.parent) == ["edited.png"]


def test_the_result_as_json(dimrt: Dimrt, photo: Path, out: Path, tiny_edit_bundle: Path) -> None:
    given = ("--bundle", tiny_edit_bundle, "--seed", 5, "--guidance", 2, "--composite", "tone", *FAST, "--json")
    outcome = dimrt("edit", photo, "warmer", "-o", out, *given)
    assert outcome.code == 0 and outcome.err == ""
    document = outcome.document
    assert document["output"] == str(out)
    assert (document["width"], document["height"]) == (451, 300)
    assert (document["seed"], document["steps"], document["guidance_scale"]) == (5, 2, 2.0)
    assert document["composite"] == "tone"
    assert document["plan"]["text"]
    assert list(document["plan"]["sections"]) == list(TITLES.values())
    assert "CPUExecutionProvider" in document["provider"]
    assert {"plan", "condition", "encode", "paint", "decode", "composite"} <= set(document["seconds"])


def test_the_same_seed_gives_the_same_bytes(dimrt: Dimrt, photo: Path, tmp_path: Path, tiny_edit_bundle: Path) -> None:
    outs = [tmp_path / f"{index}.png" for index in range(3)]
    for out, seed in zip(outs, (1, 1, 2), strict=True):
        given = ("--bundle", tiny_edit_bundle, "--no-plan", "--steps", 2, "--seed", seed, "--composite", "none")
        assert dimrt("edit", photo, "warmer", "-o", out, *given).code == 0
    first, again, other = (path.read_bytes() for path in outs)
    assert first == again
    assert first != other


def test_a_ready_plan_is_used_and_none_is_written(
    dimrt: Dimrt, photo: Path, out: Path, tmp_path: Path, tiny_edit_bundle: Path
) -> None:
    (tmp_path / "plan.txt").write_text(PLAN + "\n", encoding="utf-8")
    given = ("--bundle", tiny_edit_bundle, "--plan", tmp_path / "plan.txt", "--steps", 1, "--json")
    document = dimrt("edit", photo, "warmer", "-o", out, *given).document
    assert document["plan"]["text"] == PLAN
    assert "plan" not in document["seconds"]


def test_a_plan_from_standard_input(photo: Path, out: Path, tiny_edit_bundle: Path) -> None:
    given = ("--bundle", tiny_edit_bundle, "--plan", "-", "--steps", 1, "--json")
    process = start(
        "edit",
        photo,
        "warmer",
        "-o",
        out,
        *given,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    written, err = process.communicate(PLAN.encode())
    assert process.returncode == 0, err
    assert PLAN.encode() in written
    assert out.exists()


def test_without_a_plan(dimrt: Dimrt, photo: Path, out: Path, tiny_edit_bundle: Path) -> None:
    outcome = dimrt("edit", photo, "warmer", "-o", out, "--bundle", tiny_edit_bundle, "--no-plan", "--steps", 1)
    assert (outcome.code, outcome.out) == (0, "")
    assert out.exists()


def test_quiet_says_nothing(dimrt: Dimrt, photo: Path, out: Path, tiny_edit_bundle: Path) -> None:
    outcome = dimrt("edit", photo, "warmer", "-o", out, "--bundle", tiny_edit_bundle, *FAST, "--quiet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert out.exists()


def test_the_centre_square(dimrt: Dimrt, photo: Path, out: Path, tiny_edit_bundle: Path) -> None:
    given = ("--bundle", tiny_edit_bundle, "--no-plan", "--steps", 1, "--frame", "crop")
    assert dimrt("edit", photo, "warmer", "-o", out, *given).code == 0
    height, width, _ = pixels(out).shape
    assert height == width


def test_a_transparent_photo_on_jpeg_says_so(dimrt: Dimrt, tmp_path: Path, tiny_edit_bundle: Path) -> None:
    clear = tmp_path / "clear.png"
    Image.new("RGBA", (90, 60), (200, 40, 40, 90)).save(clear)
    given = ("--bundle", tiny_edit_bundle, "--no-plan", "--steps", 1)
    outcome = dimrt("edit", clear, "warmer", "-o", tmp_path / "out.jpg", *given)
    assert outcome.code == 0
    assert "transparency" in outcome.err


def test_plan_writes_the_plan_and_no_picture(dimrt: Dimrt, photo: Path, tmp_path: Path, tiny_edit_bundle: Path) -> None:
    given = ("--bundle", tiny_edit_bundle, "--max-plan-tokens", 6)
    outcome = dimrt("plan", photo, "warmer", *given, "-o", tmp_path / "plan.txt")
    assert outcome.code == 0, outcome.err
    text = (tmp_path / "plan.txt").read_text(encoding="utf-8")
    assert text.strip() == outcome.out.strip() != ""
    document = dimrt("plan", photo, "warmer", *given, "--json").document
    assert document["plan"]["text"] == text.strip()
    assert document["output"] is None
    assert left_in(tmp_path) == ["plan.txt"]


def test_an_edit_bundle_does_not_generate(dimrt: Dimrt, out: Path, tiny_edit_bundle: Path) -> None:
    outcome = dimrt("generate", "a red cube", "-o", out, "--bundle", tiny_edit_bundle)
    assert outcome.code == 2
    assert "generate" in outcome.err
    assert not out.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_control_c_cancels_and_leaves_nothing(photo: Path, out: Path, tiny_edit_bundle: Path) -> None:
    """The first word of the plan shows that the edit runs; 1000 steps are long enough to be interrupted."""
    given = ("--bundle", tiny_edit_bundle, "--steps", 1000, "--max-plan-tokens", 40)
    process = start("edit", photo, "warmer", "-o", out, *given, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert b"cancelled; nothing was written" in err and b"Traceback" not in err
    assert left_in(out.parent) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_progress_with_counts_on_a_terminal(photo: Path, out: Path, tiny_edit_bundle: Path) -> None:
    terminal, child = os.openpty()
    given = ("--bundle", tiny_edit_bundle, *FAST)
    process = start("edit", photo, "warmer", "-o", out, *given, stdout=subprocess.PIPE, stderr=child)
    os.close(child)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # how Linux reports that the other side closed
            break
        if not piece:
            break
        shown += piece
    process.communicate()
    os.close(terminal)
    assert process.returncode == 0
    text = shown.decode(errors="replace")
    for phase in ("vision", "plan", "condition", "encode", "paint", "decode", "composite"):
        assert phase in text
    assert "2/2" in text
