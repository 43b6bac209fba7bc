"""Weights of a graph as a stream: what each initializer is, and how its values are made when their turn comes.

A graph is traced without storage. What goes into its data file is a list of pieces, each holding memory only while it
is written; a pass over the graph (quantization) replaces pieces, not values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimrt.export.graphs.contract import GraphDefinition
from dimrt.export.graphs.ops import Origin, unchanged
from dimrt.export.stream import Ledger, Stream, Unkept, write_file
from dimrt.manifest import FileRecord

INLINE_BYTES = 1024
"""Smaller constants (shapes, scalars) stay in the graph, so that shape inference sees them."""
SMALL_BYTES, SMALL_ALIGNMENT, LARGE_ALIGNMENT = 2**20, 64, 4096
"""Tensors of a megabyte and more begin at a page, so that a session can map them."""

TYPES = {torch.float32: ir.DataType.FLOAT, torch.float16: ir.DataType.FLOAT16}


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


def pieces(
    definition: GraphDefinition,
    model: ir.Model,
    names: Mapping[int, str] | None = None,
    read: Callable[[str], Tensor] | None = None,
) -> list[Piece]:
    """What the initializers of a traced model are made of, in the model's order.

    One piece an initializer of `INLINE_BYTES` or more; smaller ones get their values in the model, here.

    Args:
        definition: what was traced; its parameters know their origins.
        model: of `trace`.
        names: the model's tensors on the meta device, by `id`, with the name that `read` knows them by.
        read: gives one tensor by that name, in any float type.
    """
    parameters = dict(definition.module.named_parameters())
    made = []
    for name, value in model.graph.initializers.items():
        if value.const_value is not None:
            continue
        parameter = parameters[name]
        origin = getattr(parameter, "origin", None) or Origin(parameter, unchanged)
        slot = Slot(name, TYPES[parameter.dtype], tuple(parameter.shape))
        make = partial(_values, slot, parameter.dtype, origin, names or {}, read)
        value.shape, value.dtype = ir.Shape(slot.shape), slot.dtype
        if slot.nbytes >= INLINE_BYTES:
            made.append(Piece((slot,), make))
        else:
            value.const_value = ir.Tensor(*make(), name=name)
    return made


def _values(
    slot: Slot,
    dtype: torch.dtype,
    origin: Origin,
    names: Mapping[int, str],
    read: Callable[[str], Tensor] | None,
) -> tuple[NDArray[Any]]:
    """One weight's values. Constants computed by a graph module carry their own; the rest is read."""
    with torch.no_grad():
        if not origin.tensor.is_meta:
            values = origin.make(origin.tensor.detach()).to(dtype)
        elif read is None:
            raise ValueError(f"{slot.name} has no values, and nothing to read them from was given")
        else:
            values = origin.make(read(names[id(origin.tensor)])).to(dtype)
        if tuple(values.shape) != slot.shape:
            raise RuntimeError(f"{slot.name}: values of shape {list(values.shape)} for {list(slot.shape)}")
        return (values.contiguous().numpy(),)


def write_weights(
    model: ir.Model, pieces: list[Piece], path: Path, ledger: Ledger | None = None, name: str | None = None
) -> dict[str, FileRecord]:
    """Stream all pieces to `path` + ".data" and write the graph that refers to them to `path`.

    Offsets follow from the pieces alone, so that a writing that was killed goes on with the piece it was at.

    Args:
        model: initializers without values are named by the pieces' slots.
        pieces: in the order they are written.
        ledger: remembers finished pieces; its name for the data file is `name` + ".data".
        name: the graph's file in the ledger and in the result; default its file name.

    Returns:
        Sizes and sums of both files.
    """
    ledger, name = ledger or Unkept(), name or path.name
    data = path.with_name(path.name + ".data")
    places = _layout(pieces)
    records = {}
    with Stream(data, name + ".data", ledger) as stream:
        for piece, offsets in list(zip(pieces, places, strict=True))[stream.parts :]:
            arrays = piece.make()
            for slot, offset, array in zip(piece.slots, offsets, arrays, strict=True):
                if array.nbytes != slot.nbytes:
                    raise RuntimeError(f"{slot.name}: {array.nbytes} bytes were made for {slot.nbytes}")
                stream.pad(offset)
                stream.write(array)
            stream.complete_part()
        records[name + ".data"] = stream.record()
    for piece, offsets in zip(pieces, places, strict=True):
        for slot, offset in zip(piece.slots, offsets, strict=True):
            _refer(model, slot, data, offset)
    if not pieces:
        data.unlink()
        del records[name + ".data"]
    content = ir.to_proto(model).SerializeToString(deterministic=True)
    return {name: write_file(path, name, [content], ledger), **records}


def data_bytes(pieces: list[Piece]) -> int:
    """Size of the data file these pieces fill."""
    places = _layout(pieces)
    return places[-1][-1] + pieces[-1].slots[-1].nbytes if pieces else 0


def _layout(pieces: list[Piece]) -> list[tuple[int, ...]]:
    """Where each slot of each piece begins."""
    places, end = [], 0
    for piece in pieces:
        offsets = []
        for slot in piece.slots:
            alignment = LARGE_ALIGNMENT if slot.nbytes >= SMALL_BYTES else SMALL_ALIGNMENT
            offsets.append(-(-end // alignment) * alignment)
            end = offsets[-1] + slot.nbytes
        places.append(tuple(offsets))
    return places


def _refer(model: ir.Model, slot: Slot, data: Path, offset: int) -> None:
    """Point the slot's initializer at its place in the data file."""
    value = model.graph.initializers[slot.name]
    value.shape, value.dtype = ir.Shape(slot.shape), slot.dtype
    value.const_value = ir.ExternalTensor(
        data.name, offset, slot.nbytes, slot.dtype, shape=ir.Shape(slot.shape), name=slot.name, base_dir=data.parent
    )
