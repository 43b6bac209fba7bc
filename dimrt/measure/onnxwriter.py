"""ONNX files of one matrix product, written as bytes: what ceilings are measured with, without the onnx package.

Field numbers: onnx.proto of the ONNX project. Weights are constants of the graph, and quantized products are a float
product between QuantizeLinear and DequantizeLinear, both as in a bundle: so a runtime packs and fuses them as there.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

IR_VERSION, OPSET = 9, 19
ELEMENT = {"float32": 1, "int8": 3, "float16": 10, "fp8": 17}
"""TensorProto.DataType; fp8 is float8e4m3fn."""
SCALE = {"int8": 1 / 127, "fp8": 1 / 448}
"""Of quantized values between -1 and 1: one by the format's largest number."""
LENGTH = 2
"""Protobuf's wire type of everything that has a length."""

Side = tuple[str, str, tuple[int, ...]]
"""Name, element type and shape of an input or output."""


def product_model(kind: str, size: int, weights: NDArray[Any], ports: str) -> bytes:
    """A model with input `x` and output `y`, both [size, size], and constant weights between them.

    Args:
        kind: "float32", "float16", "int8" or "fp8": what is multiplied.
        size: sides of all matrices.
        weights: [size, size] of that kind; of fp8 its bytes.
        ports: element type of `x` and `y`, and of the scales: "float32" or "float16".
    """
    shape = (size, size)
    constants = [_constant("w", kind, shape, weights.tobytes())]
    nodes = [_node("MatMul", ("x", "w"), "y")]
    if kind in SCALE:
        scale = np.array(SCALE[kind], ports).tobytes()
        constants += [_constant("scale", ports, (), scale), _constant("zero", kind, (), b"\0")]
        nodes = [
            _node("QuantizeLinear", ("x", "scale", "zero"), "q"),
            _node("DequantizeLinear", ("q", "scale", "zero"), "a"),
            _node("DequantizeLinear", ("w", "scale", "zero"), "b"),
            _node("MatMul", ("a", "b"), "y"),
        ]
    return _model(nodes, constants, ("x", ports, shape), ("y", ports, shape))


def copy_model(count: int) -> bytes:
    """A model that reads float32 `x` [count] and writes it, negated, as `y`: a copy that no optimizer removes."""
    return _model([_node("Neg", ("x",), "y")], [], ("x", "float32", (count,)), ("y", "float32", (count,)))


def _model(nodes: list[bytes], constants: list[bytes], entry: Side, result: Side) -> bytes:
    graph = b"".join(_field(1, node) for node in nodes) + _text(2, "ceiling")
    graph += b"".join(_field(5, constant) for constant in constants)
    graph += _field(11, _port(*entry)) + _field(12, _port(*result))
    opset = _text(1, "") + _number(2, OPSET)
    return _number(1, IR_VERSION) + _text(2, "dimrt") + _field(7, graph) + _field(8, opset)


def _node(op: str, inputs: tuple[str, ...], output: str) -> bytes:
    return b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(3, output) + _text(4, op)


def _constant(name: str, kind: str, shape: tuple[int, ...], content: bytes) -> bytes:
    sides = b"".join(_number(1, side) for side in shape)
    return sides + _number(2, ELEMENT[kind]) + _text(8, name) + _field(9, content)


def _port(name: str, kind: str, shape: tuple[int, ...]) -> bytes:
    sides = b"".join(_field(1, _number(1, side)) for side in shape)
    tensor = _number(1, ELEMENT[kind]) + _field(2, sides)
    return _text(1, name) + _field(2, _field(1, tensor))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | LENGTH) + _varint(len(content)) + content


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
