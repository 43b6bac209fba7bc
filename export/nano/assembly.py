"""Nano's parts put together as a DIM checkpoint."""

from pathlib import Path

import torch
from diffusers import AutoencoderDC
from torch import nn
from transformers import Qwen2_5_VLForConditionalGeneration

from dimrt.export.model.assembly import Parts
from dimrt.export.model.config import DIMConfig
from dimrt.export.model.dim import DIM, save_dim
from dimrt.export.model.painter import Painter
from dimrt.export.nano.autoencoder import FACTOR
from dimrt.export.nano.designer import designer_facts
from dimrt.export.nano.shapes import SIDE
from dimrt.manifest import Resolution, Schedule

SCHEDULE = Schedule(steps=1, guidance_scale=1.0, shift=3.0, seed=0)
"""One step without guidance: the painter predicts the result itself; more steps were no better on held-out cases."""


def assemble(
    designer: Qwen2_5_VLForConditionalGeneration,
    designer_folder: Path,
    painter: Painter,
    connector: nn.Module,
    autoencoder: AutoencoderDC,
    schedule: Schedule = SCHEDULE,
) -> DIM:
    """One DIM with these weights. `designer_folder` holds the designer's tokenizer and settings files."""
    facts = designer_facts(designer_folder / "tokenizer.json")
    config = DIMConfig(
        name="dimrt-nano",
        licence="Apache-2.0",
        painter=painter.config,
        schedule=schedule,
        resolution=Resolution(
            side=SIDE, multiple=FACTOR * painter.config.patch_size, latent_factor=FACTOR, aspect="square"
        ),
        prompt=facts.prompt,
        decoding=facts.decoding,
        condition_side=facts.vision.condition_side,
    )
    dim = DIM(config, Parts(designer.config, public_config(autoencoder), designer_folder))
    dim.designer.load_state_dict(designer.state_dict())
    dim.painter.load_state_dict(painter.state_dict())
    dim.connector.load_state_dict(connector.state_dict())
    dim.autoencoder.load_state_dict(autoencoder.state_dict())
    return dim


def public_config(autoencoder: AutoencoderDC) -> dict[str, object]:
    """The autoencoder's configuration as its `config.json` holds it."""
    named = {"_class_name": type(autoencoder).__name__, **autoencoder.config}
    return {name: value for name, value in named.items() if name != "_name_or_path"}


def write_checkpoint(dim: DIM, folder: Path) -> None:
    """Write the checkpoint with weights stored in half precision, replacing one that is there."""
    save_dim(dim, folder, dtype=torch.float16, replace=True)
