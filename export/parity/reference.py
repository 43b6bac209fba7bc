"""A reference folder as models: every part is built from the folder's own configuration files and weights."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dimrt.errors import InputError
from dimrt.export.facts import vision_facts
from dimrt.export.model.assembly import Parts
from dimrt.export.model.checkpoint import Checkpoint, read_parts
from dimrt.export.model.config import DIMConfig, PainterConfig
from dimrt.export.model.dim import DIM, build_dim
from dimrt.export.model.names import from_autoencoder, from_designer
from dimrt.export.model.published import published_config
from dimrt.export.model.weights import Stored, find_weights, read_header
from dimrt.export.parity.items import Arrays, read_json
from dimrt.manifest import Resolution, Tokens, Vision

ASSUMED = {
    "qk_norm": True,
    "cross_norm": True,
    "y_norm": True,
    "attn_type": "linear",
    "ffn_type": "glumbconv",
    "use_pe": False,
    "pred_sigma": False,
    "timestep_norm_scale_factor": 1.0,
}
"""Switches of the original's painter that DIM fixes."""


@dataclass(frozen=True)
class Reference:
    """Models of a reference folder, one for each painter; they share the designer and the autoencoder's weights."""

    folder: Path
    models: dict[str, DIM]

    @property
    def any(self) -> DIM:
        """One of the models, for what is common to all."""
        return next(iter(self.models.values()))

    def of_task(self, task: str) -> DIM:
        """The model whose painter does `task`. Raises InputError when there is none."""
        for model in self.models.values():
            if model.config.painter.task == task:
                return model
        raise InputError(f"{self.folder}: holds no painter of task {task!r}")

    def arrays(self, name: str) -> Arrays:
        """The file `name`.npz of the folder."""
        return Arrays(self.folder / f"{name}.npz")

    def vision(self, condition_side: int) -> Vision:
        """Picture facts of the designer for a forced side of `condition_side` pixels."""
        path = self.folder / "designer_tiny" / "preprocessor_config.json"
        return vision_facts(self.any.parts.designer, path, condition_side)


def token_facts(ids: dict[str, int]) -> Tokens:
    """The special ids of a fixture as manifest facts."""
    return Tokens(
        im_start=ids["im_start"],
        im_end=ids["im_end"],
        vision_start=ids["vision_start"],
        vision_end=ids["vision_end"],
        image_pad=ids["image_pad"],
        stop=(ids["im_end"],),
    )


def load_reference(folder: str | Path) -> Reference:
    """Models of all painters in a folder laid out like the reference fixtures.

    Raises:
        InputError: a file is missing.
        CheckpointError: a tensor is missing, unexpected, or of another shape than its configuration says.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name a folder laid out like the reference fixtures")
    parts = read_parts(folder / "designer_tiny", folder / "autoencoder_tiny")
    shared = {
        **_weights(folder / "designer_tiny", "model", from_designer),
        **_weights(folder / "autoencoder_tiny", "diffusion_pytorch_model", from_autoencoder),
        **{f"projector.{name}": stored for name, stored in _header(folder / "projector_tiny.safetensors").items()},
    }
    models = {}
    for path in sorted(folder.glob("painter*.safetensors")):
        facts = read_json(path.with_suffix(".json"))
        own = {f"decoder.model.{name}": stored for name, stored in _header(path).items()}
        config = _config(path.stem, facts, parts, path)
        models[path.stem] = build_dim(Checkpoint.of_tensors(folder, config, parts, {**shared, **own}))
    if not models:
        raise InputError(f"{folder}: holds no painter*.safetensors; name a folder laid out like the reference fixtures")
    return Reference(folder, models)


def _header(path: Path) -> dict[str, Stored]:
    if not path.is_file():
        raise InputError(f"{path}: missing; the folder must be a whole reference folder")
    return read_header(path)


def _weights(folder: Path, stem: str, rename: Any) -> dict[str, Stored]:
    found = find_weights(folder, stem)
    if found is None:
        raise InputError(f"{folder / stem}.safetensors: missing; the folder must be a whole reference folder")
    return {rename(name): stored for name, stored in found.items()}


def _config(name: str, facts: dict[str, Any], parts: Parts, path: Path) -> DIMConfig:
    for key, value in ASSUMED.items():
        if facts.get(key, value) != value:
            raise InputError(f"{path.with_suffix('.json')}: {key} is {facts[key]!r}; a DIM painter has {value!r}")
    channels = facts["latent_channels"]
    painter = PainterConfig(
        task="edit" if facts["x_embedder_in_channels"] == 2 * channels else "generate",
        latent_channels=channels,
        hidden_size=facts["hidden_size"],
        depth=facts["depth"],
        cross_heads=facts["num_heads"],
        linear_head_dim=facts["linear_head_dim"],
        caption_channels=facts["caption_channels"],
        max_condition=facts["model_max_length"],
        mlp_ratio=facts["mlp_ratio"],
        patch_size=facts["patch_size"],
    )
    factor = 2 ** (len(parts.autoencoder["encoder_block_out_channels"]) - 1)
    side = facts["input_size"] * factor
    multiple = factor * painter.patch_size
    resolution = Resolution(side=side, multiple=multiple, latent_factor=factor, aspect="free")
    return replace(published_config(painter.task), name=name, painter=painter, resolution=resolution)
