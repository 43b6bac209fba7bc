"""The assembled model: names and sizes of the full DIM-4.6B, and the facts DIM sets on the library classes."""

import json
import math
import struct
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from checkpoint_folders import PAINTER
from transformers import Qwen2_5_VLConfig

from dimrt.errors import CheckpointError, InputError
from dimrt.export.model.assembly import DIM, Parts, make_connector, meta_shapes
from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.model.config import PainterConfig, encode_config, read_config
from dimrt.export.model.names import ignored, source, targets
from dimrt.export.model.painter import Painter
from dimrt.export.model.published import published_config


@pytest.fixture(scope="module")
def keys(reference: Path) -> dict[str, Any]:
    return json.loads((reference / "checkpoint_keys.json").read_text())


@pytest.fixture(scope="module")
def full_parts(keys: dict[str, Any]) -> Parts:
    """Qwen2.5-VL-3B and DC-AE f32c32 by their published sizes."""
    facts = dict(keys["qwen2_5_vl_3b_config"])
    section, vision = facts.pop("mrope_section"), facts.pop("vision")
    facts.pop("head_dim")
    rope = {"type": "mrope", "mrope_section": section}
    designer = Qwen2_5_VLConfig(**facts, rope_scaling=rope, vision_config=vision)
    autoencoder = dict(keys["autoencoder_config"])
    for shared in ("block_types", "block_out_channels", "qkv_multiscales"):
        value = autoencoder.pop(shared)
        autoencoder |= {f"encoder_{shared}": value, f"decoder_{shared}": value}
    return Parts(designer, {"_class_name": "AutoencoderDC", **autoencoder})


