"""The checkpoint reader: layouts it takes, and what it says of wrong ones."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from checkpoint_folders import tiny_tensors, write_folder

from dimrt.errors import CheckpointError
from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.model.dim import load_dim, save_dim
from dimrt.export.model.names import source, targets

EMBEDDER = "decoder.model.x_embedder.proj.weight"


@pytest.fixture(scope="module")
def whole(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with the frozen parts in their own folders."""
    return write_folder(tmp_path_factory.mktemp("whole") / "tiny", reference, tiny_tensors(reference))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def rewritten(folder: Path, reference: Path, **changes: torch.Tensor | None) -> Path:
    """The folder with tensors replaced, added or (None) dropped."""
    tensors = tiny_tensors(reference) | {name: t for name, t in changes.items() if t is not None}
    return write_folder(folder, reference, {k: t for k, t in tensors.items() if changes.get(k, t) is not None})


def values(folder: Path, **options: object) -> dict[str, torch.Tensor]:
    return load_dim(folder, **options).state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_every_module_tensor_is_the_file_s(whole: Path, reference: Path) -> None:
    """Fused tensors are split in order; every value of the model is one of the files'."""
    state = values(whole)
    stored = tiny_tensors(reference, frozen=True)
    for name, tensor in state.items():
        origin = source(name)
        if origin.name == "mllm.lm_head.weight":
            origin = source("designer.model.language_model.embed_tokens.weight")
        assert torch.equal(tensor, stored[origin.name].chunk(origin.parts)[origin.part]), name
        if name != "designer.lm_head.weight":
            assert targets(origin.name)[origin.part].name == name


def test_sharded_is_the_same_model(whole: Path, tmp_path: Path, reference: Path) -> None:
    sharded = write_folder(tmp_path / "sharded", reference, tiny_tensors(reference, frozen=True), shards=3)
    assert not (sharded / "model.safetensors").exists()
    assert same(values(sharded), values(whole))


def test_frozen_parts_inside_with_tied_head_and_leftovers(whole: Path, tmp_path: Path, reference: Path) -> None:
    """The frozen parts may be inside; a repeated tied head, the unused buffer and a text encoder do no harm."""
    tensors = tiny_tensors(reference, frozen=True)
    tensors["mllm.lm_head.weight"] = tensors["mllm.model.embed_tokens.weight"].clone()
    tensors["decoder.text_encoder.layers.0.weight"] = torch.zeros(3)
    assert "decoder.model.pos_embed" in tensors
    inside = write_folder(tmp_path / "inside", reference, tensors)
    (inside / "qwen" / "model.safetensors").unlink()
    (inside / "dc-ae" / "diffusion_pytorch_model.safetensors").unlink()
    assert same(values(inside), values(whole))


def test_parts_from_named_folders(whole: Path, folder: Path, reference: Path) -> None:
    shutil.rmtree(folder / "qwen")
    shutil.rmtree(folder / "dc-ae")
    named = values(folder, designer=reference / "designer_tiny", autoencoder=reference / "autoencoder_tiny")
    assert same(named, values(whole))


def test_designer_may_use_the_newer_names(whole: Path, folder: Path) -> None:
    load_dim(whole).designer.save_pretrained(folder / "qwen", safe_serialization=True)
    assert same(values(folder), values(whole))


def test_origins_and_sizes(whole: Path) -> None:
    checkpoint = Checkpoint.open(whole)
    assert checkpoint.origins == {"designer": whole / "qwen", "autoencoder": whole / "dc-ae"}
    for name, tensor in checkpoint.tensors():
        assert tuple(tensor.shape) == checkpoint.stored[name].shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_storage_loads_as_float32(dtype: torch.dtype, folder: Path, reference: Path) -> None:
    write_folder(folder, reference, {k: t.to(dtype) for k, t in tiny_tensors(reference).items()})
    state = values(folder)
    assert {t.dtype for t in state.values()} == {torch.float32}
    want = tiny_tensors(reference)["projector.0.weight"].to(dtype).float()
    assert torch.equal(state["connector.0.weight"], want)


def test_saved_model_reads_back(whole: Path, tmp_path: Path) -> None:
    dim = load_dim(whole)
    save_dim(dim, tmp_path / "saved")
    again = load_dim(tmp_path / "saved")
    assert same(again.state_dict(), dim.state_dict())
    assert again.config == dim.config
    assert (tmp_path / "saved" / "qwen" / "preprocessor_config.json").is_file()
    fresh = {name for name, _ in Checkpoint.open(tmp_path / "saved").tensors()}
    assert fresh == {name for name, _ in Checkpoint.open(whole).tensors()}


