"""Reading a DIM checkpoint folder: which file holds which tensor, every one accounted for, data read lazily.

A folder holds `model.safetensors` (or shards with an index) under the published names, `qwen/` and `dc-ae/` with the
configuration of designer and autoencoder, and maybe `dim.json`. The frozen designer and autoencoder may be inside the
model file, or come from their own folders, under their own names. Without `dim.json` the published DIM-4.6B is meant;
whether it edits or generates follows from the channels of its patch embedder.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import Qwen2_5_VLConfig

from dimrt.errors import CheckpointError
from dimrt.export.hub import resolve
from dimrt.export.model.assembly import Parts, meta_shapes
from dimrt.export.model.config import DIMConfig, encode_config, read_config
from dimrt.export.model.names import (
    EMBEDDING,
    TIED,
    Source,
    from_autoencoder,
    from_designer,
    ignored,
    source,
    targets,
)
from dimrt.export.model.published import AUTOENCODER_ID, DESIGNER_ID, published_config
from dimrt.export.model.weights import FLOATS, OpenFiles, Stored, find_weights, read_tensors

EMBEDDER = "decoder.model.x_embedder.proj.weight"
SHOWN = 8
"""How many wrong tensors a message lists."""


@dataclass(frozen=True)
class Checkpoint:
    """A checked checkpoint: every tensor is there, in its shape, and nothing else is.

    `stored` maps each DIM tensor name to its place; `origins` says for designer and autoencoder which folder or file
    their weights come from.
    """

    folder: Path
    config: DIMConfig
    parts: Parts
    stored: dict[str, Stored]
    origins: dict[str, Path]
    files: OpenFiles = field(default_factory=OpenFiles, repr=False, compare=False)
    random_seed: None = field(default=None, init=False)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        designer: str | Path | None = None,
        autoencoder: str | Path | None = None,
        offline: bool = False,
    ) -> "Checkpoint":
        """Open a checkpoint folder or hub id, and check every tensor's name, shape and type against the model.

        Args:
            folder: local folder or hub id.
            designer: folder or hub id of Qwen2.5-VL; default `folder`/qwen, else the published 3B.
            autoencoder: folder or hub id of DC-AE; default `folder`/dc-ae, else the published one.
            offline: never download.

        Raises:
            CheckpointError: with the tensor or file, what was found, what was expected, and what to do.
            InputError, ResourceError: see `hub.resolve`.
        """
        folder = resolve(folder, offline=offline)
        held = find_weights(folder, "model")
        if held is None:
            raise CheckpointError(
                f"{folder}: no model.safetensors and no model.safetensors.index.json; name the folder that holds them"
            )
        stored = dict(held)
        designer_folder = _part_folder(folder, "qwen", designer, DESIGNER_ID, _holds(stored, "mllm."), offline)
        autoencoder_folder = _part_folder(
            folder, "dc-ae", autoencoder, AUTOENCODER_ID, _holds(stored, "decoder.vae."), offline
        )
        origins = {
            "designer": _add_part(stored, "mllm.", designer_folder, "model", from_designer, "--designer"),
            "autoencoder": _add_part(
                stored, "decoder.vae.", autoencoder_folder, "diffusion_pytorch_model", from_autoencoder, "--autoencoder"
            ),
        }
        config = _facts(folder, stored, designer_folder)
        parts = read_parts(designer_folder, autoencoder_folder)
        return cls.of_tensors(folder, config, parts, stored, origins)

    @classmethod
    def of_tensors(
        cls,
        folder: Path,
        config: DIMConfig,
        parts: Parts,
        stored: dict[str, Stored],
        origins: dict[str, Path] | None = None,
    ) -> "Checkpoint":
        """A checkpoint of tensors already found, under DIM names, checked like one that is opened."""
        _check_parts(folder, config, parts)
        tied = parts.designer.tie_word_embeddings
        kept = {name: held for name, held in stored.items() if not ignored(name) and not (tied and name == TIED)}
        _account(folder, config, meta_shapes(config, parts), kept)
        return cls(folder, config, parts, kept, origins or {})

    @property
    def fingerprint(self) -> str:
        """What this checkpoint is, without reading its data: configuration, and each file's name, size and time."""
        files = {stored.file for stored in self.stored.values()}
        if self.parts.designer_folder is not None:
            files |= set(self.parts.designer_folder.glob("*.json"))
        states = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files)]
        facts = (encode_config(self.config), self.parts.designer.to_json_string(), self.parts.autoencoder, states)
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def read(self, name: str) -> Tensor:
        """One tensor by its name in `DIM.state_dict()`, in stored type; of a fused tensor only its own rows are read.

        Raises CheckpointError when its file is gone or damaged, KeyError for a name the model doesn't have.
        """
        origin = source(name)
        if origin.name == TIED and self.parts.designer.tie_word_embeddings:
            origin = Source(EMBEDDING)
        return self.files.read(self.stored[origin.name], origin.part, origin.parts)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor under its DIM name, in stored type, read one at a time."""
        return read_tensors(self.stored)

    def module_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor under its name in `DIM.state_dict()`, in stored type, fused ones split, one at a time.

        A tied output head isn't repeated.
        """
        for name, tensor in self.tensors():
            made = targets(name)
            if len(made) == 1:
                yield made[0].name, tensor
                continue
            for target, piece in zip(made, tensor.chunk(len(made)), strict=True):
                yield target.name, piece


def _holds(stored: dict[str, Stored], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in stored)


