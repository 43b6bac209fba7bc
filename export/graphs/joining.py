"""Several products of one input by weights as one: fewer nodes to start, and one wide weight to read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from dimrt.export.graphs.weights import Piece, Slot

Make = Callable[[], tuple[NDArray[Any], ...]]
BYTE_BITS = 8


@dataclass(frozen=True)
class Linear:
    """x W + b: the MatMul, the DequantizeLinear that W comes from, and the Add, where there are such."""

    product: ir.Node
    dequantize: ir.Node | None
    bias: ir.Value | None

    @property
    def weights(self) -> list[ir.Value]:
        """The initializers that W is made of."""
        held = self.product.inputs[1:] if self.dequantize is None else self.dequantize.inputs
        return [value for value in held if value is not None]

    @property
    def alike(self) -> tuple[object, ...]:
        """What several must have in common to become one."""
        attributes = {} if self.dequantize is None else self.dequantize.attributes
        forms = tuple((value.dtype, tuple(value.shape[:-1])) for value in self.weights)
        return self.product.inputs[0], self.bias is None, str(sorted(attributes.items())), forms

    @property
    def whole_bytes(self) -> bool:
        """Whether every row of the weights ends where a byte does."""
        return all(value.shape[-1] * value.dtype.bitwidth % BYTE_BITS == 0 for value in self.weights)


def join(graph: ir.Graph, results: Sequence[ir.Value], name: str, made: dict[str, Piece]) -> ir.Value | None:
    """[..., a + b + …], made by one product, of what separate ones make: [..., a], [..., b], ….

    None, and nothing changed, where their weights are held in different forms or their inputs aren't the same.

    Args:
        graph: the separate products stay in it, for a pass that drops what nobody reads.
        results: each a MatMul by a weight, or the sum of one and a bias.
        name: of the new layer, beside the first of the old.
        made: pieces by the name of their first initializer; those of the joined weights take the place of the old.
    """
    linears = [_linear(graph, result) for result in results]
    if len({linear.alike for linear in linears}) > 1 or not all(linear.whole_bytes for linear in linears):
        return None
    first, shape = linears[0], (*results[0].shape[:-1], sum(int(result.shape[-1]) for result in results))
    weights = _joined(graph, [linear.weights for linear in linears], name, made)
    nodes = []
    if first.dequantize is not None:
        nodes.append(_like(first.dequantize, weights, weights[0].shape))
        weights = nodes[-1].outputs
    nodes.append(_like(first.product, [first.product.inputs[0], weights[0]], shape))
    if first.bias is not None:
        biases = _joined(graph, [[linear.bias] for linear in linears if linear.bias is not None], name, made)
        nodes.append(ir.node("Add", [nodes[-1].outputs[0], biases[0]]))
        _describe(nodes[-1].outputs[0], f"{biases[0].name}.added", shape, results[0].dtype)
    graph.insert_before(first.product, nodes)
    return nodes[-1].outputs[0]


def _linear(graph: ir.Graph, result: ir.Value) -> Linear:
    node, bias = result.producer(), None
    if node is not None and node.op_type == "Add":
        bias = next(value for value in node.inputs if value is not None and value.name in graph.initializers)
        node = next(value.producer() for value in node.inputs if value is not bias)
    if node is None or node.op_type != "MatMul":
        raise RuntimeError(f"{result.name} is made by {node and node.op_type}, where a product by a weight is joined")
    dequantize = node.inputs[1].producer()
    if dequantize is not None and dequantize.op_type != "DequantizeLinear":
        raise RuntimeError(f"{result.name}: the weight is made by {dequantize.op_type}, which can't be joined")
    return Linear(node, dequantize, bias)


def _like(node: ir.Node, inputs: Sequence[ir.Value], shape: Sequence[Any] | ir.Shape) -> ir.Node:
    """The same operator on other inputs."""
    made = ir.Node(node.domain, node.op_type, inputs, node.attributes.values())
    _describe(made.outputs[0], f"{inputs[-1].name}.{node.op_type.lower()}", shape, node.outputs[0].dtype)
    return made


def _describe(value: ir.Value, name: str, shape: Sequence[Any] | ir.Shape, dtype: ir.DataType | None) -> None:
    assert dtype is not None
    value.name, value.shape, value.type = name, ir.Shape(list(shape)), ir.TensorType(dtype)


def _joined(graph: ir.Graph, groups: Sequence[Sequence[ir.Value]], name: str, made: dict[str, Piece]) -> list[ir.Value]:
    """New initializers: the columns of each group's first side by side, those of their second, …"""
    slots = []
    for values in zip(*groups, strict=True):
        columns = sum(int(value.shape[-1]) for value in values)
        slots.append(Slot(_beside(values[0], name), values[0].dtype, (*map(int, values[0].shape[:-1]), columns)))
    makers = [_maker(group, made) for group in groups]
    piece = Piece(tuple(slots), partial(_side_by_side, tuple(slots), makers))
    _replace(made, [str(group[0].name) for group in groups], piece)
    values = [ir.val(slot.name, slot.dtype, slot.shape) for slot in slots]
    if slots[0].name not in made:
        for value, array in zip(values, piece.make(), strict=True):
            value.const_value = ir.Tensor(array, name=value.name)
    for value in values:
        graph.initializers[str(value.name)] = value
    return values


def _beside(value: ir.Value, name: str) -> str:
    """ "layers.0.query.weight.scale" -> "layers.0.NAME.weight.scale"."""
    old = str(value.name)
    end = max(old.find(".weight"), old.find(".bias"))
    return f"{old[:end].rpartition('.')[0]}.{name}{old[end:]}"


def _maker(group: Sequence[ir.Value], made: dict[str, Piece]) -> Make:
    """What makes a group's values: its piece, or the graph itself."""
    piece = made.get(str(group[0].name))
    if piece is not None:
        return piece.make
    held = [value.const_value for value in group]
    return lambda: tuple(tensor.numpy() for tensor in held if tensor is not None)


def _replace(made: dict[str, Piece], old: Sequence[str], piece: Piece) -> None:
    """Put a piece where the first of the old ones was: weights lie in the order they are read. Where the graph holds
    the first, it holds what is joined too.
    """
    kept = [(key, each) for key, each in made.items() if key == old[0] or key not in old]
    made.clear()
    made.update((piece.slots[0].name, piece) if key == old[0] else (key, each) for key, each in kept)


def _side_by_side(slots: Sequence[Slot], makers: Sequence[Make]) -> tuple[NDArray[Any], ...]:
    """The bytes of the joined initializers."""
    parts = zip(*(make() for make in makers), strict=True)
    joined = []
    for slot, arrays in zip(slots, parts, strict=True):
        rows = prod(slot.shape[:-1])
        flat = [np.ascontiguousarray(array).reshape(rows, -1).view(np.uint8) for array in arrays]
        together = np.concatenate(flat, axis=1)
        whole = slot.dtype.bitwidth >= BYTE_BITS
        joined.append(together.view(arrays[0].dtype).reshape(slot.shape) if whole else together)
    return tuple(joined)