def test_saving_never_overwrites_unasked(whole: Path, folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(Exception, match="not empty"):
        save_dim(load_dim(whole), folder)
    assert (folder / "model.safetensors").read_bytes() == before
    save_dim(load_dim(whole), folder, replace=True)
    assert same(values(folder), values(whole))


WRONG = {
    "missing": ({"projector.2.bias": None}, r"projector\.2\.bias: missing, expected shape \[48\]"),
    "shape": (
        {"projector.0.weight": torch.zeros(48, 63)},
        r"projector\.0\.weight: shape \[48, 63\].*expected \[48, 64\]",
    ),
    "fused shape": (
        {"decoder.model.blocks.1.attn.qkv.weight": torch.zeros(128, 64)},
        r"blocks\.1\.attn\.qkv\.weight: shape \[128, 64\].*expected \[192, 64\]",
    ),
    "integers": (
        {"projector.0.bias": torch.zeros(48, dtype=torch.int8)},
        r"projector\.0\.bias: type I8, expected one of F32, F16, BF16",
    ),
    "unexpected": (
        {"decoder.model.blocks.3.scale_shift_table": torch.zeros(6, 64)},
        r"blocks\.3\.scale_shift_table: unexpected tensor of shape \[6, 64\]",
    ),
    "text-to-image weights": (
        {EMBEDDER: torch.zeros(64, 8, 1, 1)},
        r"x_embedder\.proj\.weight: shape \[64, 8, 1, 1\].*expected \[64, 16, 1, 1\]",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_tensor_is_named(case: str, folder: Path, reference: Path) -> None:
    changes, message = WRONG[case]
    rewritten(folder, reference, **changes)
    with pytest.raises(CheckpointError, match=message) as raised:
        Checkpoint.open(folder)
    assert str(folder) in str(raised.value)


def test_half_a_frozen_part_inside_is_named(folder: Path, reference: Path) -> None:
    """A model file that holds some of the designer must hold all of it."""
    tensors = tiny_tensors(reference, frozen=True)
    del tensors["mllm.model.norm.weight"]
    write_folder(folder, reference, tensors)
    with pytest.raises(CheckpointError, match=r"mllm\.model\.norm\.weight: missing"):
        Checkpoint.open(folder)


def test_frozen_weights_nowhere(folder: Path) -> None:
    (folder / "qwen" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds no mllm\.\* tensors either.*--designer"):
        Checkpoint.open(folder)


@pytest.mark.parametrize("cut", [4, 100, -1])
def test_truncated_file(cut: int, folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a complete safetensors file .*again"):
        Checkpoint.open(folder)


def sharded_folder(folder: Path, reference: Path) -> Path:
    (folder / "model.safetensors").unlink()
    return write_folder(folder, reference, tiny_tensors(reference), shards=2)


def test_missing_shard(folder: Path, reference: Path) -> None:
    (sharded_folder(folder, reference) / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors: this shard.*missing"):
        Checkpoint.open(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a shard index"),
        ("[]", "not a shard index"),
        ('{"metadata": {}}', "not a shard index"),
        ('{"weight_map": {"a": "../model.safetensors"}}', "not a plain file name"),
    ],
)
def test_broken_index(text: str, message: str, folder: Path, reference: Path) -> None:
    (sharded_folder(folder, reference) / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.open(folder)


def test_index_of_another_download(folder: Path, reference: Path) -> None:
    path = sharded_folder(folder, reference) / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    place = index["weight_map"].pop("projector.0.bias")
    path.write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"holds projector\.0\.bias, which .* doesn't list"):
        Checkpoint.open(folder)
    index["weight_map"] |= {"projector.0.bias": place, "projector.9.bias": place}
    path.write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"lists projector\.9\.bias"):
        Checkpoint.open(folder)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("qwen/config.json", "{", "can't be read as JSON"),
        ("qwen/config.json", '{"model_type": "llama"}', r"'llama', expected \"qwen2_5_vl\".*--designer"),
        ("dc-ae/config.json", '{"_class_name": "AutoencoderKL"}', "'AutoencoderKL', expected \"AutoencoderDC\""),
        ("dim.json", '{"name": "x"}', "not a readable dim.json"),
        ("dim.json", "\0", "not a readable dim.json"),
    ],
)
def test_broken_configuration(file: str, text: str, message: str, folder: Path) -> None:
    (folder / file).write_text(text)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.open(folder)


def test_no_weights_at_all(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        Checkpoint.open(tmp_path)


def test_other_autoencoder(folder: Path) -> None:
    path = folder / "dc-ae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"latent_channels": 16}))
    with pytest.raises(CheckpointError, match="painter wants 8 latent channels at factor 32, the autoencoder makes 16"):
        Checkpoint.open(folder)


def test_unknown_sizes_need_facts(folder: Path) -> None:
    (folder / "dim.json").unlink()
    with pytest.raises(CheckpointError, match=r"x_embedder.*shape \[64, 16, 1, 1\].*needs a dim\.json"):
        Checkpoint.open(folder)