def write_sparse(path: Path, shapes: dict[str, list[int]]) -> None:
    """A bfloat16 safetensors file with these tensors, their data a hole that takes no disk."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


@pytest.mark.skipif(sys.platform != "linux", reason="needs sparse files")
@pytest.mark.parametrize(("task", "frozen"), [("edit", True), ("generate", False)])
def test_published_layout(
    task: Literal["edit", "generate"], frozen: bool, keys: dict[str, Any], full_parts: Parts, tmp_path: Path
) -> None:
    """A published checkpoint says nothing of itself: task, schedule and prompt follow from one shape."""
    shapes = keys["tensors"] | (keys["t2i_overrides"] if task == "generate" else {})
    own = {name: shape for name, shape in shapes.items() if frozen or not name.startswith(("mllm.", "decoder.vae."))}
    for folder in (tmp_path / "qwen", tmp_path / "dc-ae"):
        folder.mkdir()
    write_sparse(tmp_path / "model.safetensors", own)
    if not frozen:
        qwen = {name.removeprefix("mllm."): shape for name, shape in shapes.items() if name.startswith("mllm.")}
        del qwen["lm_head.weight"]
        write_sparse(tmp_path / "qwen" / "model.safetensors", qwen)
        vae = {k.removeprefix("decoder.vae."): v for k, v in shapes.items() if k.startswith("decoder.vae.")}
        write_sparse(tmp_path / "dc-ae" / "diffusion_pytorch_model.safetensors", vae)
    (tmp_path / "qwen" / "config.json").write_text(full_parts.designer.to_json_string())
    (tmp_path / "qwen" / "generation_config.json").write_text(json.dumps({"repetition_penalty": 1.05}))
    (tmp_path / "dc-ae" / "config.json").write_text(json.dumps(full_parts.autoencoder))
    checkpoint = Checkpoint.open(tmp_path, offline=True)
    assert checkpoint.config == published_config(task)
    assert len(checkpoint.stored) == len(keys["tensors"]) - 2
    assert checkpoint.origins["designer"] == (tmp_path if frozen else tmp_path / "qwen")


@pytest.mark.parametrize("task", ["edit", "generate"])
def test_full_size_names_and_shapes(task: Literal["edit", "generate"], keys: dict[str, Any], full_parts: Parts) -> None:
    """Built at full size without storage: nothing missing, unexpected or of another shape."""
    overrides = keys["t2i_overrides"] if task == "generate" else {}
    want = {name: tuple(shape) for name, shape in (keys["tensors"] | overrides).items() if not ignored(name)}
    for tied in keys["tied_may_be_absent"]:
        del want[tied]
    assert meta_shapes(published_config(task), full_parts) == want


def test_full_size_parameters(keys: dict[str, Any], full_parts: Parts) -> None:
    with torch.device("meta"):
        dim = DIM(published_config("edit"), full_parts)
    total = keys["counts"]["total parameters (edit, tied head once, no buffers)"]
    assert sum(p.numel() for p in dim.parameters()) == total


def test_every_published_name_converts_there_and_back(keys: dict[str, Any]) -> None:
    for name in keys["tensors"]:
        made = targets(name)
        assert bool(made) != ignored(name), name
        for part, target in enumerate(made):
            assert (target.part, target.parts) == (part, len(made))
            origin = source(target.name)
            assert (origin.name, origin.part, origin.parts) == (name, part, len(made))


@pytest.mark.parametrize("name", ["decoder.model.blocks.0.attn.kv.weight", "decoder.foo", "lm_head.weight", ""])
def test_unknown_names_have_no_target(name: str) -> None:
    assert targets(name) == ()


def painter_inputs(painter: Painter, batch: int = 1, side: int = 4) -> dict[str, torch.Tensor]:
    config, generator = painter.config, torch.Generator().manual_seed(0)
    shape = (batch, config.latent_channels, side, side)
    inputs = {
        "latent": torch.randn(shape, generator=generator),
        "timestep": torch.full((batch,), 500.0),
        "condition": torch.randn((batch, 7, config.caption_channels), generator=generator),
    }
    if config.task == "edit":
        inputs["source"] = torch.randn(shape, generator=generator)
    return inputs


@pytest.fixture
def painter() -> Painter:
    torch.manual_seed(1)
    return Painter(PAINTER).eval()


@torch.no_grad()
def test_timesteps_are_truncated_toward_zero(painter: Painter) -> None:
    inputs = painter_inputs(painter)
    outputs = [painter(**inputs | {"timestep": torch.tensor([t])}) for t in (999.0, 999.67, 1000.0)]
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])
    assert inputs["timestep"].tolist() == [500.0]


@torch.no_grad()
def test_masked_rows_carry_no_weight(painter: Painter) -> None:
    inputs = painter_inputs(painter, batch=2)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0, 0]])
    short = painter(**inputs | {"condition": inputs["condition"][:, :4]})
    inputs["condition"][:, 4:] = 100
    torch.testing.assert_close(painter(**inputs, mask=mask), short, atol=1e-5, rtol=0)


def test_norms_of_the_two_attentions(painter: Painter) -> None:
    for block in painter.transformer.transformer_blocks:
        assert {block.attn2.norm_q.eps, block.attn2.norm_k.eps} == {1e-6}
        assert {block.attn1.norm_q.eps, block.attn1.norm_k.eps} == {1e-5}


def test_the_two_gelus(painter: Painter) -> None:
    """Exact in the connector, tanh in the caption embedder."""
    x = torch.linspace(-4, 4, 64)
    assert torch.equal(make_connector(8, 8)[1](x), torch.nn.functional.gelu(x))
    act = painter.transformer.caption_projection.act_1
    assert torch.equal(act(x), torch.nn.functional.gelu(x, approximate="tanh"))


def test_no_positions_unless_asked(painter: Painter) -> None:
    assert painter.transformer.patch_embed.pos_embed is None
    placed = Painter(PainterConfig("edit", 8, 64, 1, 4, 16, 48, 40, patch_size=2, position_side=4))
    assert placed.transformer.patch_embed.pos_embed.shape == (1, 16, 64)
    assert not any("pos_embed" in name for name in placed.state_dict())


@torch.no_grad()
def test_a_source_for_editing_only(painter: Painter) -> None:
    inputs = painter_inputs(painter)
    source_latent = inputs.pop("source")
    with pytest.raises(InputError, match="needs a source latent"):
        painter(**inputs)
    generator = Painter(PainterConfig("generate", 8, 64, 1, 4, 16, 48, 40))
    with pytest.raises(InputError, match="takes no source latent"):
        generator(**inputs, source=source_latent)


@torch.no_grad()
def test_data_prediction_of_both_kinds() -> None:
    sigma = torch.tensor([0.25, 0.75])
    for prediction in ("velocity", "residual"):
        model = Painter(PainterConfig("edit", 8, 64, 1, 4, 16, 48, 40, patch_size=2, prediction=prediction)).eval()
        inputs = painter_inputs(model, batch=2)
        output = model(**inputs)
        want = inputs["source"] + output
        if prediction == "velocity":
            want = inputs["latent"] - sigma[:, None, None, None] * output
        assert torch.equal(model.data(**inputs, sigma=sigma), want)


@pytest.mark.parametrize(
    "change", [{"cross_heads": 5}, {"linear_head_dim": 48}, {"task": "generate", "prediction": "residual"}]
)
def test_sizes_that_can_not_be(change: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="painter"):
        PainterConfig(**{**PAINTER.__dict__, **change})


def test_facts_survive_their_file(tmp_path: Path) -> None:
    config = published_config("edit")
    (tmp_path / "dim.json").write_bytes(encode_config(config))
    assert read_config(tmp_path / "dim.json") == config


def test_request_and_defaults_of_the_published_model() -> None:
    config = published_config("edit")
    assert config.prompt.request.count("{instruction}") == 1
    assert (config.schedule.steps, config.schedule.guidance_scale, config.schedule.shift) == (30, 7.5, 3.0)
    assert config.schedule.seed == 233
