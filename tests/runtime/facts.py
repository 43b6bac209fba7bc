"""Manifest facts of the reference fixtures, for tests of the host's own arithmetic."""

import json
from pathlib import Path

from dimrt.manifest import Language, Tokens, Vision

VISION = Vision(
    patch_size=14,
    temporal_patch_size=2,
    merge_size=2,
    window_size=112,
    head_dim=16,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    min_pixels=3136,
    max_pixels=12845056,
    condition_side=1024,
)


def tokens(ids: dict[str, int]) -> Tokens:
    names = ("im_start", "im_end", "vision_start", "vision_end", "image_pad")
    return Tokens(**{name: ids[name] for name in names}, stop=(ids["im_end"],))


def language(reference: Path) -> Language:
    config = json.loads((reference / "designer_tiny" / "config.json").read_text())
    return Language(
        hidden_size=config["hidden_size"],
        layers=config["num_hidden_layers"],
        kv_heads=config["num_key_value_heads"],
        head_dim=config["hidden_size"] // config["num_attention_heads"],
        vocab_size=config["vocab_size"],
        rope_theta=config["rope_theta"],
        mrope_section=tuple(config["rope_scaling"]["mrope_section"]),
        max_positions=config["max_position_embeddings"],
    )
