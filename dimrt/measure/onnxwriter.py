"""ONNX files of one matrix product, written as bytes: what ceilings are measured with, without the onnx package.

Field numbers: onnx.proto of the ONNX project. The weights are constants of the graph, as in a bundle, so that a runtime
may pack them beforehand.
"""

from typing import Any

from numpy.typing import NDArray

IR_VERSION, OPSET = 8, 17
ELEMENT = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "float16": 10}
"""TensorProto.DataType by numpy's name."""
_BYTES = 2
"""Protobuf's wire type of everything that has a length."""


def product_model(op: str, rows: int, weights: NDArray[Any], *, inputs: str, outputs: str) -> bytes:
    """A model with input `x` [rows, K], the constant [K, N], and output `y` [rows, N].

    Args:
        op: "MatMul" or "MatMulInteger".
        weights: [K, N].
        inputs, outputs: element types of `x` and `y`, by numpy's names.
    """
    depth, columns = weights.shape
    node = _text(1, "x") + _text(1, "w") + _text(2, "y") + _text(4, op)
    constant = b"".join(_number(1, side) for side in weights.shape)
    constant += _number(2, ELEMENT[weights.dtype.name]) + _text(8, "w") + _field(9, weights.tobytes())
    return _model(node, constant, ("x", inputs, (rows, depth)), ("y", outputs, (rows, columns)))


def copy_model(count: int) -> bytes:
    """A model that reads float32 `x` [count] and writes it, negated, as `y`: a copy that no optimizer removes."""
    node = _text(1, "x") + _text(2, "y") + _text(4, "Neg")
    return _model(node, None, ("x", "float32", (count,)), ("y", "float32", (count,)))


Port = tuple[str, str, tuple[int, ...]]


def _model(node: bytes, constant: bytes | None, entry: Port, result: Port) -> bytes:
    graph = _field(1, node) + _text(2, "ceiling")
    if constant is not None:
        graph += _field(5, constant)
    graph += _field(11, _port(*entry)) + _field(12, _port(*result))
    opset = _text(1, "") + _number(2, OPSET)
    return _number(1, IR_VERSION) + _text(2, "dimrt") + _field(7, graph) + _field(8, opset)


def _port(name: str, kind: str, shape: tuple[int, ...]) -> bytes:
    sides = b"".join(_field(1, _number(1, side)) for side in shape)
    tensor = _number(1, ELEMENT[kind]) + _field(2, sides)
    return _text(1, name) + _field(2, _field(1, tensor))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


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
