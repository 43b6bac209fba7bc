"""The whole recipe at a size that proves nothing but that its stages fit together."""

import json
from dataclasses import replace

import pytest

from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.nano import recipe
from dimrt.export.nano.designer_training import Recipe, train_designer
from dimrt.export.train import config

FEW = ("loop.steps=2", "loop.batch=4", "loop.sample_every=2", "samples.count=2", "loop.log_every=1")


@pytest.fixture
def small(monkeypatch):
    """Stages of 8 cases and runs of two steps."""
    stages = tuple(replace(stage, collection=replace(stage.collection, shards=1, size=8)) for stage in recipe.STAGES)
    monkeypatch.setattr(recipe, "STAGES", stages)
    monkeypatch.setattr(recipe, "BASIS_CASES", 30)
    load = config.load_config
    monkeypatch.setattr(config, "load_config", lambda name, values=(): load(name, [*values, *FEW]))


def test_every_stage_takes_up_what_the_one_before_left(small, tmp_path, tokenizer_path):
    designer = tmp_path / "designer"
    designer.mkdir()
    (designer / "tokenizer.json").write_bytes(tokenizer_path.read_bytes())
    train_designer(designer, Recipe(look_steps=1, look_batch=4, steps=1, hard_steps=1, batch=4, warmup=1))
    recipe.train_painter(tmp_path, 1)
    recipe.assemble_checkpoint(tmp_path, tmp_path / "checkpoint")
    recipe.train_student(tmp_path, 1)
    for run in (*(stage.run(tmp_path) for stage in recipe.STAGES), tmp_path / "student"):
        assert [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()] == [1, 2]
        assert (run / "samples" / "step-000002.png").is_file()
    student = Checkpoint.open(tmp_path / "student" / "checkpoint")
    assert student.config.schedule.distilled is not None and student.config.schedule.guidance_scale == 1
    assert [style.name for style in student.config.prompt.styles] == ["short", "brief"]


def test_a_student_comes_after_its_teacher(small, tmp_path):
    from dimrt.errors import DimrtError

    with pytest.raises(DimrtError):
        recipe.train_student(tmp_path, 1)