def _part_folder(folder: Path, name: str, given: str | Path | None, default: str, inside: bool, offline: bool) -> Path:
    """Folder of designer or autoencoder; when the model file holds its weights, only configuration is fetched."""
    if given is not None:
        return resolve(given, offline=offline, weights=not inside)
    if (folder / name / "config.json").is_file():
        return folder / name
    return resolve(default, offline=offline, weights=not inside)


def _add_part(
    stored: dict[str, Stored], prefix: str, folder: Path, stem: str, rename: Callable[[str], str], flag: str
) -> Path:
    """Take a frozen part from its own folder when the model file has none of it; return where it comes from."""
    for name, tensor in stored.items():
        if name.startswith(prefix):
            return tensor.file.parent
    own = find_weights(folder, stem)
    if own is None:
        raise CheckpointError(
            f"{folder}: no {stem}.safetensors, and the model file holds no {prefix}* tensors either; "
            f"name a folder that holds these weights with {flag}"
        )
    stored.update({rename(name): tensor for name, tensor in own.items()})
    return folder


def _facts(folder: Path, stored: dict[str, Stored], designer_folder: Path) -> DIMConfig:
    """`dim.json`, or the published model's facts with the designer's own decoding defaults."""
    if (folder / "dim.json").is_file():
        return read_config(folder / "dim.json")
    if EMBEDDER not in stored:
        raise CheckpointError(f"{folder}: {EMBEDDER} is missing, so this is no DIM checkpoint; name another folder")
    shape = stored[EMBEDDER].shape
    channels = published_config("edit").painter.latent_channels
    if len(shape) != 4 or shape[1] not in (channels, 2 * channels):
        raise CheckpointError(
            f"{folder}: {EMBEDDER} has shape {list(shape)}; DIM-4.6B-Edit has {2 * channels} input channels and "
            f"DIM-4.6B-T2I {channels}. A model of other sizes needs a dim.json beside its weights"
        )
    config = published_config("edit" if shape[1] == 2 * channels else "generate")
    generation = designer_folder / "generation_config.json"
    if generation.is_file():
        penalty = float(_read_json(generation).get("repetition_penalty", 1.0))
        config = replace(config, decoding=type(config.decoding)(config.decoding.max_new_tokens, penalty))
    return config


def read_parts(designer: Path, autoencoder: Path) -> Parts:
    """Configuration of a designer folder (Qwen2.5-VL) and an autoencoder folder (DC-AE)."""
    return Parts(_designer_config(designer), _autoencoder_config(autoencoder), designer)


def _designer_config(folder: Path) -> Qwen2_5_VLConfig:
    path = folder / "config.json"
    facts = _read_json(path)
    if facts.get("model_type") != "qwen2_5_vl":
        raise CheckpointError(
            f'{path}: model_type is {facts.get("model_type")!r}, expected "qwen2_5_vl"; '
            "name a Qwen2.5-VL with --designer"
        )
    try:
        return Qwen2_5_VLConfig.from_dict(facts)
    except (TypeError, ValueError, KeyError, StrictDataclassError) as error:
        raise CheckpointError(f"{path}: transformers can't read it: {error}; download it again") from error


def _autoencoder_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    facts = _read_json(path)
    if facts.get("_class_name") != "AutoencoderDC":
        raise CheckpointError(
            f'{path}: _class_name is {facts.get("_class_name")!r}, expected "AutoencoderDC"; '
            "name a DC-AE in diffusers format with --autoencoder"
        )
    return facts


def _read_json(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: can't be read as JSON: {error}; download it again") from error
    if not isinstance(facts, dict):
        raise CheckpointError(f"{path}: a JSON object was expected; download it again")
    return facts


def _check_parts(folder: Path, config: DIMConfig, parts: Parts) -> None:
    """The painter and the autoencoder must speak of the same latents."""
    channels = parts.autoencoder.get("latent_channels")
    factor = 2 ** (len(parts.autoencoder.get("encoder_block_out_channels", ())) - 1)
    if channels != config.painter.latent_channels or factor != config.resolution.latent_factor:
        raise CheckpointError(
            f"{folder}: the painter wants {config.painter.latent_channels} latent channels at factor "
            f"{config.resolution.latent_factor}, the autoencoder makes {channels} at factor {factor}; "
            "name the matching one with --autoencoder"
        )


def _account(folder: Path, config: DIMConfig, expected: dict[str, tuple[int, ...]], stored: dict[str, Stored]) -> None:
    """Compare names, shapes and types; raise CheckpointError listing what differs."""
    wrong = []
    for name, shape in expected.items():
        if name not in stored:
            wrong.append(f"{name}: missing, expected shape {list(shape)}")
        elif stored[name].shape != shape:
            wrong.append(
                f"{name}: shape {list(stored[name].shape)} in {stored[name].file.name}, expected {list(shape)}"
            )
        elif stored[name].dtype not in FLOATS:
            wrong.append(f"{name}: type {stored[name].dtype}, expected one of {', '.join(FLOATS)}")
    for name in stored:
        if name not in expected:
            wrong.append(f"{name}: unexpected tensor of shape {list(stored[name].shape)} in {stored[name].file.name}")
    if not wrong:
        return
    listed = "\n  ".join(wrong[:SHOWN])
    more = f"\n  and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    raise CheckpointError(
        f"{folder}: {len(wrong)} tensor(s) don't fit {config.name} ({config.painter.task}):\n  {listed}{more}\n"
        "Download the checkpoint again; a model of other sizes needs its own dim.json, and its designer or autoencoder "
        "can be named with --designer and --autoencoder"
    )
