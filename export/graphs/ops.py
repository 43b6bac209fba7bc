"""Small modules and functions the graph modules share. Each fixes a dtype: weights and products in the recipe's,
norms and sums in float32.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MASKED = -10000.0
"""Additive mask of what must not be attended to: finite in half precision, so that a fully masked row stays finite."""

TINY = 1e-6
"""Floor of a sum that divides. The exporter's optimizer deletes `x + eps` for eps up to 1e-8, so a floor is used."""


@dataclass(frozen=True)
class Origin:
    """Where a weight of a graph comes from: a tensor of the model (maybe without storage), and what is made of it.

    Kept on the parameter, so that a graph traced without storage can be given its values one tensor at a time.
    """

    tensor: Tensor
    make: Callable[[Tensor], Tensor]


class Dense(nn.Module):
    """y = x W + b with W held as [in, out]: a plain MatMul, with no Transpose to fold when a session loads."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, bias_of: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        """`weight` is [out, in, ...] as the libraries hold it; 1x1 convolutions are accepted."""
        super().__init__()
        self.weight = frozen(weight, dtype, as_matrix)
        self.bias = None if bias is None else frozen(bias, dtype, bias_of or unchanged)

    @classmethod
    def of(cls, layer: nn.Linear | nn.Conv2d | nn.Conv3d, dtype: torch.dtype) -> "Dense":
        """The same map as a library layer; a convolution must cover its whole kernel (patch embedding, 1x1)."""
        return cls(layer.weight, layer.bias, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in], of any float dtype -> [..., out] in the recipe's dtype."""
        product = x.to(self.weight.dtype) @ self.weight
        return product if self.bias is None else product + self.bias


class RmsNorm(nn.Module):
    """RMS norm over the last axis in float32, with float32 result."""

    def __init__(self, weight: Tensor, eps: float, bias: Tensor | None = None) -> None:
        super().__init__()
        if eps < TINY:
            raise ValueError(f"RMS norm eps {eps} is below {TINY}, which the exporter may delete")
        self.weight = frozen(weight, torch.float32)
        self.bias = None if bias is None else frozen(bias, torch.float32)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] -> the same shape in float32."""
        normed = F.rms_norm(x.float(), self.weight.shape, self.weight, self.eps)
        return normed if self.bias is None else normed + self.bias


class GatedMlp(nn.Module):
    """Qwen's down(silu(gate x) * up x).

    In half precision the gated product runs 32 times smaller and the result is scaled back in float32: large
    activations of a few channels are a known property of these models, and powers of two cost no accuracy.
    """

    def __init__(self, mlp: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.gate, self.up = Dense.of(mlp.gate_proj, dtype), Dense.of(mlp.up_proj, dtype)
        self.headroom = 32.0 if dtype == torch.float16 else 1.0
        down = mlp.down_proj
        self.down = Dense(down.weight, down.bias, dtype, lambda bias: bias / self.headroom)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] -> the same shape in float32."""
        if self.headroom == 1.0:
            return self.down(F.silu(self.gate(x)) * self.up(x)).float()
        gated = F.silu(self.gate(x)).float() * self.up(x).float()
        return self.down(gated * (1.0 / self.headroom)).float() * self.headroom


def unchanged(tensor: Tensor) -> Tensor:
    """The tensor itself."""
    return tensor


def as_matrix(weight: Tensor) -> Tensor:
    """A library's weight [out, in, ...] as [in, out]."""
    return weight.flatten(1).t()


def frozen(tensor: Tensor, dtype: torch.dtype, make: Callable[[Tensor], Tensor] = unchanged) -> nn.Parameter:
    """A parameter without gradient, `make` of a model's tensor; shares its memory where nothing is computed."""
    parameter = nn.Parameter(make(tensor.detach()).to(dtype), requires_grad=False)
    parameter.origin = Origin(tensor, make)
    return parameter


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, N, heads * d] -> [B, heads, N, d]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """[B, heads, N, d] -> [B, N, heads * d]."""
    return x.transpose(1, 2).flatten(2)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention over [B, heads, N, d]; products in the dtype of `key`, softmax in float32.

    `mask` is additive, broadcast over the scores [B, heads, Nq, Nk].
    """
    scores = ((query * query.shape[-1] ** -0.5).to(key.dtype) @ key.transpose(-1, -2)).float()
    if mask is not None:
        scores = scores + mask.float()
    return torch.softmax(scores, -1).to(value.dtype) @ value


def linear_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """ReLU linear attention over [B, heads, N, d], all in float32: its sums overflow in half.

    q (k^T v) / (q . sum k), of Katharopoulos et al. 2020 as SANA uses it.
    """
    query, key, value = F.relu(query.float()), F.relu(key.float()), value.float()
    weighted = query @ (key.transpose(-1, -2) @ value)
    total = query @ key.sum(2).unsqueeze(-1)
    return weighted / total.clamp_min(TINY)
