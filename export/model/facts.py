"""Manifest facts read off a model's configuration: what the runtime must know of designer and painter."""

from typing import Any

from transformers import Qwen2_5_VLConfig

from dimrt.export.model.config import PainterConfig
from dimrt.manifest import Language, Painter, Vision


def vision_facts(config: Qwen2_5_VLConfig, preprocessor: dict[str, Any], condition_side: int) -> Vision:
    """Picture route of the designer, from its configuration and the content of `preprocessor_config.json`."""
    vision = config.vision_config
    size = preprocessor.get("size", {})
    return Vision(
        patch_size=vision.patch_size,
        temporal_patch_size=vision.temporal_patch_size,
        merge_size=vision.spatial_merge_size,
        window_size=vision.window_size,
        head_dim=vision.hidden_size // vision.num_heads,
        mean=tuple(preprocessor["image_mean"]),
        std=tuple(preprocessor["image_std"]),
        min_pixels=preprocessor.get("min_pixels") or size["shortest_edge"],
        max_pixels=preprocessor.get("max_pixels") or size["longest_edge"],
        condition_side=condition_side,
    )


def language_facts(config: Qwen2_5_VLConfig) -> Language:
    """Text decoder of the designer."""
    text = config.text_config
    rope = text.rope_parameters
    return Language(
        hidden_size=text.hidden_size,
        layers=text.num_hidden_layers,
        kv_heads=text.num_key_value_heads,
        head_dim=text.hidden_size // text.num_attention_heads,
        vocab_size=text.vocab_size,
        rope_theta=float(rope["rope_theta"]),
        mrope_section=tuple(rope["mrope_section"]),
        max_positions=text.max_position_embeddings,
    )


def painter_facts(config: PainterConfig) -> Painter:
    """Painter, as the runtime sees it: cross-attention sizes only."""
    return Painter(
        task=config.task,
        latent_channels=config.latent_channels,
        condition_channels=config.caption_channels,
        max_condition=config.max_condition,
        layers=config.depth,
        heads=config.cross_heads,
        head_dim=config.hidden_size // config.cross_heads,
    )
