"""`dimrt train` from end to end, on the reference's tiny model and a few small pictures."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli_harness import Dimrt, Outcome, left_in, start
from PIL import Image
from tiny import write_tiny_checkpoint

from dimrt.export.model.checkpoint import Checkpoint

CONFIG = """
stage = "edit"
storage = "fp32"
[loop]
steps = 4
batch = 2
log_every = 1
sample_every = 2
[loop.optimizer.painter]
rate = 1e-3
[samples]
count = 1
steps = 2
guidance = 2.0
[[data]]
kind = "pairs"
path = "pairs.jsonl"
"""


@pytest.fixture(scope="module")
def place(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint, six pairs of which one is broken, and a configuration."""
    folder = tmp_path_factory.mktemp("train")
    write_tiny_checkpoint(reference, folder / "checkpoint", "edit", "free")
    rng, rows = np.random.default_rng(0), []
    for number in range(6):
        for role in ("a", "b"):
            pixels = rng.integers(0, 255, (128, 128, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}{role}.png")
        names = {"source_image": f"{number}a.png", "edited_image": f"{number}b.png"}
        rows.append({"id": str(number), **names, "edit_prompt": "make it blue"})
    rows[4]["edited_image"] = "absent.png"
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "tiny.toml").write_text(CONFIG)
    return folder


def train(dimrt: Dimrt, place: Path, *arguments: object) -> Outcome:
    """A run of the configuration from the tiny checkpoint."""
    first = () if "--checkpoint" in arguments else ("--checkpoint", place / "checkpoint")
    return dimrt("train", place / "tiny.toml", *first, "--offline", *arguments)


def test_a_run_leaves_a_checkpoint_samples_and_logs_and_resumes(dimrt: Dimrt, place: Path) -> None:
    out = place / "run"
    done = train(dimrt, place, "-o", str(out), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["steps"] == 4
    read = Checkpoint.open(out / "checkpoint", offline=True)
    begun = Checkpoint.open(place / "checkpoint", offline=True)
    assert not (read.read("painter.null_condition") == begun.read("painter.null_condition")).all()
    assert sorted(path.name for path in (out / "samples").iterdir()) == ["step-000002.png", "step-000004.png"]
    with Image.open(out / "samples" / "step-000004.png") as picture:
        assert picture.size == (3 * 128 + 8, 128)
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()] == [1, 2, 3, 4]
    problems = [json.loads(line) for line in (out / "problems.jsonl").read_text().splitlines()]
    assert [problem["line"] for problem in problems] == [5]
    assert list((out / "tensorboard").iterdir())
    again = train(dimrt, place, "-o", str(out))
    assert (again.code, "--resume" in again.err) == (2, True)
    longer = train(dimrt, place, "-o", str(out), "--resume", "--set", "loop.steps=5")
    assert longer.code == 0, longer.err
    assert "loop.steps" in longer.err
    assert len((out / "log.jsonl").read_text().splitlines()) == 5


def test_a_dry_run_says_what_would_be_trained_and_leaves_nothing(dimrt: Dimrt, place: Path) -> None:
    before = sorted(place.rglob("*"))
    done = train(dimrt, place, "--dry-run", "--set", "loop.sample_every=0")
    assert done.code == 0, done.err
    assert "million parameters" in done.err
    assert "5 examples" in done.err
    assert "absent.png" in done.err
    assert "everything is in place" in done.err
    assert sorted(place.rglob("*")) == before


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process")
def test_an_interrupted_run_keeps_its_state_and_says_how_to_go_on(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ("train", place / "tiny.toml", "--checkpoint", place / "checkpoint", "--offline", "-o", out)
    process = start(*words, "--set", "loop.steps=100000", "--set", "loop.sample_every=0", stderr=subprocess.PIPE)
    while process.poll() is None and not (out / "log.jsonl").is_file():
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said.decode()
    assert b"--resume" in said
    assert b"Traceback" not in said
    steps = [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert left_in(out / "state") == [f"step-{steps[-1]:08}"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-o", "RUN", "--set", "loop.stps=4"), "loop.stps"),
        (("-o", "RUN", "--set", "loop.batch=5", "--set", "loop.accumulate=2"), "multiple of 2"),
        (("-o", "RUN", "--data", "nowhere"), "nowhere"),
        (("-o", "RUN", "--checkpoint", "nowhere"), "nowhere"),
        (("-o", "RUN", "--resume"), "no run to resume"),
        (("-o", "absent/RUN"), "Create it first"),
        ((), "--out"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(
    dimrt: Dimrt, place: Path, arguments: tuple[str, ...], expected: str
) -> None:
    known = sorted(place.iterdir())
    given = [str(place / "new") if part == "RUN" else part for part in arguments]
    done = train(dimrt, place, *(str(place / part) if part.startswith("absent") else part for part in given))
    assert done.code == 2
    assert expected in done.err
    assert "Traceback" not in done.err
    assert sorted(place.iterdir()) == known


def test_an_unknown_configuration_names_those_there_are(dimrt: Dimrt, tmp_path: Path) -> None:
    done = dimrt("train", "dim-9b", "-o", str(tmp_path / "run"))
    assert done.code == 2
    assert "dim-4.6b-edit" in done.err
