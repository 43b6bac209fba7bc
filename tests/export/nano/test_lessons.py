"""Nano's lessons as runs of the common loop."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dimrt.errors import InputError
from dimrt.export.nano import recipe
from dimrt.export.nano.painter import make_painter
from dimrt.export.nano.paintings import EMPHASIS, Paintings
from dimrt.export.train.checkpoint import States
from dimrt.export.train.config import load_config
from dimrt.export.train.launch import prepare


def test_each_lesson_has_a_preset_that_names_it():
    for stage in recipe.STAGES:
        assert load_config(stage.preset).nano.lesson == stage.collection.name
    assert load_config(recipe.STAGES[0].preset).nano.fresh
    assert not any(load_config(stage.preset).nano.fresh for stage in recipe.STAGES[1:])
    assert len({stage.run(Path()) for stage in recipe.STAGES}) == len(recipe.STAGES)


def test_the_painter_of_the_last_lesson_begun_is_read(tmp_path: Path):
    with pytest.raises(InputError, match="no painter"):
        recipe.load_painter(tmp_path)
    painter, connector = make_painter()
    for number, stage in enumerate(recipe.STAGES):
        with torch.no_grad():
            painter.null_condition.fill_(number)
        both = nn.ModuleDict({"painter": painter, "connector": connector})
        values = {name: value.detach() for name, value in both.named_parameters()}
        States(stage.run(tmp_path), 1).save(1, {"parameters": values, "optimizers": {}, "average": values})
        found, _ = recipe.load_painter(tmp_path)
        assert (found.null_condition == number).all()


def test_paintings_are_examples_drawn_by_emphasis(tmp_path: Path):
    labels = ["remove", "photo blur", "scene sepia"]
    latents = np.arange(3 * 2 * 4 * 2 * 2, dtype=np.float16).reshape(3, 2, 4, 2, 2)
    (tmp_path / "latents-000").mkdir()
    (tmp_path / "conditions-000").mkdir()
    np.save(tmp_path / "latents-000" / "latents.npy", latents)
    (tmp_path / "latents-000" / "cases.json").write_text('{"labels": ["remove", "photo blur", "scene sepia"]}')
    np.save(tmp_path / "conditions-000" / "rows.npy", np.ones((9, 5), np.float16))
    np.save(tmp_path / "conditions-000" / "starts.npy", np.array([0, 2, 5, 9]))
    paintings = Paintings(tmp_path, 1)
    assert list(paintings.sizes()) == [(2, 2)] * 3
    assert list(paintings.weights()) == [EMPHASIS.get(label, 1.0) for label in labels]
    assert list(Paintings(tmp_path, 1, {"remove": 3.0}).weights()) == [3.0, *paintings.weights()[1:]]
    with pytest.raises(InputError, match="'removal' is no label; there are action"):
        Paintings(tmp_path, 1, {"removal": 3.0})
    batch = paintings.batch([2, 0])
    assert batch.keys == ["scene sepia 2", "remove 0"]
    assert batch.mask.sum(1).tolist() == [4, 2]
    assert batch.source is not None
    assert torch.equal(batch.source[1], torch.from_numpy(latents[0, 0].astype(np.float32)))
    assert torch.equal(batch.target[0], torch.from_numpy(latents[2, 1].astype(np.float32)))


def test_a_lesson_needs_its_root_with_a_designer(tmp_path: Path):
    with pytest.raises(InputError, match=r"nano\.root"):
        prepare(load_config("nano"))
    with pytest.raises(InputError, match="no designer"):
        prepare(load_config("nano", [f'nano.root="{tmp_path}"']))
