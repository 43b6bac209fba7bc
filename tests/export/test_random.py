"""The full-size stand-in: published names and shapes, one tensor at a time, and values a network can bear."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from exporting import random_model
from tokenizers import Tokenizer

from dimrt.bundle import Bundle
from dimrt.errors import InputError
from dimrt.export import facts
from dimrt.export.model.assembly import empty_dim, expected_tensors
from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.model.dim import build_dim
from dimrt.export.model.names import ignored
from dimrt.export.model.published import REQUEST, published_config
from dimrt.export.model.random import NAMES, RandomCheckpoint
from dimrt.export.model.source import Reference, Shallow
from dimrt.export.pipeline import export_bundle
from dimrt.export.precision import FP16
from dimrt.export.writer import Writer

LAYER = "designer.model.language_model.layers.{}.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def keys(reference: Path) -> dict[str, Any]:
    return json.loads((reference / "checkpoint_keys.json").read_text())


@pytest.fixture(scope="module")
def edit() -> RandomCheckpoint:
    return RandomCheckpoint.published("dim-4.6b-edit", seed=5)


@pytest.mark.parametrize("name", list(NAMES))
def test_published_names_and_shapes(name: str, keys: dict[str, Any]) -> None:
    """Neither more nor fewer than the published checkpoint holds."""
    made = RandomCheckpoint.published(name)
    overrides = keys["t2i_overrides"] if name == "dim-4.6b-t2i" else {}
    want = {key: tuple(shape) for key, shape in (keys["tensors"] | overrides).items() if not ignored(key)}
    for tied in keys["tied_may_be_absent"]:
        del want[tied]
    with torch.device("meta"):
        assert expected_tensors(empty_dim(made.config, made.parts)) == want
    assert made.config.painter == published_config(NAMES[name]).painter
    assert "random" in made.config.name and made.random_seed == 0


def test_another_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"dim-4\.6b-edit, dim-4\.6b-t2i"):
        RandomCheckpoint.published("dim-7b")


def test_a_tensor_follows_from_seed_and_name_alone(edit: RandomCheckpoint) -> None:
    """The same again, another for another layer or seed, and no two rows alike."""
    first = edit.read(LAYER.format(0))
    assert first.shape == (11008, 2048) and first.dtype == torch.bfloat16
    assert first.equal(RandomCheckpoint.published("dim-4.6b-edit", seed=5).read(LAYER.format(0)))
    assert not first.equal(edit.read(LAYER.format(1)))
    assert not first.equal(RandomCheckpoint.published("dim-4.6b-edit", seed=6).read(LAYER.format(0)))
    assert len(torch.unique(first[:, :8], dim=0)) == len(first)
    assert float(first.float().std()) == pytest.approx(2048**-0.5, rel=0.01)


def test_a_tied_head_is_the_embedding() -> None:
    model = random_model(64, 1)
    assert model.read("designer.lm_head.weight").equal(model.read("designer.model.language_model.embed_tokens.weight"))


def test_the_tokenizer_has_the_published_special_tokens(edit: RandomCheckpoint) -> None:
    folder = edit.parts.designer_folder
    assert folder is not None
    tokens = facts.designer_facts(empty_dim(edit.config, edit.parts), folder).tokens
    assert (tokens.im_start, tokens.im_end, tokens.vision_start, tokens.vision_end) == (151644, 151645, 151652, 151653)
    assert tokens.image_pad == 151655 and tokens.stop == (151645, 151643)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == 151936
    for text in (REQUEST, "Ångström, 漢字, 🦊"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert 3 < len(REQUEST) / len(tokenizer.encode(REQUEST).ids) < 6
    assert tokenizer.decode([100_000])


def test_a_written_checkpoint_reads_back_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In shards, fused as published; the head isn't repeated."""
    monkeypatch.setattr("dimrt.export.model.random.SHARD_BYTES", 200_000)
    model = random_model(64, 2)
    model.write_checkpoint(tmp_path / "checkpoint")
    assert len(list((tmp_path / "checkpoint").glob("model-*.safetensors"))) > 2
    opened = Checkpoint.open(tmp_path / "checkpoint", offline=True)
    assert opened.config == model.config
    assert "decoder.model.blocks.1.attn.qkv.weight" in opened.stored and "mllm.lm_head.weight" not in opened.stored
    for name in model.shapes:
        assert opened.read(name).equal(model.read(name)), name


