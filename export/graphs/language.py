"""`language`: token embeddings and a KV cache updated in place -> hidden states and the logits of the asked rows.

One graph for reading a prompt, checking drafted tokens and decoding. The host resolves mrope into cos and sin.
TensorScatter, RotaryEmbedding and Attention are ONNX operators of opset 23/24 that runtimes map to native kernels.
"""

import torch
from torch import Tensor, nn
from torch.export import Dim
from transformers import Qwen2_5_VLForConditionalGeneration

from dimrt.export.graphs.contract import Axis, GraphDefinition, name_of
from dimrt.export.graphs.ops import Dense, GatedMlp, RmsNorm, join_heads, split_heads
from dimrt.manifest import TensorSpec


class LanguageLayer(nn.Module):
    """One decoder layer. Exists for export only: TensorScatter has no eager form in torch."""

    def __init__(self, layer: nn.Module, heads: int, kv_heads: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads
        self.norm1 = RmsNorm(layer.input_layernorm.weight, layer.input_layernorm.variance_epsilon)
        self.norm2 = RmsNorm(layer.post_attention_layernorm.weight, layer.post_attention_layernorm.variance_epsilon)
        attention = layer.self_attn
        self.query, self.key, self.value, self.out = (
            Dense.of(p, dtype) for p in (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
        )
        self.mlp = GatedMlp(layer.mlp, dtype)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, position: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x float32 [1,S,D] -> the same; keys and values [1,kv_heads,L,d] with S rows replaced."""
        h = self.norm1(x).to(keys.dtype)
        query = torch.onnx.ops.rotary_embedding(split_heads(self.query(h), self.heads), cos, sin)
        key = torch.onnx.ops.rotary_embedding(split_heads(self.key(h), self.kv_heads), cos, sin)
        keys = scatter(keys, key, position)
        values = scatter(values, split_heads(self.value(h), self.kv_heads), position)
        seen = torch.onnx.ops.attention(query, keys, values, mask)[0]
        x = x + self.out(join_heads(seen)).float()
        return x + self.mlp(self.norm2(x)), keys, values


class Language(nn.Module):
    """The text decoder and its head over a designer's weights. The embedding table stays with the host."""

    def __init__(self, designer: Qwen2_5_VLForConditionalGeneration, dtype: torch.dtype) -> None:
        super().__init__()
        model = designer.model.language_model
        config = designer.config.text_config
        self.layers = nn.ModuleList(
            LanguageLayer(layer, config.num_attention_heads, config.num_key_value_heads, dtype)
            for layer in model.layers
        )
        self.norm = RmsNorm(model.norm.weight, model.norm.variance_epsilon)
        self.head = Dense.of(designer.lm_head, dtype)

    def forward(
        self, embeddings: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, position: Tensor, rows: Tensor, *cache: Tensor
    ) -> tuple[Tensor, ...]:
        """Inputs and outputs as the contract of `definition` names them; `cache` alternates keys and values."""
        x, updated = embeddings.float(), []
        for i, layer in enumerate(self.layers):
            x, keys, values = layer(x, cos, sin, mask, position, cache[2 * i], cache[2 * i + 1])
            updated += [keys, values]
        hidden = self.norm(x).to(embeddings.dtype)
        logits = self.head(hidden.index_select(1, rows)).float()
        return hidden, logits, *updated


def scatter(cache: Tensor, rows: Tensor, position: Tensor) -> Tensor:
    """The cache [1,heads,L,d] with rows [1,heads,S,d] written from `position` [1] on (TensorScatter, opset 24)."""
    return torch.onnx.ops.symbolic(
        "TensorScatter",
        (cache, rows, position),
        attrs={"axis": 2, "mode": "linear"},
        dtype=cache.dtype,
        shape=cache.shape,
        version=24,
    )


def definition(designer: Qwen2_5_VLForConditionalGeneration, dtype: torch.dtype) -> GraphDefinition:
    """S tokens of a sequence whose cache has L rows; `position` is the first cache row written, `rows` asks logits.

    mask [1,1,S,L] is additive, 0 or -10000. Builders that need a static cache length pin L.
    """
    config = designer.config.text_config
    width, heads, t = config.hidden_size, config.num_key_value_heads, name_of(dtype)
    head_dim = width // config.num_attention_heads
    cache = [f"{kind}_{i}" for i in range(config.num_hidden_layers) for kind in ("key", "value")]
    shape = (1, heads, "length", head_dim)
    return GraphDefinition(
        name="language",
        module=Language(designer, dtype),
        inputs=(
            TensorSpec("embeddings", t, (1, "tokens", width)),
            TensorSpec("cos", t, (1, "tokens", head_dim // 2)),
            TensorSpec("sin", t, (1, "tokens", head_dim // 2)),
            TensorSpec("mask", t, (1, 1, "tokens", "length")),
            TensorSpec("position", "int64", (1,)),
            TensorSpec("rows", "int64", ("rows",)),
            *(TensorSpec(name, t, shape) for name in cache),
        ),
        outputs=(
            TensorSpec("hidden", t, (1, "tokens", width)),
            TensorSpec("logits", "float32", (1, "rows", config.vocab_size)),
            *(TensorSpec(f"{name}_out", t, shape) for name in cache),
        ),
        axes={
            "tokens": Axis(5, Dim("tokens", min=1, max=65536)),
            "length": Axis(24, Dim("length", min=1, max=131072)),
            "rows": Axis(3, Dim("rows", min=1, max=65536)),
        },
    )
