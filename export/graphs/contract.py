"""What a graph takes and gives: named tensors with named axes, and the module between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dimrt.manifest import TensorSpec

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "int64": torch.int64,
}

PortDType = Literal["float32", "float16", "int64"]


@dataclass(frozen=True)
class Axis:
    """An axis that varies: its size while tracing, and torch.export's symbol for it (a Dim, or k * Dim)."""

    example: int
    dim: Any


@dataclass(frozen=True)
class GraphDefinition:
    """One graph, ready to be exported.

    Args:
        name: the graph's name in the bundle.
        module: maps the inputs, in order, to the outputs, in order (a tensor or a tuple).
        inputs, outputs: names, dtypes and shapes; a named dimension is one of `axes`.
        axes: every axis that varies.
    """

    name: str
    module: nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    axes: Mapping[str, Axis]

    def example(self) -> tuple[Tensor, ...]:
        """Inputs to trace with: zeros, no value matters."""
        return tuple(
            torch.zeros(
                [self.axes[n].example if isinstance(n, str) else n for n in spec.shape], dtype=DTYPES[spec.dtype]
            )
            for spec in self.inputs
        )

    def dynamic_shapes(self) -> tuple[dict[int, Any], ...]:
        """torch.export's description of the axes that vary, one entry an input."""
        return tuple(
            {axis: self.axes[n].dim for axis, n in enumerate(spec.shape) if isinstance(n, str)} for spec in self.inputs
        )


def name_of(dtype: torch.dtype) -> PortDType:
    """The manifest's name of a float dtype."""
    return "float16" if dtype == torch.float16 else "float32"
