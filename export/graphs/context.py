"""`context`: condition -> cross-attention keys and values of every painter layer, constant over the timesteps."""

import torch
from torch import Tensor, nn
from torch.export import Dim

from dimrt.export.graphs.contract import Axis, GraphDefinition, name_of
from dimrt.export.graphs.ops import Dense, RmsNorm, split_heads
from dimrt.export.model.painter import Painter
from dimrt.manifest import TensorSpec


class Context(nn.Module):
    """Caption embedder and the key and value projections over a painter's weights."""

    def __init__(self, painter: Painter, dtype: torch.dtype) -> None:
        super().__init__()
        model = painter.transformer
        embedder = model.caption_projection
        self.first, self.gelu, self.second = (
            Dense.of(embedder.linear_1, dtype),
            nn.GELU(approximate="tanh"),
            Dense.of(embedder.linear_2, dtype),
        )
        self.norm = RmsNorm(model.caption_norm.weight, model.caption_norm.eps)
        attentions = [block.attn2 for block in model.transformer_blocks]
        self.heads = attentions[0].heads
        self.keys = nn.ModuleList(Dense.of(a.to_k, dtype) for a in attentions)
        self.values = nn.ModuleList(Dense.of(a.to_v, dtype) for a in attentions)
        self.key_norms = nn.ModuleList(RmsNorm(a.norm_k.weight, a.norm_k.eps) for a in attentions)

    def forward(self, condition: Tensor) -> Tensor:
        """[B,N,Ccap] -> [2 * layers, B, heads, N, d]: keys of layer i at 2i, values at 2i + 1."""
        embedded = self.norm(self.second(self.gelu(self.first(condition)))).to(condition.dtype)
        stacked = []
        for key, value, norm in zip(self.keys, self.values, self.key_norms, strict=True):
            stacked.append(split_heads(norm(key(embedded)).to(condition.dtype), self.heads))
            stacked.append(split_heads(value(embedded), self.heads))
        return torch.stack(stacked)


def batch_axis() -> Axis:
    """Rows of guidance: 2 (null, condition) or 1 (condition alone)."""
    return Axis(2, Dim("batch", min=1, max=8))


def shape(painter: Painter) -> tuple[int | str, ...]:
    """Shape of the `context` tensor."""
    config = painter.config
    return 2 * config.depth, "batch", config.cross_heads, "rows", config.hidden_size // config.cross_heads


def definition(painter: Painter, dtype: torch.dtype) -> GraphDefinition:
    """condition [B,N,Ccap] -> context. For guidance row 0 holds the first N null rows, row 1 the condition."""
    t = name_of(dtype)
    return GraphDefinition(
        name="context",
        module=Context(painter, dtype),
        inputs=(TensorSpec("condition", t, ("batch", "rows", painter.config.caption_channels)),),
        outputs=(TensorSpec("context", t, shape(painter)),),
        axes={"batch": batch_axis(), "rows": Axis(5, Dim("rows", min=1, max=65536))},
    )
