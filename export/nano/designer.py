"""Nano's designer: a tiny Qwen2.5-VL, the facts its host needs, and its forward pass over batches of equal pictures."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

from dimrt.export.nano import tokenizer as words
from dimrt.export.nano.shapes import SIDE
from dimrt.manifest import Decoding, Designer, Language, PlanStyle, Prompt, Tokens, Vision
from dimrt.prompt import Prompts
from dimrt.rope import position_ids
from dimrt.vision import VisionInput, condition_size, prepare

HIDDEN = 192
LAYERS = 5
HEADS = 6
KV_HEADS = 3
VISION_HIDDEN = 128
VISION_LAYERS = 3
VISION_HEADS = 4
PATCH = 16
WINDOW = 64
MAX_POSITIONS = 1024
SECTIONS = (4, 6, 6)
SYSTEM = "You are a helpful assistant."
REQUEST = "Plan: {instruction}"
REQUEST_STYLES = (PlanStyle("short", "Short plan: {instruction}"), PlanStyle("brief", "Brief plan: {instruction}"))
"""What asks for a plan of another style (`dimrt.export.nano.plans.STYLES`)."""
MAX_NEW_TOKENS = 192
IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
PIXELS = (SIDE * SIDE, 4 * SIDE * SIDE)
"""Least and most pixels of a picture that the designer sees."""


def token_ids(path: Path) -> Tokens:
    """The special tokens' ids in a `tokenizer.json`."""
    tokenizer = words.load_tokenizer(path)
    names = (words.IM_START, words.IM_END, words.VISION_START, words.VISION_END, words.IMAGE_PAD)
    ids = [tokenizer.token_to_id(name) for name in names]
    return Tokens(*ids, stop=(ids[1], tokenizer.token_to_id(words.END)))


def designer_facts(tokenizer: Path) -> Designer:
    """The facts that a bundle's manifest states about nano's designer."""
    return Designer(
        vision=Vision(
            patch_size=PATCH,
            temporal_patch_size=2,
            merge_size=2,
            window_size=WINDOW,
            head_dim=VISION_HIDDEN // VISION_HEADS,
            mean=IMAGE_MEAN,
            std=IMAGE_STD,
            min_pixels=PIXELS[0],
            max_pixels=PIXELS[1],
            condition_side=SIDE,
        ),
        language=Language(
            hidden_size=HIDDEN,
            layers=LAYERS,
            kv_heads=KV_HEADS,
            head_dim=HIDDEN // HEADS,
            vocab_size=words.VOCABULARY,
            rope_theta=10000.0,
            mrope_section=SECTIONS,
            max_positions=MAX_POSITIONS,
        ),
        tokens=token_ids(tokenizer),
        prompt=Prompt(system=SYSTEM, request=REQUEST, styles=REQUEST_STYLES),
        decoding=Decoding(max_new_tokens=MAX_NEW_TOKENS, repetition_penalty=1.0),
    )


def designer_config(tokens: Tokens, video_pad: int) -> Qwen2_5_VLConfig:
    """The Qwen2.5-VL configuration of nano's designer."""
    text = {
        "vocab_size": words.VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": HIDDEN * 3,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": MAX_POSITIONS,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": list(SECTIONS)},
        "use_sliding_window": False,
        "bos_token_id": tokens.im_start,
        "eos_token_id": tokens.im_end,
        "pad_token_id": tokens.stop[1],
    }
    vision = {
        "depth": VISION_LAYERS,
        "hidden_size": VISION_HIDDEN,
        "intermediate_size": VISION_HIDDEN * 3,
        "num_heads": VISION_HEADS,
        "in_channels": 3,
        "patch_size": PATCH,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": WINDOW,
        "out_hidden_size": HIDDEN,
        "fullatt_block_indexes": list(range(1, VISION_LAYERS)),
        "tokens_per_second": 2,
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=tokens.image_pad,
        vision_start_token_id=tokens.vision_start,
        vision_end_token_id=tokens.vision_end,
        video_token_id=video_pad,
        tie_word_embeddings=True,
    )
    config._attn_implementation = "eager"
    return config


def build_designer(tokenizer: Path, seed: int = 0) -> Qwen2_5_VLForConditionalGeneration:
    """A designer with fresh weights."""
    torch.manual_seed(seed)
    video_pad = words.load_tokenizer(tokenizer).token_to_id(words.VIDEO_PAD)
    return Qwen2_5_VLForConditionalGeneration(designer_config(token_ids(tokenizer), video_pad))


