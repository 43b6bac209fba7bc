"""`dimrt distill` from end to end, on the reference's tiny model and a few small pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli_harness import Dimrt, Outcome
from PIL import Image
from tiny import write_tiny_checkpoint

from dimrt.export.model.checkpoint import Checkpoint

CONFIG = """
objective = "distill"
stage = "edit"
storage = "fp32"
[model]
name = "tiny-sprint"
[distill.method]
way = "consistency"
warmup = 1
[distill.method.critic]
width = 8
[loop]
steps = 2
batch = 2
log_every = 1
sample_every = 2
[loop.optimizer.student]
rate = 1e-3
[samples]
count = 1
[[data]]
kind = "pairs"
path = "pairs.jsonl"
"""
FEW = ((999,), (999, 780), (999, 850, 600, 300))


@pytest.fixture(scope="module")
def place(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher, four pairs and a configuration."""
    folder = tmp_path_factory.mktemp("distill")
    write_tiny_checkpoint(reference, folder / "teacher", "edit", "square")
    rng, rows = np.random.default_rng(0), []
    for number in range(4):
        for role in ("a", "b"):
            pixels = rng.integers(0, 255, (128, 128, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}{role}.png")
        names = {"source_image": f"{number}a.png", "edited_image": f"{number}b.png"}
        rows.append({"id": str(number), **names, "edit_prompt": "make it blue"})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "tiny.toml").write_text(CONFIG)
    return folder


def distill(dimrt: Dimrt, place: Path, *arguments: object) -> Outcome:
    return dimrt("distill", place / "teacher", "--config", place / "tiny.toml", "--offline", *arguments)


def test_a_run_leaves_a_student_with_its_schedule(dimrt: Dimrt, place: Path) -> None:
    out = place / "run"
    done = distill(dimrt, place, "-o", out)
    assert done.code == 0, done.err
    assert "30 steps, guidance 7.5" in done.err
    assert "1, 2, 4 steps without guidance, by consistency" in done.err
    figures = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert {"student/consistency", "student/score", "critic/real"} <= figures[-1].keys()
    student, teacher = (Checkpoint.open(folder, offline=True) for folder in (out / "checkpoint", place / "teacher"))
    schedule = student.config.schedule
    assert student.config.name == "tiny-sprint"
    assert (schedule.steps, schedule.guidance_scale, schedule.shift, schedule.seed) == (2, 1.0, 3.0, 233)
    assert schedule.distilled is not None
    assert (schedule.distilled.timesteps, schedule.distilled.noise) == (FEW, "fresh")
    changed = "painter.transformer.proj_out.weight"
    assert not (student.read(changed) == teacher.read(changed)).all()
    for kept in ("painter.null_condition", "connector.0.weight"):
        assert (student.read(kept) == teacher.read(kept)).all()
    assert [path.name for path in (out / "samples").iterdir()] == ["step-000002.png"]


def test_adapters_leave_a_checkpoint_like_any_other(dimrt: Dimrt, place: Path) -> None:
    out = place / "lora"
    done = distill(dimrt, place, "-o", out, "--lora", 2, "--guidance", 3, "--set", "distill.method.critic.weight=0")
    assert done.code == 0, done.err
    assert "adapters of rank 2" in done.err
    student, teacher = (Checkpoint.open(folder, offline=True) for folder in (out / "checkpoint", place / "teacher"))
    assert student.config.schedule.distilled is not None
    assert student.config.schedule.distilled.guidance_scale == 3
    whole, bias = "painter.transformer.transformer_blocks.0.attn2.to_q.weight", "painter.transformer.proj_out.bias"
    assert not (student.read(whole) == teacher.read(whole)).all()
    assert (student.read(bias) == teacher.read(bias)).all()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-o", "RUN", "--set", "distill.steps=3"), "1, 2, 4"),
        (("-o", "RUN", "--set", "distill.method.way=magic"), "magic"),
        (("-o", "RUN", "--lora", "4096"), "lora.rank"),
        (("-o", "RUN", "--resume"), "no run to resume"),
        ((), "--out"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(
    dimrt: Dimrt, place: Path, arguments: tuple[str, ...], expected: str
) -> None:
    known = sorted(place.iterdir())
    done = distill(dimrt, place, *(place / "new" if part == "RUN" else part for part in arguments))
    assert done.code == 2
    assert expected in done.err
    assert "Traceback" not in done.err
    assert sorted(place.iterdir()) == known


@pytest.mark.slow
def test_the_student_is_exported_and_edits_by_its_own_schedule(dimrt: Dimrt, place: Path, photo: Path) -> None:
    out, bundle = place / "exported-run", place / "bundle"
    assert distill(dimrt, place, "-o", out, "--set", "loop.sample_every=0").code == 0
    done = dimrt("export", "--checkpoint", out / "checkpoint", "--fp32", "-o", bundle, "--offline")
    assert done.code == 0, done.err
    schedule = json.loads((bundle / "manifest.json").read_text())["schedule"]
    assert [len(row) for row in schedule["distilled"]["timesteps"]] == [1, 2, 4]
    for steps in ((), ("--steps", 1), ("--steps", 4)):
        target = place / "edited.png"
        edited = dimrt("edit", photo, "warmer", "-o", target, "--bundle", bundle, "--no-plan", "--json", *steps)
        assert edited.code == 0, edited.err
        assert (edited.document["steps"], edited.document["guidance_scale"]) == (steps[-1] if steps else 2, 1.0)
    refused = dimrt("edit", photo, "warmer", "-o", place / "x.png", "--bundle", bundle, "--guidance", 4)
    assert (refused.code, "distilled" in refused.err) == (2, True)