@torch.no_grad()
def test_activations_stay_near_one_through_all_layers() -> None:
    """Published widths would take minutes; depth is what could make values grow, so the depths are the published."""
    model = random_model(128, 36)
    dim = build_dim_of(model)
    generator = torch.Generator().manual_seed(0)
    embedded = torch.randn(1, 30, 128, generator=generator)
    out = dim.designer.model.language_model(inputs_embeds=embedded, output_hidden_states=True)
    largest = max(float(hidden.abs().max()) for hidden in out.hidden_states)
    assert largest < 30 and 0.5 < float(out.last_hidden_state.std()) < 2
    latent = torch.randn(1, 8, 4, 4, generator=generator)
    condition = torch.randn(1, 9, 128, generator=generator)
    painted = dim.painter(latent, torch.tensor(500.0), condition, source=latent)
    assert 0.2 < float(painted.std()) < 5
    pixels = dim.autoencoder.decode(latent).sample
    assert 0.05 < float(pixels.std()) < 5
    encoded = dim.autoencoder.encode(torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1).latent
    assert 0.05 < float(encoded.std()) < 5


def build_dim_of(model: RandomCheckpoint) -> Any:
    """All parts of a small model at once."""
    reference = Reference(model)
    return type("Parts", (), {part: getattr(reference, part) for part in ("designer", "painter", "autoencoder")})


@torch.no_grad()
def test_a_shallow_copy_is_the_first_layers(edit: RandomCheckpoint) -> None:
    """Its library model computes what the whole one has after so many layers."""
    model = random_model(64, 5)
    embedded = torch.randn(1, 7, 64, generator=torch.Generator().manual_seed(1))
    whole, part = Reference(model).designer, Reference(Shallow(model, 2)).designer
    want = whole.model.language_model(inputs_embeds=embedded, output_hidden_states=True).hidden_states[2]
    got = part.model.language_model(inputs_embeds=embedded, output_hidden_states=True).hidden_states
    norm = part.model.language_model.norm
    torch.testing.assert_close(got[-1], norm(want))
    shallow = Shallow(edit, 2)
    assert shallow.config.painter.depth == 2
    assert shallow.parts.designer.vision_config.depth == 2
    assert shallow.parts.designer.vision_config.fullatt_block_indexes == [1]
    assert edit.config.painter.depth == 20 and edit.parts.designer.vision_config.depth == 32
    names = {name for name, _ in Writer(shallow, FP16).dim.named_parameters()}
    assert names < edit.shapes.keys()


def test_a_large_model_is_compared_on_its_first_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the border between small and large moved below a small model: every deep graph says how many layers."""
    monkeypatch.setattr("dimrt.export.verify.LARGE", 1)
    bundle = Bundle.open(export_bundle(random_model(64, 5), tmp_path / "out", FP16))
    layers = {name: graph.error.layers for name, graph in bundle.manifest.graphs.items()}
    deep = dict.fromkeys(("vision", "language", "step"), 2)
    assert layers == deep | dict.fromkeys(("connector", "context", "encode", "decode"))
    assert bundle.manifest.provenance.random_seed == 3
    assert "random" in bundle.manifest.provenance.checkpoint
    assert bundle.manifest.designer.language.layers == 5
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_checkpoint_written_and_loaded_whole_is_the_same_model(tmp_path: Path) -> None:
    model = random_model(64, 1)
    model.write_checkpoint(tmp_path / "checkpoint")
    dim = build_dim(Checkpoint.open(tmp_path / "checkpoint", offline=True))
    for name, tensor in dim.painter.named_parameters():
        assert tensor.equal(model.read(f"painter.{name}").float()), name
