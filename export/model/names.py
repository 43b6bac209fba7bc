"""Names of a DIM checkpoint against names of our modules, in both directions, one tensor at a time.

A checkpoint tensor becomes one module tensor, or several of equal height (fused q/k/v and k/v). `targets` maps a
checkpoint name to module names, `source` maps back; neither touches data, so that a checkpoint of any size can be
converted while it streams. Module names are those of `DIM.state_dict()`.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A module tensor: rows `part` of `parts` equal slices along the first axis of a checkpoint tensor."""

    name: str
    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Source:
    """Where a module tensor comes from: slice `part` of `parts` of checkpoint tensor `name`."""

    name: str
    part: int = 0
    parts: int = 1


IGNORED_PREFIXES = ("decoder.text_encoder.",)
"""Parts of the training setup that inference discards on load."""
IGNORED = ("decoder.model.pos_embed",)
"""A buffer the original registers and never reads."""
TIED = "mllm.lm_head.weight"
EMBEDDING = "mllm.model.embed_tokens.weight"

_PAINTER = {
    "x_embedder.proj": ("patch_embed.proj",),
    "t_embedder.mlp.0": ("time_embed.emb.timestep_embedder.linear_1",),
    "t_embedder.mlp.2": ("time_embed.emb.timestep_embedder.linear_2",),
    "t_block.1": ("time_embed.linear",),
    "y_embedder.y_proj.fc1": ("caption_projection.linear_1",),
    "y_embedder.y_proj.fc2": ("caption_projection.linear_2",),
    "attention_y_norm": ("caption_norm",),
    "final_layer.linear": ("proj_out",),
    "final_layer.scale_shift_table": ("scale_shift_table",),
    "blocks.#.scale_shift_table": ("transformer_blocks.#.scale_shift_table",),
    "blocks.#.attn.qkv": tuple(f"transformer_blocks.#.attn1.to_{x}" for x in "qkv"),
    "blocks.#.attn.q_norm": ("transformer_blocks.#.attn1.norm_q",),
    "blocks.#.attn.k_norm": ("transformer_blocks.#.attn1.norm_k",),
    "blocks.#.attn.proj": ("transformer_blocks.#.attn1.to_out.0",),
    "blocks.#.cross_attn.q_linear": ("transformer_blocks.#.attn2.to_q",),
    "blocks.#.cross_attn.kv_linear": tuple(f"transformer_blocks.#.attn2.to_{x}" for x in "kv"),
    "blocks.#.cross_attn.q_norm": ("transformer_blocks.#.attn2.norm_q",),
    "blocks.#.cross_attn.k_norm": ("transformer_blocks.#.attn2.norm_k",),
    "blocks.#.cross_attn.proj": ("transformer_blocks.#.attn2.to_out.0",),
    "blocks.#.mlp.inverted_conv.conv": ("transformer_blocks.#.ff.conv_inverted",),
    "blocks.#.mlp.depth_conv.conv": ("transformer_blocks.#.ff.conv_depth",),
    "blocks.#.mlp.point_conv.conv": ("transformer_blocks.#.ff.conv_point",),
}
"""Original SANA module paths to diffusers' paths; `#` is the block's index. Weight and bias go alike."""

_BACK = {target: (path, part, len(paths)) for path, paths in _PAINTER.items() for part, target in enumerate(paths)}
_BLOCK = re.compile(r"blocks\.(\d+)\.")
_NULL = ("decoder.model.y_embedder.y_embedding", "painter.null_condition")

_PREFIXES = (
    ("mllm.visual.", "designer.model.visual."),
    ("mllm.model.", "designer.model.language_model."),
    ("mllm.lm_head.", "designer.lm_head."),
    ("projector.", "connector."),
    ("decoder.vae.", "autoencoder."),
)
"""Parts whose tensors keep their shape and the rest of their name. `mllm.*` follows transformers 4.51."""


def ignored(name: str) -> bool:
    """Whether a checkpoint tensor has no meaning for inference."""
    return name in IGNORED or name.startswith(IGNORED_PREFIXES)


def targets(name: str) -> tuple[Target, ...]:
    """Module tensors made from checkpoint tensor `name`, in slice order; empty when the name is not known."""
    for old, new in _PREFIXES:
        if name.startswith(old):
            return (Target(new + name.removeprefix(old)),)
    if name == _NULL[0]:
        return (Target(_NULL[1]),)
    if not name.startswith("decoder.model."):
        return ()
    path, leaf, index = _split(name.removeprefix("decoder.model."))
    paths = _PAINTER.get(path, ())
    return tuple(
        Target(f"painter.transformer.{target.replace('#', index)}{leaf}", part, len(paths))
        for part, target in enumerate(paths)
    )


def source(name: str) -> Source:
    """The checkpoint tensor (and slice of it) that module tensor `name` comes from. Raises KeyError if unknown."""
    for old, new in _PREFIXES:
        if name.startswith(new):
            return Source(old + name.removeprefix(new))
    if name == _NULL[1]:
        return Source(_NULL[0])
    path, leaf, index = _split(name.removeprefix("painter.transformer."))
    original, part, parts = _BACK[path]
    return Source(f"decoder.model.{original.replace('#', index)}{leaf}", part, parts)


def _split(name: str) -> tuple[str, str, str]:
    """Module path with its block index replaced by `#`, the leaf (".weight", ".bias" or none), and the index."""
    path, leaf = name, ""
    for ending in (".weight", ".bias"):
        if name.endswith(ending):
            path, leaf = name.removesuffix(ending), ending
    found = _BLOCK.search(path)
    return (_BLOCK.sub("blocks.#.", path), leaf, found[1]) if found else (path, leaf, "")


def from_designer(name: str) -> str:
    """DIM name of a tensor in a Qwen2.5-VL folder, whose names follow transformers 4.51 or 5."""
    if name.startswith("model.language_model."):
        return "mllm.model." + name.removeprefix("model.language_model.")
    if name.startswith("model.visual."):
        return "mllm.visual." + name.removeprefix("model.visual.")
    return "mllm." + name


def from_autoencoder(name: str) -> str:
    """DIM name of a tensor in a diffusers AutoencoderDC folder."""
    return "decoder.vae." + name
