"""Painter parity: one pass in float32 and bfloat16, and every activation on the way."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from dimrt.export.model.painter import Painter
from dimrt.export.parity.items import BFLOAT16, PAINTER, Arrays, Item, compare
from dimrt.export.parity.reference import Reference

EXACT_INPUTS = ("timestep", "mask")


def painter_items(reference: Reference) -> Iterator[Item]:
    """Every case of every painter of the folder."""
    for name, model in reference.models.items():
        arrays = reference.arrays(name)
        half = copy.deepcopy(model.painter).bfloat16()
        for case in arrays.cases(".out"):
            inputs = _inputs(arrays, case)
            with torch.no_grad(), Recorder(model.painter) as recorder:
                out = model.painter(**inputs)
            yield compare(f"painter {name} {case}", out, arrays[f"{case}.out"], PAINTER)
            for key in arrays.below(f"{case}.act."):
                want = arrays[f"{case}.act.{key}"]
                got = recorder.tokens(key).reshape(want.shape)
                yield compare(f"painter {name} {case} {key}", got, want, PAINTER)
            if f"{case}.out_bf16" in arrays:
                with torch.no_grad():
                    out = half(
                        **{key: value if key in EXACT_INPUTS else value.bfloat16() for key, value in inputs.items()}
                    )
                yield compare(f"painter {name} {case} bfloat16", out.float(), arrays[f"{case}.out_bf16"], BFLOAT16)


def _inputs(arrays: Arrays, case: str) -> dict[str, Tensor]:
    inputs = {
        "latent": arrays[f"{case}.x"],
        "timestep": arrays[f"{case}.timestep"],
        "condition": arrays[f"{case}.y"][:, 0],
        "mask": arrays[f"{case}.mask"],
    }
    if f"{case}.latents_condition" in arrays:
        inputs["source"] = arrays[f"{case}.latents_condition"]
    return {key: torch.from_numpy(value) for key, value in inputs.items()}


class Recorder:
    """Keeps the outputs of a painter's modules under the original's names while the block runs."""

    def __init__(self, painter: Painter) -> None:
        net = painter.transformer
        modules: dict[str, nn.Module] = {
            "x_embedder": net.patch_embed,
            "t_embedder": net.time_embed.emb.timestep_embedder,
            "t_block": net.time_embed.linear,
            "y_embedder": net.caption_projection,
            "attention_y_norm": net.caption_norm,
            "final_layer": net.proj_out,
        }
        for index, block in enumerate(net.transformer_blocks):
            modules[f"block{index}"] = block
            modules[f"block{index}.attn"] = block.attn1
            modules[f"block{index}.cross_attn"] = block.attn2
            modules[f"block{index}.mlp"] = block.ff
        self._modules = modules
        self._kept: dict[str, Tensor] = {}

    def __enter__(self) -> "Recorder":
        self._hooks = [
            module.register_forward_hook(lambda _module, _args, out, name=name: self._kept.__setitem__(name, out))
            for name, module in self._modules.items()
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def tokens(self, name: str) -> Tensor:
        """Output of module `name`; a map [B,C,h,w] as tokens [B,h*w,C]."""
        kept = self._kept[name]
        return kept.flatten(2).transpose(1, 2) if kept.ndim == 4 else kept
