"""DIM in PyTorch: designer, connector, painter and autoencoder, each a library class, in one module."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderDC
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from dimrt.export.model.config import DIMConfig
from dimrt.export.model.names import TIED, source
from dimrt.export.model.painter import Painter


@dataclass(frozen=True)
class Parts:
    """Configuration of the two parts with a format of their own, and the designer's folder for tokenizer files."""

    designer: Qwen2_5_VLConfig
    autoencoder: dict[str, Any]
    designer_folder: Path | None = None


class DIM(nn.Module):
    """The whole model. Weights are random until loaded (`load_dim`)."""

    def __init__(self, config: DIMConfig, parts: Parts) -> None:
        super().__init__()
        self.config = config
        self.parts = parts
        hidden, caption = parts.designer.text_config.hidden_size, config.painter.caption_channels
        self.designer = Qwen2_5_VLForConditionalGeneration(parts.designer)
        self.connector = make_connector(hidden, caption)
        self.painter = Painter(config.painter)
        self.autoencoder = AutoencoderDC.from_config(parts.autoencoder)
        self.eval()


def make_connector(hidden_size: int, caption_channels: int) -> nn.Sequential:
    """The MLP from designer width to painter caption width, with the exact (erf) GELU."""
    return nn.Sequential(
        nn.Linear(hidden_size, caption_channels), nn.GELU(), nn.Linear(caption_channels, caption_channels)
    )


def empty_dim(config: DIMConfig, parts: Parts) -> DIM:
    """A DIM whose parameters hold no memory (meta device); buffers are real. For `load_state_dict(assign=True)`."""
    with init_empty_weights(include_buffers=False):
        dim = DIM(config, parts)
    dim.designer.tie_weights()
    return dim


def expected_tensors(dim: DIM) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor a checkpoint of this DIM holds, in checkpoint names.

    The tied output head is left out when the designer shares it with the embedding.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, tensor in dim.state_dict().items():
        origin = source(name)
        if origin.name == TIED and dim.parts.designer.tie_word_embeddings:
            continue
        shape = tuple(tensor.shape)
        shapes[origin.name] = (shape[0] * origin.parts, *shape[1:]) if origin.parts > 1 else shape
    return shapes


def meta_shapes(config: DIMConfig, parts: Parts) -> dict[str, tuple[int, ...]]:
    """`expected_tensors` of a model that is only described, at any size."""
    with torch.device("meta"):
        return expected_tensors(DIM(config, parts))
