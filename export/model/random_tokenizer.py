"""A tokenizer of Qwen's vocabulary size, with its special tokens at their published ids, for models of random numbers.

Byte-level BPE learned from the published prompt and some English, so that a prompt has about as many tokens as with
the real one; the ids that are left hold fillers, so that whatever a random model writes can be decoded.
"""

import json
import shutil
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from dimrt.export.model.published import REQUEST, SYSTEM

SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
FIRST_SPECIAL = 151643
VOCABULARY = 151936
"""Rows of the embedding, padded beyond the last token."""
LEARNED = 2000
FILES = ("config.json", "generation_config.json", "preprocessor_config.json")


def write_designer_files(sizes: Path, folder: Path) -> None:
    """Make `folder` a designer folder without weights: the configuration files in `sizes`, and a tokenizer."""
    for name in FILES:
        shutil.copyfile(sizes / name, folder / name)
    random_tokenizer().save(str(folder / "tokenizer.json"))


def random_tokenizer() -> Tokenizer:
    """The tokenizer; the same on every run."""
    learned = _learned()
    vocabulary = learned.get_vocab()
    merges = _merges(learned)
    vocabulary |= {f"filler-{n}": n for n in range(len(vocabulary), FIRST_SPECIAL)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in SPECIALS])
    unused = range(FIRST_SPECIAL + len(SPECIALS), VOCABULARY)
    tokenizer.add_tokens([AddedToken(f"<|unused_{n}|>", normalized=False, special=False) for n in unused])
    return tokenizer


def _learned() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=LEARNED, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([SYSTEM, REQUEST, "system\nuser\nassistant\n"] * 8, trainer)
    return tokenizer


def _merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    """The merges that a tokenizer learned, in order."""
    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
