"""The weights of a graph while it is quantized: read one at a time, changed on the way, never all in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimrt.export.graphs.weights import Piece, Slot
from dimrt.export.precision.feedback import enough, quantize_with_feedback
from dimrt.export.precision.formats import IR_TYPES, Stored, quantize_weight

Change = Callable[[Tensor], Tensor]
TORCH_TYPES = {ir.DataType.FLOAT: torch.float32, ir.DataType.FLOAT16: torch.float16}


@dataclass
class _Entry:
    piece: Piece
    changes: list[Change] = field(default_factory=list)


class Store:
    """Float pieces by name, and what becomes of them."""

    def __init__(self, model: ir.Model, pieces: list[Piece]) -> None:
        """`pieces` hold one initializer each; initializers that are in no piece hold their values themselves."""
        self._model = model
        self._entries = {piece.slots[0].name: _Entry(piece) for piece in pieces}
        self._made: dict[str, Piece] = {}

    def read(self, name: str) -> Tensor:
        """A weight as it is in the model, in float32."""
        entry = self._entries.get(name)
        if entry is not None:
            return torch.from_numpy(np.array(entry.piece.make()[0])).float()
        value = self._model.graph.initializers[name].const_value
        assert value is not None
        return torch.from_numpy(np.array(value.numpy())).float()

    def change(self, name: str, change: Change) -> None:
        """Apply `change` to a weight, in float32, before it is written."""
        entry = self._entries.get(name)
        if entry is not None:
            entry.changes.append(change)
            return
        value = self._model.graph.initializers[name]
        assert value.dtype is not None
        value.const_value = ir.tensor(change(self.read(name)).to(TORCH_TYPES[value.dtype]).numpy(), name=name)

    def reshape(self, name: str, shape: tuple[int, ...]) -> None:
        """Give a weight another shape with as many values."""
        value = self._model.graph.initializers[name]
        value.shape = ir.Shape(shape)
        entry = self._entries.get(name)
        if entry is not None:
            old = entry.piece.slots[0]
            entry.piece = Piece((Slot(name, old.dtype, shape),), entry.piece.make)
        elif value.const_value is not None:
            value.const_value = ir.tensor(value.const_value.numpy().reshape(shape), name=name)

    def add(self, name: str, values: NDArray[Any]) -> ir.Value:
        """A new initializer that holds its values in the graph."""
        tensor = ir.tensor(values, name=name)
        value = ir.Value(name=name, shape=ir.Shape(values.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self._model.graph.register_initializer(value)
        return value

    def quantized(
        self, name: str, stored: Stored, dtype: ir.DataType, group: int | None, inputs: Tensor | None
    ) -> tuple[ir.Value, ir.Value]:
        """Replace a weight by its quantized values and their scales: two new initializers, one piece.

        `inputs` are rows of what it is multiplied by, where that is known: int4 then makes up for its errors.
        """
        old = self._model.graph.initializers[name]
        rows, columns = (int(n) for n in old.shape)  # type: ignore[union-attr]
        scales = (columns,) if group is None else (rows // group, columns)
        slots = (
            Slot(f"{name}.{stored}", IR_TYPES[stored], (rows, columns)),
            Slot(f"{name}.scale", dtype, scales),
        )

        def make() -> tuple[NDArray[Any], ...]:
            weight = self._changed(name, self.read(name))
            if stored == "int4" and inputs is not None and group is not None and enough(inputs, group):
                return quantize_with_feedback(weight, inputs, TORCH_TYPES[dtype], group).arrays()
            return quantize_weight(weight, stored, TORCH_TYPES[dtype], group).arrays()

        self._made[name] = Piece(slots, make)
        if name not in self._entries:  # too small to be a piece so far
            self._entries[name] = _Entry(Piece((Slot(name, dtype, (rows, columns)),), _constant(old)))
        values = tuple(ir.val(slot.name, slot.dtype, slot.shape) for slot in slots)
        for value in values:
            self._model.graph.initializers[str(value.name)] = value
        return values[0], values[1]

    def pieces(self) -> list[Piece]:
        """All pieces, in their order; quantized weights in the place of the float ones."""
        return [self._made.get(name) or self._float(name, entry) for name, entry in self._entries.items()]

    def _float(self, name: str, entry: _Entry) -> Piece:
        if not entry.changes:
            return entry.piece
        dtype = TORCH_TYPES[entry.piece.slots[0].dtype]
        return Piece(entry.piece.slots, lambda: (self._changed(name, self.read(name)).to(dtype).numpy(),))

    def _changed(self, name: str, weight: Tensor) -> Tensor:
        for change in self._entries[name].changes:
            weight = change(weight)
        return weight


def _constant(value: ir.Value) -> Callable[[], tuple[NDArray[Any], ...]]:
    tensor = value.const_value
    assert tensor is not None
    return lambda: (tensor.numpy(),)
