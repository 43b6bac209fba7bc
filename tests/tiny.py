"""Tiny DIM checkpoints, in the published layout, made of the reference fixtures' parts."""

import json
import shutil
from pathlib import Path
from typing import Literal

from safetensors.numpy import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from dimrt.export.model.config import DIMConfig, PainterConfig, encode_config
from dimrt.manifest import Decoding, Prompt, Resolution, Schedule

SPECIAL = {
    "<|endoftext|>": 560,
    "<|im_end|>": 561,
    "<|im_start|>": 562,
    "<|vision_start|>": 563,
    "<|vision_end|>": 564,
    "<|image_pad|>": 566,
    "<|video_pad|>": 567,
}
WORDS = {"system": 11, "user": 12, "assistant": 13}
NEWLINE = 14
VOCABULARY = 600
FIRST_BYTE = 20


def write_tiny_checkpoint(
    reference: Path, folder: Path, task: Literal["edit", "generate"], aspect: Literal["free", "square"] = "free"
) -> Path:
    """A complete checkpoint folder of the reference's tiny designer, projector, painter and autoencoder."""
    folder.mkdir(parents=True)
    painter = "painter_tiny" if task == "edit" else "painter_t2i_tiny"
    parts = {
        "mllm.": reference / "designer_tiny" / "model.safetensors",
        "projector.": reference / "projector_tiny.safetensors",
        "decoder.model.": reference / f"{painter}.safetensors",
        "decoder.vae.": reference / "autoencoder_tiny" / "diffusion_pytorch_model.safetensors",
    }
    tensors = {prefix + name: value for prefix, file in parts.items() for name, value in load_file(file).items()}
    save_file(tensors, folder / "model.safetensors")
    sizes = json.loads((reference / f"{painter}.json").read_text())
    (folder / "dim.json").write_bytes(encode_config(_config(sizes, task, aspect)))
    (folder / "dc-ae").mkdir()
    shutil.copy(reference / "autoencoder_tiny" / "config.json", folder / "dc-ae")
    (folder / "qwen").mkdir()
    for name in ("config.json", "generation_config.json", "preprocessor_config.json"):
        shutil.copy(reference / "designer_tiny" / name, folder / "qwen")
    tiny_tokenizer().save(str(folder / "qwen" / "tokenizer.json"))
    return folder


def tiny_tokenizer() -> Tokenizer:
    """Bytes, the three role names and the special tokens, at the ids of the designer fixture."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    free = iter(n for n in range(FIRST_BYTE, VOCABULARY) if n not in SPECIAL.values())
    vocabulary = {symbol: NEWLINE if symbol == "Ċ" else next(free) for symbol in alphabet}
    taken = {*vocabulary.values(), *SPECIAL.values(), *WORDS.values()}
    vocabulary |= {f"w{n}": n for n in range(VOCABULARY) if n not in taken}
    vocabulary |= SPECIAL | WORDS
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(word, normalized=False, special=False) for word in WORDS])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    return tokenizer


def _config(
    sizes: dict[str, int | float], task: Literal["edit", "generate"], aspect: Literal["free", "square"]
) -> DIMConfig:
    return DIMConfig(
        name=f"tiny-{task}",
        licence="none: random weights",
        painter=PainterConfig(
            task=task,
            latent_channels=int(sizes["latent_channels"]),
            hidden_size=int(sizes["hidden_size"]),
            depth=int(sizes["depth"]),
            cross_heads=int(sizes["num_heads"]),
            linear_head_dim=int(sizes["linear_head_dim"]),
            caption_channels=int(sizes["caption_channels"]),
            max_condition=int(sizes["model_max_length"]),
        ),
        schedule=Schedule(steps=30, guidance_scale=7.5, shift=3.0, seed=233),
        resolution=Resolution(side=128, multiple=32, latent_factor=32, aspect=aspect),
        prompt=Prompt(system="You help.", request="Plan this edit: {instruction}"),
        decoding=Decoding(max_new_tokens=24, repetition_penalty=1.0),
        condition_side=128,
    )
