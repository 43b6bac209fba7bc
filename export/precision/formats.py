"""Number formats of weights and activations: rounding to them, the bytes ONNX holds, and the way back.

All are symmetric (TensorRT takes no zero point): value = scale * q. A weight [in, out] has one scale an output channel,
or one for each group of consecutive input rows and output channel.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

Format = Literal["float", "w8a16", "w4a16", "w8a8", "fp8"]
Stored = Literal["int8", "int4", "fp8"]
STORED: dict[Format, Stored] = {"w8a16": "int8", "w4a16": "int4", "w8a8": "int8", "fp8": "fp8"}
"""How a format holds its weights."""
LARGEST: dict[Stored, float] = {"int8": 127.0, "int4": 7.0, "fp8": 448.0}
"""The largest value of each: the scale is the largest weight over this. fp8 is E4M3 without infinities."""
LOWEST: dict[Stored, float] = {"int8": -127.0, "int4": -8.0, "fp8": -448.0}
IR_TYPES: dict[Stored, ir.DataType] = {
    "int8": ir.DataType.INT8,
    "int4": ir.DataType.INT4,
    "fp8": ir.DataType.FLOAT8E4M3FN,
}
GROUP, SMALLEST_GROUP = 128, 16
"""Rows that share an int4 scale, where nothing is said; ONNX Runtime's fused kernel takes powers of two from 16."""
SMALLEST_SCALE = 2.0**-24
"""Smallest scale: half's smallest number. Columns of zeros get it."""
CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
"""Shares of the largest weight that int4's range is tried to end at; the least squared error wins. Shares below 0.7
were never chosen on normal weights in groups of 16 to 128."""
COLUMNS = 2048
"""Columns worked on at a time: a group of 128 rows then stays within a core's cache."""


@dataclass(frozen=True)
class Quantized:
    """A weight [in, out] in a format: `values` as integers or float8 (not packed), `scales` [out] or [groups, out]."""

    stored: Stored
    values: Tensor
    scales: Tensor

    def arrays(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The bytes of both as ONNX lays them out: int4 two to a byte with the first in the low half, float8 as is."""
        if self.stored == "int4":
            return pack(self.values), self.scales.numpy()
        if self.stored == "fp8":
            return self.values.view(torch.uint8).numpy(), self.scales.numpy()
        return self.values.numpy(), self.scales.numpy()

    def dequantized(self) -> Tensor:
        """scale * q in float32 [in, out]."""
        scales = self.scales.float()
        if scales.ndim == 2:
            scales = scales.repeat_interleave(len(self.values) // len(scales), 0)
        return self.values.float() * scales


def group_size(rows: int, wanted: int | None) -> int | None:
    """The largest power of two that divides `rows` and isn't over `wanted` (128 when None); None when below 16."""
    size = wanted or GROUP
    while size >= SMALLEST_GROUP:
        if rows % size == 0:
            return size
        size //= 2
    return None


def quantize_weight(weight: Tensor, stored: Stored, dtype: torch.dtype, group: int | None = None) -> Quantized:
    """Round a weight to nearest.

    int8 and fp8 cover the largest weight; int4, whose steps are wide, gives up the largest ones where that lessens the
    squared error.

    Args:
        weight: [in, out], any float type.
        stored: the format.
        dtype: type of the scales, which is the activations'. Rounding uses the scale as it is stored.
        group: rows that share a scale; it divides `in`. None: all rows.
    """
    rows, columns = weight.shape
    size = group or rows
    scales = torch.empty(rows // size, columns, dtype=dtype)
    values = torch.empty(rows, columns, dtype=torch.float8_e4m3fn if stored == "fp8" else torch.int8)
    for first in range(0, columns, COLUMNS):
        part = slice(first, min(first + COLUMNS, columns))
        for index in range(rows // size):
            held = slice(index * size, (index + 1) * size)
            block = weight[held, part].float()
            scales[index, part], values[held, part] = _quantize_block(block, stored, dtype)
    return Quantized(stored, values, scales if group else scales[0])


def _quantize_block(block: Tensor, stored: Stored, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Scales [columns] and rounded values of rows that share them."""
    scale = best_scale(block, dtype) if stored == "int4" else _storable(block.abs().amax(0) / LARGEST[stored], dtype)
    return scale, _round(block, scale.float(), stored)


def best_scale(block: Tensor, dtype: torch.dtype, importance: Tensor | None = None) -> Tensor:
    """The int4 scale [columns] of rows that share it: least squared error, weighed by `importance` [rows, 1]."""
    largest = block.abs().amax(0)
    best = torch.full_like(largest, torch.inf)
    chosen = torch.empty_like(largest)
    for clip in CLIPS:
        scale = _storable(largest * (clip / LARGEST["int4"]), dtype).float()
        off = torch.div(block, scale).round_().clamp_(LOWEST["int4"], LARGEST["int4"]).mul_(scale).sub_(block).square_()
        error = off.sum(0) if importance is None else off.mul_(importance).sum(0)
        better = error < best
        best = torch.where(better, error, best)
        chosen = torch.where(better, scale, chosen)
    return chosen.to(dtype)


def _storable(scale: Tensor, dtype: torch.dtype) -> Tensor:
    """The scale in the type it is stored in, never zero."""
    return scale.clamp_min(SMALLEST_SCALE).to(dtype)


def _round(block: Tensor, scale: Tensor, stored: Stored) -> Tensor:
    scaled = (block / scale).clamp_(LOWEST[stored], LARGEST[stored])
    return scaled.to(torch.float8_e4m3fn) if stored == "fp8" else scaled.round_().to(torch.int8)


def quantize_rows(rows: Tensor, scale: float, stored: Stored) -> Tensor:
    """Activations [..., in] through QuantizeLinear and DequantizeLinear with one scale, in float32."""
    scaled = (rows.float() / scale).clamp_(-LARGEST[stored] - (stored == "int8"), LARGEST[stored])
    return (scaled.to(torch.float8_e4m3fn).float() if stored == "fp8" else scaled.round_()) * scale


def pack(values: Tensor) -> NDArray[np.uint8]:
    """int4 values as ONNX's raw data: flat, two a byte, the first in the low half; a last odd one stands alone."""
    flat = values.reshape(-1).numpy().view(np.uint8) & 15
    if len(flat) % 2:
        flat = np.append(flat, np.uint8(0))
    return flat[0::2] | (flat[1::2] << 4)
