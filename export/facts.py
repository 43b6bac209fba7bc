"""The manifest's facts of a model, read from its own configuration files."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import Qwen2_5_VLConfig

from dimrt import manifest
from dimrt.errors import CheckpointError
from dimrt.export.model.assembly import DIM
from dimrt.export.model.config import DIMConfig
from dimrt.export.model.source import Source

TOKENIZER = "tokenizer.json"


def designer_facts(dim: DIM | Source, folder: Path) -> manifest.Designer:
    """Everything the host must know of the designer.

    Args:
        dim: the model, or what it is read from.
        folder: the designer's folder, with tokenizer.json, preprocessor_config.json and maybe generation_config.json.

    Raises:
        CheckpointError: a file is missing or unreadable, or lacks an entry.
    """
    config = dim.parts.designer
    return manifest.Designer(
        vision=vision_facts(config, folder / "preprocessor_config.json", dim.config.condition_side),
        language=language_facts(config, folder / "config.json"),
        tokens=_tokens(config, folder),
        prompt=dim.config.prompt,
        decoding=dim.config.decoding,
    )


def painter_facts(config: DIMConfig) -> manifest.Painter:
    """Everything the host must know of the painter."""
    painter = config.painter
    return manifest.Painter(
        task=painter.task,
        latent_channels=painter.latent_channels,
        condition_channels=painter.caption_channels,
        max_condition=painter.max_condition,
        layers=painter.depth,
        heads=painter.cross_heads,
        head_dim=painter.hidden_size // painter.cross_heads,
    )


def vision_facts(config: Qwen2_5_VLConfig, path: Path, condition_side: int) -> manifest.Vision:
    """The designer's picture route, from its configuration and the `preprocessor_config.json` at `path`."""
    vision, facts = config.vision_config, _read(path)
    try:
        mean, std = (tuple(float(v) for v in facts[key]) for key in ("image_mean", "image_std"))
        size = facts.get("size") or {}
        smallest = facts.get("min_pixels", size.get("shortest_edge"))
        largest = facts.get("max_pixels", size.get("longest_edge"))
        return manifest.Vision(
            patch_size=vision.patch_size,
            temporal_patch_size=vision.temporal_patch_size,
            merge_size=vision.spatial_merge_size,
            window_size=vision.window_size,
            head_dim=vision.hidden_size // vision.num_heads,
            mean=(mean[0], mean[1], mean[2]),
            std=(std[0], std[1], std[2]),
            min_pixels=int(smallest),
            max_pixels=int(largest),
            condition_side=condition_side,
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"{path}: image_mean, image_std, min_pixels and max_pixels are needed ({error}); take the file that comes "
            "with the designer"
        ) from error


def language_facts(config: Qwen2_5_VLConfig, path: Path) -> manifest.Language:
    """The designer's text decoder; `path` is its `config.json`, for messages."""
    text = config.text_config
    rope = text.rope_parameters
    section = rope.get("mrope_section")
    head_dim = text.hidden_size // text.num_attention_heads
    if section is None or len(section) != 3 or sum(section) * 2 != head_dim:
        raise CheckpointError(
            f"{path}: mrope_section {section} must be three numbers that add up to half the head size, {head_dim // 2}"
        )
    return manifest.Language(
        hidden_size=text.hidden_size,
        layers=text.num_hidden_layers,
        kv_heads=text.num_key_value_heads,
        head_dim=head_dim,
        vocab_size=text.vocab_size,
        rope_theta=float(rope["rope_theta"]),
        mrope_section=(int(section[0]), int(section[1]), int(section[2])),
        max_positions=text.max_position_embeddings,
    )


def _tokens(config: Qwen2_5_VLConfig, folder: Path) -> manifest.Tokens:
    tokenizer = _tokenizer(folder / TOKENIZER)
    ids = {name: tokenizer.token_to_id(f"<|{name}|>") for name in ("im_start", "im_end")}
    missing = [name for name, token in ids.items() if token is None]
    if missing:
        raise CheckpointError(f"{folder / TOKENIZER}: has no token <|{missing[0]}|>; take the designer's own tokenizer")
    generation = folder / "generation_config.json"
    stop = _read(generation).get("eos_token_id") if generation.is_file() else None
    if stop is None:
        stop = ids["im_end"]
    return manifest.Tokens(
        im_start=ids["im_start"],
        im_end=ids["im_end"],
        vision_start=config.vision_start_token_id,
        vision_end=config.vision_end_token_id,
        image_pad=config.image_token_id,
        stop=tuple(stop) if isinstance(stop, list) else (stop,),
    )


def _tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; take the file that comes with the designer")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception for every parse error
        raise CheckpointError(f"{path}: can't be read as a tokenizer ({error}); download it again") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: can't be read as a JSON object: {error}; download it again") from error
