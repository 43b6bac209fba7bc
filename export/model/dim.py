"""Loading a DIM checkpoint into the model, and saving a model in the published layout."""

import json
import shutil
from pathlib import Path

import torch
from torch import Tensor

from dimrt.export.model.assembly import DIM, Parts, empty_dim
from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.model.config import encode_config
from dimrt.export.model.names import TIED, source
from dimrt.export.model.tensors import save_tensors
from dimrt.files import atomic_folder

__all__ = ["DIM", "Parts", "build_dim", "load_dim", "published_state", "save_dim"]

EMBEDDING = "designer.model.language_model.embed_tokens.weight"
HEAD = "designer.lm_head.weight"
DESIGNER_FILES = (
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
)
"""Files of a designer folder that travel with a saved model, where they exist."""


def load_dim(
    folder: str | Path,
    *,
    designer: str | Path | None = None,
    autoencoder: str | Path | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    offline: bool = False,
) -> DIM:
    """The model of a checkpoint folder or hub id, in evaluation mode, all weights as `dtype` on `device`.

    Arguments and errors as `Checkpoint.open`.
    """
    checkpoint = Checkpoint.open(folder, designer=designer, autoencoder=autoencoder, offline=offline)
    return build_dim(checkpoint, device=device, dtype=dtype)


def build_dim(checkpoint: Checkpoint, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> DIM:
    """The model of an open checkpoint. Peak memory is the model plus one tensor."""
    dim = empty_dim(checkpoint.config, checkpoint.parts)
    state = {name: tensor.to(device=device, dtype=dtype, copy=True) for name, tensor in checkpoint.module_tensors()}
    if checkpoint.parts.designer.tie_word_embeddings:
        state[HEAD] = state[EMBEDDING]
    dim.load_state_dict(state, assign=True)
    dim.designer.tie_weights()
    return dim.to(device)


def save_dim(dim: DIM, folder: str | Path, *, dtype: torch.dtype | None = None, replace: bool = False) -> None:
    """Write `dim` as a checkpoint folder that `load_dim` reads: one model file under DIM names, `dim.json`, `qwen/`
    with the designer's configuration and tokenizer files, `dc-ae/` with the autoencoder's configuration.

    Args:
        dtype: storage type of all tensors; their own when None.
        replace: whether a folder with content is replaced. The new one is complete before the old one goes.
    """
    with atomic_folder(folder, replace=replace) as new:
        save_tensors(published_state(dim, dtype), new / "model.safetensors")
        (new / "dim.json").write_bytes(encode_config(dim.config))
        (new / "qwen").mkdir()
        (new / "qwen" / "config.json").write_text(dim.parts.designer.to_json_string(), encoding="utf-8")
        if dim.parts.designer_folder is not None:
            for name in DESIGNER_FILES:
                if (dim.parts.designer_folder / name).is_file():
                    shutil.copyfile(dim.parts.designer_folder / name, new / "qwen" / name)
        (new / "dc-ae").mkdir()
        (new / "dc-ae" / "config.json").write_text(json.dumps(dim.parts.autoencoder, indent=1) + "\n", encoding="utf-8")


def published_state(dim: DIM, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """All tensors under DIM names, fused where the published checkpoint fuses them; a tied output head is left out."""
    pieces: dict[str, dict[int, Tensor]] = {}
    for name, tensor in dim.state_dict().items():
        origin = source(name)
        if origin.name == TIED and dim.parts.designer.tie_word_embeddings:
            continue
        pieces.setdefault(origin.name, {})[origin.part] = tensor.detach().to(device="cpu", dtype=dtype or tensor.dtype)
    return {
        name: torch.cat([parts[part] for part in sorted(parts)]).contiguous() for name, parts in sorted(pieces.items())
    }
