"""`step`: one painter call with classifier-free guidance and the solver update; the host sends scalars only.

The two rows of guidance differ only in their context, so everything before the first cross-attention runs once and
broadcasting makes the second row. 1x1 convolutions are token-wise products; the depthwise 3x3 stays a convolution.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from dimrt.export.graphs import context
from dimrt.export.graphs.contract import Axis, GraphDefinition, name_of
from dimrt.export.graphs.ops import Dense, RmsNorm, attend, frozen, join_heads, linear_attention, split_heads
from dimrt.export.model.painter import Painter
from dimrt.manifest import TensorSpec

LARGEST_TIME_PERIOD = 10000.0
PORTS = ("latent", "source", "previous", "context", "timestep", "guidance", "coefficients")


class TimeEmbedding(nn.Module):
    """Sinusoid and MLP of the timestep: (the embedding, the six modulation rows shared by all blocks)."""

    def __init__(self, embed: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.first = Dense.of(embed.emb.timestep_embedder.linear_1, dtype)
        self.second = Dense.of(embed.emb.timestep_embedder.linear_2, dtype)
        self.shared = Dense.of(embed.linear, dtype)
        half = self.first.weight.shape[0] // 2
        self.frequencies = frozen(
            torch.exp(torch.arange(half) * (-math.log(LARGEST_TIME_PERIOD) / half)), torch.float32
        )

    def forward(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """timestep [1] -> float32 [1, D] and [6, D]."""
        angles = timestep[:, None] * self.frequencies
        embedded = self.second(F.silu(self.first(torch.cat([angles.cos(), angles.sin()], -1))))
        return embedded.float(), self.shared(F.silu(embedded)).float().reshape(6, -1)


class PainterBlock(nn.Module):
    """Linear self-attention, cross-attention on the raw stream, convolutional feed-forward; stream in float32."""

    def __init__(self, block: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        own, cross, ff = block.attn1, block.attn2, block.ff
        self.heads, self.cross_heads = own.heads, cross.heads
        self.table = frozen(block.scale_shift_table, torch.float32)
        self.eps = block.norm1.eps
        self.query, self.key, self.value, self.out = (
            Dense.of(p, dtype) for p in (own.to_q, own.to_k, own.to_v, own.to_out[0])
        )
        self.query_norm, self.key_norm = (RmsNorm(n.weight, n.eps) for n in (own.norm_q, own.norm_k))
        self.cross_query, self.cross_out = Dense.of(cross.to_q, dtype), Dense.of(cross.to_out[0], dtype)
        self.cross_norm = RmsNorm(cross.norm_q.weight, cross.norm_q.eps)
        self.expand, self.contract = Dense.of(ff.conv_inverted, dtype), Dense.of(ff.conv_point, dtype)
        self.depthwise = frozen(ff.conv_depth.weight, dtype)
        self.depthwise_bias = frozen(ff.conv_depth.bias, dtype)

    def forward(self, x: Tensor, shared: Tensor, keys: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
        """x float32 [1 or B, N, D], shared [6, D], keys and values [B, heads, M, d] -> [B, N, D]."""
        rows = (self.table + shared).flatten()
        shift, scale, gate, ff_shift, ff_scale, ff_gate = rows.split(x.shape[-1])
        h = modulate(x, scale, shift, self.eps)
        query, key = self.query_norm(self.query(h)), self.key_norm(self.key(h))
        seen = linear_attention(*(split_heads(t, self.heads) for t in (query, key, self.value(h))))
        x = x + gate * self.out(join_heads(seen)).float()
        query = split_heads(self.cross_norm(self.cross_query(x)), self.cross_heads)
        x = x + self.cross_out(join_heads(attend(query, keys, values))).float()
        return x + ff_gate * self.feed_forward(modulate(x, ff_scale, ff_shift, self.eps), size)

    def feed_forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """[B, N, D] -> the same in float32, through a 3x3 depthwise convolution over the token grid.

        The transposes stand right beside the convolution: ONNX Runtime on a CPU then makes them part of its own change
        of layout.
        """
        grid = F.silu(self.expand(x)).unflatten(1, size).permute(0, 3, 1, 2)
        grid = F.conv2d(grid, self.depthwise, self.depthwise_bias, padding=1, groups=self.depthwise.shape[0])
        value, gate = grid.permute(0, 2, 3, 1).flatten(1, 2).chunk(2, dim=-1)
        return self.contract(value * F.silu(gate)).float()


class Step(nn.Module):
    """Painter, guidance and solver over a painter's weights."""

    def __init__(self, painter: Painter, dtype: torch.dtype) -> None:
        super().__init__()
        model = painter.transformer
        self.patch = painter.config.patch_size
        self.residual = painter.config.prediction == "residual"
        self.embed = Dense.of(model.patch_embed.proj, dtype)
        positions = getattr(model.patch_embed, "pos_embed", None)
        self.positions = None if positions is None else frozen(positions, torch.float32)
        self.time = TimeEmbedding(model.time_embed, dtype)
        self.blocks = nn.ModuleList(PainterBlock(block, dtype) for block in model.transformer_blocks)
        self.table = frozen(model.scale_shift_table, torch.float32)
        self.eps = model.norm_out.norm.eps
        self.out = Dense.of(model.proj_out, dtype)

    def forward(
        self,
        latent: Tensor,
        source: Tensor,
        previous: Tensor,
        context: Tensor,
        timestep: Tensor,
        guidance: Tensor,
        coefficients: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Inputs and outputs as the contract of `definition` names them."""
        output = self.network(torch.cat([latent, source], 1), context, timestep)
        data = source + output if self.residual else latent - coefficients[0] * output
        return self.update(latent, previous, data, guidance, coefficients)

    def update(
        self, latent: Tensor, previous: Tensor, rows: Tensor, guidance: Tensor, coefficients: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Guided data prediction and solver update; with one row guidance has no effect."""
        data = rows[:1] + guidance * (rows[-1:] - rows[:1])
        following = coefficients[1] * latent + coefficients[2] * data + coefficients[3] * previous
        return following, data

    def network(self, latent: Tensor, context: Tensor, timestep: Tensor) -> Tensor:
        """Raw painter output, float32 [B,C,h,w], for a latent of one row."""
        p = self.patch
        size = latent.shape[2] // p, latent.shape[3] // p
        x = self.embed(patchify(latent, p)).float()
        if self.positions is not None:
            x = x + self.positions
        embedded, shared = self.time(timestep)
        for i, block in enumerate(self.blocks):
            x = block(x, shared, context[2 * i], context[2 * i + 1], size)
        rows = self.table + embedded
        x = self.out(modulate(x, rows[1], rows[0], self.eps)).float()
        return x.unflatten(2, (p, p, -1)).unflatten(1, size).permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


class GenerateStep(Step):
    """The text-to-image painter: no source."""

    def forward(  # type: ignore[override]
        self,
        latent: Tensor,
        previous: Tensor,
        context: Tensor,
        timestep: Tensor,
        guidance: Tensor,
        coefficients: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Inputs and outputs as the contract of `definition` names them."""
        rows = latent - coefficients[0] * self.network(latent, context, timestep)
        return self.update(latent, previous, rows, guidance, coefficients)


def modulate(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
    """Layer norm without parameters, times (1 + scale), plus shift: one LayerNormalization node. scale, shift [D]."""
    return F.layer_norm(x, scale.shape, 1.0 + scale, shift, eps)


def patchify(latent: Tensor, patch: int) -> Tensor:
    """[1,C,h,w] -> [1, h/p * w/p, C*p*p]: the input of a patch embedding written as a product."""
    channels = latent.shape[1]
    grid = latent.unflatten(3, (-1, patch)).unflatten(2, (-1, patch)).permute(0, 2, 4, 1, 3, 5)
    return grid.flatten(1, 2).reshape(1, -1, channels * patch * patch)


def definition(painter: Painter, dtype: torch.dtype) -> GraphDefinition:
    """One solver step: next = a latent + b data + c previous, with coefficients (sigma, a, b, c).

    data is the guided x0: null + guidance * (condition - null), each latent - sigma * velocity (or source + output).
    Height and width vary unless the painter has a positional table for one grid.
    """
    config, t = painter.config, name_of(dtype)
    edit = config.task == "edit"
    fixed = None if config.position_side is None else config.position_side * config.patch_size
    picture = (1, config.latent_channels, fixed or "height", fixed or "width")
    shapes = {
        "context": TensorSpec("context", t, context.shape(painter)),
        "timestep": TensorSpec("timestep", "float32", (1,)),
        "guidance": TensorSpec("guidance", "float32", (1,)),
        "coefficients": TensorSpec("coefficients", "float32", (4,)),
    }
    axes = {"batch": context.batch_axis(), "rows": Axis(5, Dim("rows", min=1, max=65536))}
    if fixed is None:
        axes["height"] = Axis(6 * config.patch_size, config.patch_size * Dim("height", min=1, max=4096))
        axes["width"] = Axis(8 * config.patch_size, config.patch_size * Dim("width", min=1, max=4096))
    return GraphDefinition(
        name="step",
        module=(Step if edit else GenerateStep)(painter, dtype),
        inputs=tuple(
            shapes.get(name) or TensorSpec(name, "float32", picture) for name in PORTS if edit or name != "source"
        ),
        outputs=(TensorSpec("next_latent", "float32", picture), TensorSpec("data", "float32", picture)),
        axes=axes,
    )
