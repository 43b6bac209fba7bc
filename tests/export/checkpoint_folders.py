"""Checkpoint folders made of the reference fixtures, whole or in parts, for the tests of the reader."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from dimrt.export.model.config import DIMConfig, PainterConfig, encode_config
from dimrt.export.model.names import from_autoencoder, from_designer
from dimrt.export.model.published import published_config
from dimrt.manifest import Resolution

PAINTER = PainterConfig("edit", 8, 64, 3, 4, 16, 48, 40)


def tiny_config() -> DIMConfig:
    """Facts of the edit model of the fixtures."""
    resolution = Resolution(side=128, multiple=32, latent_factor=32, aspect="free")
    return replace(published_config("edit"), name="tiny", painter=PAINTER, resolution=resolution)


def tiny_tensors(reference: Path, *, frozen: bool = False) -> dict[str, torch.Tensor]:
    """The fixtures' weights under published names: painter and connector, with `frozen` all four parts."""
    tensors = {f"decoder.model.{k}": v for k, v in load_file(reference / "painter_tiny.safetensors").items()}
    tensors |= {f"projector.{k}": v for k, v in load_file(reference / "projector_tiny.safetensors").items()}
    if frozen:
        designer = load_file(reference / "designer_tiny" / "model.safetensors")
        autoencoder = load_file(reference / "autoencoder_tiny" / "diffusion_pytorch_model.safetensors")
        tensors |= {from_designer(k): v for k, v in designer.items()}
        tensors |= {from_autoencoder(k): v for k, v in autoencoder.items()}
    return tensors


def write_folder(folder: Path, reference: Path, tensors: dict[str, torch.Tensor], *, shards: int = 0) -> Path:
    """A checkpoint folder of `tensors` with the fixtures' designer and autoencoder beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    if shards:
        write_shards(folder, tensors, shards)
    else:
        save_file(tensors, folder / "model.safetensors")
    (folder / "dim.json").write_bytes(encode_config(tiny_config()))
    shutil.copytree(reference / "designer_tiny", folder / "qwen", dirs_exist_ok=True)
    shutil.copytree(reference / "autoencoder_tiny", folder / "dc-ae", dirs_exist_ok=True)
    return folder


def write_shards(folder: Path, tensors: dict[str, torch.Tensor], shards: int) -> None:
    """`tensors` dealt over several files, with their index."""
    names = sorted(tensors)
    places = {name: f"model-{i % shards + 1:05d}-of-{shards:05d}.safetensors" for i, name in enumerate(names)}
    for shard in set(places.values()):
        save_file({name: tensors[name] for name in names if places[name] == shard}, folder / shard)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
