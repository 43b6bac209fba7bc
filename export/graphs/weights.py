"""Weights of a graph as a stream: what each initializer is, and how its values are made when their turn comes.

A graph is traced without storage. What goes into its data file is a list of pieces, each holding memory only while it
is written; a pass over the graph (quantization) replaces pieces, not values.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray


@dataclass(frozen=True)
class Slot:
    """One initializer: its name in the graph, its type and its shape."""

    name: str
    dtype: ir.DataType
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes in the data file; two 4-bit values share one."""
        count = 1
        for side in self.shape:
            count *= side
        return -(-count * self.dtype.bitwidth // 8)


@dataclass(frozen=True)
class Piece:
    """Initializers that are made together, such as a quantized weight and its scales.

    `make` returns one array a slot, in order, whose bytes are the slot's data as ONNX lays it out (raw_data).
    """

    slots: tuple[Slot, ...]
    make: Callable[[], tuple[NDArray[Any], ...]]