def save_designer(model: Qwen2_5_VLForConditionalGeneration, tokenizer: Path, folder: Path) -> None:
    """Write the model as a Qwen2.5-VL folder: configuration, weights, tokenizer, picture and generation settings."""
    model.save_pretrained(folder)
    facts = designer_facts(tokenizer)
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    settings = {
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": words.IM_END,
            "pad_token": words.END,
            "model_max_length": MAX_POSITIONS,
            "clean_up_tokenization_spaces": False,
        },
        "preprocessor_config.json": {
            "image_processor_type": "Qwen2VLImageProcessor",
            "patch_size": PATCH,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "min_pixels": PIXELS[0],
            "max_pixels": PIXELS[1],
            "image_mean": list(IMAGE_MEAN),
            "image_std": list(IMAGE_STD),
        },
        "generation_config.json": {
            "do_sample": False,
            "repetition_penalty": 1.0,
            "max_new_tokens": MAX_NEW_TOKENS,
            "eos_token_id": list(facts.tokens.stop),
            "pad_token_id": facts.tokens.stop[1],
        },
    }
    for name, content in settings.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")


@dataclass(frozen=True)
class Views:
    """Pictures as the designer takes them, all of one size.

    `patches` is float32 [B, 64, 1536] in window order; `cos`, `sin` [64, head_dim / 2] and `order` [16] are the same
    for all.
    """

    patches: Tensor
    cos: Tensor
    sin: Tensor
    order: Tensor

    def to(self, device: torch.device | str) -> "Views":
        """The same on a device."""
        return Views(*(getattr(self, field.name).to(device) for field in fields(self)))


def view_pictures(pictures: list[NDArray[np.uint8]], vision: Vision) -> Views:
    """Prepare uint8 [h,w,3] pictures (squashed to 128 x 128) with the runtime's own code."""
    size = condition_size(vision)
    inputs: list[VisionInput] = [prepare(picture, vision, size) for picture in pictures]
    first = inputs[0]
    return Views(
        patches=torch.from_numpy(np.stack([view.patches for view in inputs]).astype(np.float32)),
        cos=torch.from_numpy(first.cos),
        sin=torch.from_numpy(first.sin),
        order=torch.from_numpy(first.order),
    )


def embed_pictures(model: Qwen2_5_VLForConditionalGeneration, views: Views) -> Tensor:
    """Image tokens [B, 16, hidden] of a batch.

    The same arithmetic as the library's vision tower, whose attention loops over pictures and windows one by one;
    here all pictures have the same full windows, so that both kinds of attention are one batched product.
    """
    tower = model.model.visual
    batch, patches, _ = views.patches.shape
    slots = (tower.window_size // tower.patch_size) ** 2
    cos, sin = (torch.cat([table, table], dim=-1) for table in (views.cos, views.sin))
    hidden = functional.linear(views.patches, tower.patch_embed.proj.weight.flatten(1))
    for index, block in enumerate(tower.blocks):
        span = patches if index in tower.fullatt_block_indexes else slots
        attention = block.attn
        qkv = attention.qkv(block.norm1(hidden)).view(batch, patches, 3, attention.num_heads, -1)
        query, key, value = qkv.unbind(2)
        query, key = apply_rotary_pos_emb_vision(query, key, cos, sin)
        grouped = (batch * patches // span, span, attention.num_heads, attention.head_dim)
        query, key, value = (part.reshape(grouped).transpose(1, 2) for part in (query, key, value))
        weights = (query @ key.transpose(-1, -2) * attention.scaling).softmax(-1)
        mixed = (weights.to(value.dtype) @ value).transpose(1, 2).reshape(batch, patches, -1)
        hidden = hidden + attention.proj(mixed)
        hidden = hidden + block.mlp(block.norm2(hidden))
    merged = tower.merger(hidden).view(batch, -1, HIDDEN)
    return merged[:, views.order]


def run_text(model: Qwen2_5_VLForConditionalGeneration, ids: Tensor, images: Tensor, positions: Tensor) -> Tensor:
    """Hidden states [B, L, hidden] after the final norm.

    Args:
        ids: int64 [B, L], padded at the end (the model is causal, so padding needs no mask).
        images: image tokens [B, 16, hidden], put where the `image_pad` ids of the first row stand (the same in all).
        positions: int64 [3, L] multimodal positions.
    """
    language = model.model.language_model
    embedded = language.embed_tokens(ids)
    pads = torch.nonzero(ids[0] == model.config.image_token_id).flatten()
    start, end = int(pads[0]), int(pads[-1]) + 1
    embedded = torch.cat([embedded[:, :start], images.to(embedded.dtype), embedded[:, end:]], dim=1)
    spread = positions[:, None].expand(3, ids.shape[0], -1)
    return language(inputs_embeds=embedded, position_ids=spread, use_cache=False).last_hidden_state


def text_positions(row: NDArray[np.int64], tokens: Tokens) -> Tensor:
    """Multimodal positions [3, L] of one padded row of ids with one picture of 4 x 4 tokens."""
    merged = SIDE // PATCH // 2
    return torch.from_numpy(position_ids(row, tokens, [(merged, merged)])[0])


def load_prompts(tokenizer: Path) -> tuple[Prompts, Designer]:
    """The runtime's own prompt builder over nano's tokenizer, and the facts it works with."""
    words.load_tokenizer(tokenizer)
    facts = designer_facts(tokenizer)
    return Prompts(tokenizer, facts), facts
