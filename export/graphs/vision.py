"""`vision`: patches in padded window order -> image embeddings.

The host arranges patches window by window, each window filled up to the same number of slots, so that windows of any
grid become one batch axis and no layer gathers. Layers of full attention see all slots as one row; padding is masked.
"""

import torch
from torch import Tensor, nn
from torch.export import Dim
from transformers import Qwen2_5_VLForConditionalGeneration

from dimrt.export.graphs.contract import Axis, GraphDefinition, name_of
from dimrt.export.graphs.ops import Dense, GatedMlp, RmsNorm, attend
from dimrt.manifest import TensorSpec

HEADS_AT_ONCE = 2
"""Whose scores are held together in a layer of full attention: 0.5 GB for DIM's condition picture."""


class VisionBlock(nn.Module):
    """One block; attention within windows, or over the whole picture."""

    def __init__(self, block: nn.Module, full: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.full = full
        self.heads = block.attn.num_heads
        self.norm1 = RmsNorm(block.norm1.weight, block.norm1.variance_epsilon)
        self.norm2 = RmsNorm(block.norm2.weight, block.norm2.variance_epsilon)
        self.qkv = Dense.of(block.attn.qkv, dtype)
        self.out = Dense.of(block.attn.proj, dtype)
        self.mlp = GatedMlp(block.mlp, dtype)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        """x [windows, slots, width]; cos, sin [windows, slots, d/2]; mask [windows, 1, 1, slots]."""
        windows, slots, width = x.shape
        if self.full:
            x, cos, sin = (t.reshape(1, -1, t.shape[-1]) for t in (x, cos, sin))
            mask = mask.reshape(1, 1, 1, -1)
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, width // self.heads)).permute(2, 0, 3, 1, 4)
        query, key = (torch.onnx.ops.rotary_embedding(t.float(), cos, sin) for t in (qkv[0], qkv[1]))
        seen = self.attend(query, key.to(qkv.dtype), qkv[2], mask)
        x = x + self.out(seen.transpose(1, 2).flatten(2)).float()
        x = x.reshape(windows, slots, width)
        return x + self.mlp(self.norm2(x))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """[B, heads, N, d] -> the same. Over the whole picture a few heads at a time: the scores of all of DIM's heads
        for its condition picture would take 4 GB.
        """
        if not self.full:
            return attend(query, key, value, mask)
        groups = zip(*(t.split(HEADS_AT_ONCE, dim=1) for t in (query, key, value)), strict=True)
        return torch.cat([attend(q, k, v, mask) for q, k, v in groups], dim=1)


class Vision(nn.Module):
    """The vision tower over a designer's weights."""

    def __init__(self, designer: Qwen2_5_VLForConditionalGeneration, dtype: torch.dtype) -> None:
        super().__init__()
        visual = designer.model.visual
        self.embed = Dense.of(visual.patch_embed.proj, dtype)
        full = set(visual.fullatt_block_indexes)
        self.blocks = nn.ModuleList(VisionBlock(b, i in full, dtype) for i, b in enumerate(visual.blocks))
        merger = visual.merger
        self.merge_norm = RmsNorm(merger.ln_q.weight, merger.ln_q.variance_epsilon)
        self.merge_in, self.gelu, self.merge_out = (
            Dense.of(merger.mlp[0], dtype),
            nn.GELU(),
            Dense.of(merger.mlp[2], dtype),
        )
        self.group = visual.spatial_merge_unit

    def forward(self, patches: Tensor, cos: Tensor, sin: Tensor, window_mask: Tensor, order: Tensor) -> Tensor:
        """Inputs and output as the contract of `definition` names them."""
        windows, slots = window_mask.shape[0], window_mask.shape[3]
        x, cos, sin = (t.reshape(windows, slots, -1) for t in (self.embed(patches).float(), cos, sin))
        for block in self.blocks:
            x = block(x, cos, sin, window_mask)
        merged = self.merge_norm(x).reshape(windows * slots // self.group, -1)
        return self.merge_out(self.gelu(self.merge_in(merged))).index_select(0, order)


def definition(designer: Qwen2_5_VLForConditionalGeneration, dtype: torch.dtype) -> GraphDefinition:
    """patches [P, values], cos/sin float32 [P, d/2], window_mask [nW,1,1,slots], order [M] -> embeddings [M, hidden].

    P = nW * slots; M is the number of merged tokens; `order` picks them in raster order.
    """
    config = designer.config.vision_config
    slots = (config.window_size // config.patch_size) ** 2
    values = config.in_channels * config.temporal_patch_size * config.patch_size**2
    half = config.hidden_size // config.num_heads // 2
    t = name_of(dtype)
    windows = Dim("windows", min=1, max=4096)
    return GraphDefinition(
        name="vision",
        module=Vision(designer, dtype),
        inputs=(
            TensorSpec("patches", t, ("patches", values)),
            TensorSpec("cos", "float32", ("patches", half)),
            TensorSpec("sin", "float32", ("patches", half)),
            TensorSpec("window_mask", t, ("windows", 1, 1, slots)),
            TensorSpec("order", "int64", ("tokens",)),
        ),
        outputs=(TensorSpec("image_embeddings", t, ("tokens", config.out_hidden_size)),),
        axes={
            "patches": Axis(3 * slots, slots * windows),
            "windows": Axis(3, windows),
            "tokens": Axis(5, Dim("tokens", min=1, max=65536)),
        },
    )
