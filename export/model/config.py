"""Facts of a DIM model that its tensors can't tell: sizes, task, prompt, schedule. Written to `dim.json`.

The designer's and autoencoder's own sizes stay in their own `config.json` files (transformers and diffusers formats).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from dimrt.errors import CheckpointError
from dimrt.manifest import Decoding, Prompt, Resolution, Schedule


@dataclass(frozen=True)
class PainterConfig:
    """Sizes of the SANA painter. Widths are channels; `max_condition` is the number of rows of the null condition.

    `cross_heads` splits the cross-attention, `linear_head_dim` the linear self-attention: the two differ in DIM.
    `prediction` says what the network's output is: a velocity (data = latent - sigma * output) or a residual
    (data = source + output). `position_side` k adds a 2D sine-cosine table for k x k tokens; DIM has none.
    """

    task: Literal["edit", "generate"]
    latent_channels: int
    hidden_size: int
    depth: int
    cross_heads: int
    linear_head_dim: int
    caption_channels: int
    max_condition: int
    mlp_ratio: float = 2.5
    patch_size: int = 1
    prediction: Literal["velocity", "residual"] = "velocity"
    position_side: int | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that don't divide, and a residual without a source."""
        for name, size in (("cross_heads", self.cross_heads), ("linear_head_dim", self.linear_head_dim)):
            if size < 1 or self.hidden_size % size:
                raise CheckpointError(f"painter {name} {size} doesn't divide hidden_size {self.hidden_size}")
        if self.prediction == "residual" and self.task != "edit":
            raise CheckpointError('painter prediction "residual" needs a source picture: use it with task "edit"')

    @property
    def in_channels(self) -> int:
        """Channels of the patch embedder: the noisy latent, and for an edit the source latent after it."""
        return self.latent_channels * (2 if self.task == "edit" else 1)


@dataclass(frozen=True)
class DIMConfig:
    """Everything about a DIM model beside its tensors and the designer's and autoencoder's own configuration.

    `condition_side` is the side in pixels handed to the designer's rounding rule for the condition picture.
    """

    name: str
    licence: str
    painter: PainterConfig
    schedule: Schedule
    resolution: Resolution
    prompt: Prompt
    decoding: Decoding
    condition_side: int


def read_config(path: Path) -> DIMConfig:
    """The facts in a `dim.json`. Raises CheckpointError naming the field that is wrong."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=DIMConfig)
    except (msgspec.DecodeError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable dim.json: {error}. Write it with save_dim.") from error


def encode_config(config: DIMConfig) -> bytes:
    """`dim.json` as bytes, indented for people."""
    return msgspec.json.format(msgspec.json.encode(config), indent=1) + b"\n"
