"""Where a run's weights come from, and the checkpoint it leaves."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint_folders import tiny_config, tiny_tensors, write_folder
from safetensors.torch import load_file, save_file

from dimrt.errors import CheckpointError, InputError
from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.model.config import encode_config
from dimrt.export.model.dim import load_dim
from dimrt.export.model.tensors import save_tensors
from dimrt.export.train import publish, start
from dimrt.export.train.publish import Trained, write_checkpoint
from dimrt.export.train.start import ModelSettings, SanaStart, load_trainable, open_start


@pytest.fixture(scope="module")
def t2i(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fixtures' text-to-image model as a checkpoint folder."""
    tensors = tiny_tensors(reference)
    tensors |= {f"decoder.model.{k}": v for k, v in load_file(reference / "painter_t2i_tiny.safetensors").items()}
    folder = write_folder(tmp_path_factory.mktemp("t2i"), reference, tensors)
    config = tiny_config()
    (folder / "dim.json").write_bytes(encode_config(replace(config, painter=replace(config.painter, task="generate"))))
    return folder


@pytest.fixture(scope="module")
def edit(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fixtures' edit model as a checkpoint folder."""
    return write_folder(tmp_path_factory.mktemp("edit"), reference, tiny_tensors(reference))


def test_an_edit_painter_begins_as_the_text_to_image_one_whatever_the_source(t2i: Path):
    narrow, _ = load_trainable(open_start(ModelSettings(str(t2i)), "text-to-image", 0))
    wide, connector = load_trainable(open_start(ModelSettings(str(t2i)), "edit", 0))
    draw = torch.Generator().manual_seed(0)
    latent, source = torch.randn(2, 1, 8, 4, 6, generator=draw)
    condition = torch.randn(1, 5, 48, generator=draw)
    with torch.no_grad():
        expected = narrow(latent, torch.tensor(500.0), condition)
        torch.testing.assert_close(wide(latent, torch.tensor(500.0), condition, source=source), expected)
    assert wide.config.task == "edit"
    assert all(parameter.requires_grad for parameter in (*wide.parameters(), *connector.parameters()))


def test_an_edit_model_starts_no_text_to_image_stage(edit: Path):
    with pytest.raises(InputError, match="text-to-image"):
        open_start(ModelSettings(str(edit)), "text-to-image", 0)
    with pytest.raises(InputError, match=r"model\.checkpoint"):
        open_start(ModelSettings(), "edit", 0)


def test_a_trained_model_is_a_checkpoint_with_the_frozen_parts_of_its_start(
    edit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    begun = open_start(ModelSettings(str(edit)), "edit", 0)
    painter, connector = load_trainable(begun)
    named = {f"painter.{n}": p.detach() for n, p in painter.named_parameters()}
    named |= {f"connector.{n}": p.detach() for n, p in connector.named_parameters()}
    moved = {name: value + 0.01 for name, value in named.items()}
    trained = Trained(begun, moved, "fp32", replace(begun.config, name="trained"))
    for limit, count in ((publish.SHARD_BYTES, 1), (300_000, 2)):
        monkeypatch.setattr(publish, "SHARD_BYTES", limit)
        write_checkpoint(trained, tmp_path / "checkpoint")
        assert len(list((tmp_path / "checkpoint").glob("*.safetensors"))) >= count
        read = Checkpoint.open(tmp_path / "checkpoint", offline=True)
        assert read.config.name == "trained"
        assert torch.equal(read.read("painter.null_condition"), moved["painter.null_condition"])
        assert torch.equal(read.read("connector.0.weight"), moved["connector.0.weight"])
        name = "painter.transformer.transformer_blocks.1.attn1.to_k.weight"
        assert torch.equal(read.read(name), moved[name])
        frozen = "designer.model.language_model.layers.0.mlp.up_proj.weight"
        assert torch.equal(read.read(frozen), begun.read(frozen))
    dim = load_dim(tmp_path / "checkpoint", offline=True)
    torch.testing.assert_close(dim.painter.null_condition, moved["painter.null_condition"])
    assert (tmp_path / "checkpoint" / "qwen" / "config.json").is_file()


def test_text_to_image_starts_from_sana_with_a_fresh_connector(
    t2i: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    begun = open_start(ModelSettings(str(t2i)), "text-to-image", 0)
    monkeypatch.setattr(start, "published_config", lambda task: begun.config)
    folder = tmp_path / "sana" / "transformer"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    painter, _ = load_trainable(begun)
    weights = {name: value.detach().clone() for name, value in painter.transformer.named_parameters()}
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    settings = ModelSettings(str(folder.parent), str(reference / "designer_tiny"), str(reference / "autoencoder_tiny"))
    source = open_start(settings, "text-to-image", 7)
    assert isinstance(source, SanaStart)
    fresh, connector = load_trainable(source)
    for name, value in fresh.transformer.named_parameters():
        assert torch.equal(value, weights[name])
    assert fresh.null_condition.std().item() == pytest.approx(48**-0.5, rel=0.1)
    assert not torch.equal(connector[0].weight, load_trainable(begun)[1][0].weight)
    again = load_trainable(open_start(settings, "text-to-image", 7))[1]
    assert torch.equal(connector[0].weight, again[0].weight)
    write_checkpoint(Trained(source, {}, "fp32"), tmp_path / "checkpoint")
    assert Checkpoint.open(tmp_path / "checkpoint", offline=True).config.painter.task == "generate"
    with pytest.raises(InputError, match="text-to-image stage"):
        open_start(settings, "edit", 7)
    weights["patch_embed.proj.weight"] = weights["patch_embed.proj.weight"][:, :3].clone()
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    with pytest.raises(CheckpointError, match=r"patch_embed\.proj\.weight"):
        open_start(settings, "text-to-image", 7)
    shutil.rmtree(tmp_path / "sana")


def test_weights_are_as_readable_as_any_new_file(tmp_path: Path):
    (tmp_path / "other").touch()
    save_tensors({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode
