"""The designers that every side runs, in the forms the sides read, all of the same numbers.

`nano` is the trained tiny designer of this repository. `middle` and `wide` hold random numbers (time doesn't depend on
values): `middle` is small enough for quick runs, `wide` has the widths of Qwen2.5-VL-3B's text model with few layers
and a smaller vocabulary, so that decoding is bound by reading weights, as on the real one, and all sides fit in memory
side by side.

Three forms of each: dimrt bundles (one a recipe), a transformers folder of Qwen2.5-VL, and a transformers folder of
Qwen2, which is the same text model: without a picture the three position axes are equal, and the multimodal rotary
embedding is the plain one. Sides that know only the latter say so.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from drafting import nano_scenes
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import Qwen2_5_VLConfig, Qwen2Config, Qwen2ForCausalLM

from dimrt.bundle import TOKENIZER, write_manifest
from dimrt.export import facts
from dimrt.export.graphs.activations import activations
from dimrt.export.graphs.work import work
from dimrt.export.model.assembly import Parts
from dimrt.export.model.checkpoint import Checkpoint, read_parts
from dimrt.export.model.random import RandomCheckpoint
from dimrt.export.model.source import Shallow, Source, load_part
from dimrt.export.pipeline import NANO
from dimrt.export.precision import load_recipe
from dimrt.export.ranges import assumed_ranges
from dimrt.export.stream import Unkept
from dimrt.export.writer import TABLES, Writer
from dimrt.integrity import MANIFEST
from dimrt.manifest import FORMAT_VERSION, Graph, Manifest, Measured, Provenance

RECIPES = {"fp32": "fp32-cpu", "int8": "int8-cpu", "int4": "int4-cpu"}
"""What each precision is called among dimrt's recipes."""
VOCABULARY = 32_000
SCENES = 18
"""Of nano, whose plans are written."""
SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
FIRST_SPECIAL = VOCABULARY - len(SPECIALS)


@dataclass(frozen=True)
class Size:
    """Sizes of a text model of random numbers."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int


SIZES = {"middle": Size(1024, 8, 8, 2, 2816), "wide": Size(2048, 4, 16, 2, 11008)}
DESIGNERS = ("nano", *SIZES)


def designer_source(name: str, folder: Path) -> Source:
    """The tensors of one of `DESIGNERS`; `folder` takes the configuration files of a random one."""
    nano = Checkpoint.open(NANO, offline=True)
    if name == "nano":
        return nano
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("generation_config.json", "preprocessor_config.json"):
        held = json.loads((NANO / "qwen" / file).read_text(encoding="utf-8"))
        held |= {"patch_size": 14} if file.startswith("pre") else {"eos_token_id": _id("<|im_end|>")}
        (folder / file).write_text(json.dumps(held), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(_config(SIZES[name])), encoding="utf-8")
    _tokenizer().save(str(folder / "tokenizer.json"))
    autoencoder = NANO / "dc-ae"
    parts: Parts = read_parts(folder, autoencoder)
    config = replace(nano.config, name=f"random-{name}", licence="none: random numbers, not trained weights")
    return RandomCheckpoint(config, parts)


def shallow_source(layers: int, side: int, model: str = "dim-4.6b-edit") -> Source:
    """The first layers of a published size with random numbers, to paint pictures of about `side` squared pixels."""
    source = Shallow(RandomCheckpoint.published(model), layers)
    resolution = msgspec.structs.replace(source.config.resolution, side=side)
    source.config = replace(source.config, resolution=resolution)
    return source


def write_bundle(source: Source, precision: str, graphs: Sequence[str], folder: Path) -> Path:
    """A bundle of some graphs, by the exporter's own writer; ranges of activations are assumed where needed.

    Nothing is compared with torch here: what the graphs give is compared with the other sides at every run.
    """
    if (folder / MANIFEST).is_file():
        return folder
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    writer = Writer(source, load_recipe(RECIPES[precision]))
    if writer.recipe.measured:
        writer.statistics = assumed_ranges(writer, graphs)
    records = {graph: _write_graph(writer, graph, folder) for graph in graphs}
    for table, (_, user) in TABLES.items():
        if user in graphs:
            writer.write_table(table, folder, Unkept())
    held = source.parts.designer_folder
    assert held is not None
    (folder / TOKENIZER).write_bytes((held / TOKENIZER).read_bytes())
    config = source.config
    manifest = Manifest(
        format=FORMAT_VERSION,
        name=config.name,
        recipe=writer.recipe.name,
        designer=facts.designer_facts(writer.dim, held),
        painter=facts.painter_facts(config),
        resolution=config.resolution,
        schedule=config.schedule,
        graphs=records,
        licence=config.licence,
        provenance=Provenance(checkpoint=config.name, tool="benchmarks", versions={}, random_seed=source.random_seed),
        files={},
    )
    write_manifest(folder, manifest)
    return folder


def _write_graph(writer: Writer, graph: str, folder: Path) -> Graph:
    definition = writer.define(graph)
    model, made = writer.make(definition)
    writer.write_made(graph, model, made, folder, Unkept())
    return Graph(
        file=f"onnx/{graph}.onnx",
        inputs=definition.inputs,
        outputs=definition.outputs,
        error=Measured(max_abs=0.0, relative=0.0, limit=writer.recipe.limits[graph], cases=0),
        activations=activations(model),
        work=work(model),
    )


def write_library_folders(source: Source, folder: Path) -> None:
    """`folder`/vl and `folder`/text: float32 weights in transformers' format, with the tokenizer."""
    if (folder / "text" / "tokenizer.json").is_file():
        return
    designer = load_part(source, "designer")
    designer.save_pretrained(folder / "vl")
    with torch.device("meta"):
        text = Qwen2ForCausalLM(text_config(source.parts.designer))
    weights = {f"model.{name}": tensor for name, tensor in designer.model.language_model.state_dict().items()}
    text.load_state_dict(weights | {"lm_head.weight": designer.lm_head.weight}, assign=True)
    text.tie_weights()
    text.save_pretrained(folder / "text")
    held = source.parts.designer_folder
    assert held is not None
    for form in ("vl", "text"):
        for file in ("tokenizer.json", "preprocessor_config.json", "generation_config.json"):
            (folder / form / file).write_bytes((held / file).read_bytes())
        named = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
        (folder / form / "tokenizer_config.json").write_text(json.dumps(named), encoding="utf-8")


def write_scenes(folder: Path) -> Path:
    """Held-out scenes, two of each edit type: `pictures.npy` uint8 [n, h, w, 3] and `instructions.json`."""
    if not (folder / "instructions.json").is_file():
        cases = nano_scenes(SCENES)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "pictures.npy", np.stack([case.source for case in cases]))
        (folder / "instructions.json").write_text(json.dumps([case.instruction for case in cases]), encoding="utf-8")
    return folder


def text_config(config: Qwen2_5_VLConfig) -> Qwen2Config:
    """The text model of a Qwen2.5-VL, as a Qwen2."""
    text = config.text_config
    names = (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "vocab_size",
        "rms_norm_eps",
        "max_position_embeddings",
    )
    return Qwen2Config(
        **{name: getattr(text, name) for name in names},
        rope_parameters={"rope_type": "default", "rope_theta": text.rope_parameters["rope_theta"]},
        tie_word_embeddings=config.tie_word_embeddings,
        bos_token_id=None,
        eos_token_id=None,
        use_sliding_window=False,
    )


def _id(special: str) -> int:
    return FIRST_SPECIAL + SPECIALS.index(special)


def _config(size: Size) -> dict[str, Any]:
    """A `config.json` of Qwen2.5-VL, in the published files' form."""
    half = size.hidden // size.heads // 2
    section = [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8]
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "hidden_act": "silu",
        "hidden_size": size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.kv_heads,
        "intermediate_size": size.mlp,
        "vocab_size": VOCABULARY,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        "rope_scaling": {"type": "mrope", "mrope_section": section},
        "torch_dtype": "float32",
        "bos_token_id": _id("<|endoftext|>"),
        "eos_token_id": _id("<|im_end|>"),
        "vision_start_token_id": _id("<|vision_start|>"),
        "vision_end_token_id": _id("<|vision_end|>"),
        "vision_token_id": _id("<|vision_pad|>"),
        "image_token_id": _id("<|image_pad|>"),
        "video_token_id": _id("<|video_pad|>"),
        "vision_config": {
            "model_type": "qwen2_5_vl",
            "hidden_act": "silu",
            "in_channels": 3,
            "depth": 2,
            "hidden_size": 320,
            "num_heads": 4,
            "intermediate_size": 864,
            "out_hidden_size": size.hidden,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "spatial_merge_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [1],
        },
    }


def _tokenizer() -> Tokenizer:
    """Bytes, fillers, and the special tokens at the end of the vocabulary."""
    vocabulary = {symbol: n for n, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocabulary |= {f"filler-{n}": n for n in range(len(vocabulary), FIRST_SPECIAL)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in SPECIALS])
    return tokenizer
