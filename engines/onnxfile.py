"""The part of an ONNX file that an engine's builder must know first: inputs, outputs, and their dimensions.

ONNX is protobuf; the few messages needed are read and rewritten here, so that building needs no ONNX package. Field
numbers are those of onnx.proto (IR version 10).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dimrt.errors import BundleError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types of protobuf."""
MODEL_GRAPH, MODEL_PRODUCER = 7, 2
GRAPH_NODE, GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE = 1, 11, 12, 13
NODE_OPERATOR, NODE_DOMAIN = 4, 7
VALUE_NAME, VALUE_TYPE = 1, 2
TYPE_TENSOR = 1
TENSOR_ELEMENT, TENSOR_SHAPE = 1, 2
SHAPE_DIMENSION = 1
DIMENSION_SIZE, DIMENSION_NAME = 1, 2
ELEMENTS = {
    1: "float32",
    2: "uint8",
    3: "int8",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    16: "bfloat16",
}
"""Numbers of ONNX's element types."""


@dataclass(frozen=True)
class Port:
    """One input or output of an ONNX graph: a dimension is a number, a name, or None when nothing is said."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True)
class Ports:
    """What a graph takes and gives, in its own order, the program that wrote the file, and its operators outside ONNX's
    own domain (`com.microsoft.GroupQueryAttention`)."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    producer: str
    foreign: frozenset[str]


def read_ports(path: Path) -> Ports:
    """Inputs and outputs of an ONNX file; its weights aren't read.

    Raises:
        BundleError: the file isn't ONNX.
    """
    try:
        model = list(_fields(path.read_bytes()))
        graph = next(value for number, value in model if number == MODEL_GRAPH and isinstance(value, bytes))
        producer = next((_text(value) for number, value in model if number == MODEL_PRODUCER), "")
        fields = list(_fields(graph))
        return Ports(
            inputs=tuple(_port(value) for number, value in fields if number == GRAPH_INPUT),
            outputs=tuple(_port(value) for number, value in fields if number == GRAPH_OUTPUT),
            producer=producer,
            foreign=frozenset(_foreign(value) for number, value in fields if number == GRAPH_NODE) - {""},
        )
    except (ValueError, StopIteration) as error:
        raise BundleError(
            f"{path} isn't an ONNX file ({error or 'it has no graph'}); export the bundle again"
        ) from None


def pin_dimensions(content: bytes, sizes: Mapping[str, int]) -> bytes:
    """An ONNX file with named dimensions replaced by numbers wherever the graph states a shape."""

    def dimension(raw: bytes) -> bytes:
        names = [_text(value) for number, value in _fields(raw) if number == DIMENSION_NAME]
        if names and names[0] in sizes:
            return _key(DIMENSION_SIZE, VARINT) + _varint(sizes[names[0]])
        return raw

    edit: Edit = dimension
    for number in (SHAPE_DIMENSION, TENSOR_SHAPE, TYPE_TENSOR, VALUE_TYPE):
        edit = _inside({number: edit})
    values = dict.fromkeys((GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE), edit)
    return _inside({MODEL_GRAPH: _inside(values)})(content)


Edit = Callable[[bytes], bytes]


def _inside(edits: Mapping[int, Edit]) -> Edit:
    """A message edit that applies `edits` to the fields of these numbers and keeps the others as they are."""

    def edit(message: bytes) -> bytes:
        pieces = []
        position = 0
        for number, value, end in _walk(message):
            if number in edits and isinstance(value, bytes):
                changed = edits[number](value)
                pieces.append(_key(number, BYTES) + _varint(len(changed)) + changed)
            else:
                pieces.append(message[position:end])
            position = end
        return b"".join(pieces)

    return edit


def _foreign(value: int | bytes) -> str:
    """Domain and operator of a NodeProto; empty for one of ONNX's own."""
    fields = dict(_fields(_bytes(value)))
    domain, operator = (_text(fields.get(number, b"")) for number in (NODE_DOMAIN, NODE_OPERATOR))
    return f"{domain}.{operator}" if domain else ""


def _port(value: int | bytes) -> Port:
    """A ValueInfoProto."""
    fields = dict(_fields(_bytes(value)))
    tensor = dict(_fields(_bytes(dict(_fields(_bytes(fields[VALUE_TYPE])))[TYPE_TENSOR])))
    shape = _fields(_bytes(tensor.get(TENSOR_SHAPE, b"")))
    element = tensor.get(TENSOR_ELEMENT, 0)
    return Port(
        name=_text(fields[VALUE_NAME]),
        dtype=ELEMENTS.get(element if isinstance(element, int) else 0, f"element type {element!r}"),
        shape=tuple(_dimension(_bytes(value)) for number, value in shape if number == SHAPE_DIMENSION),
    )


def _dimension(raw: bytes) -> int | str | None:
    for number, value in _fields(raw):
        if number == DIMENSION_SIZE and isinstance(value, int):
            return value
        if number == DIMENSION_NAME:
            return _text(value)
    return None


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field; fixed-size numbers come as their bytes."""
    for number, value, _ in _walk(message):
        yield number, value


def _walk(message: bytes) -> Iterator[tuple[int, int | bytes, int]]:
    """Number, value and end position of each field.

    Raises:
        ValueError: not a protobuf message.
    """
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ValueError("a field with number 0")
        if kind == VARINT:
            value, position = _read_varint(message, position)
            yield number, value, position
            continue
        if kind == BYTES:
            size, position = _read_varint(message, position)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if position + size > len(message):
            raise ValueError("it ends early")
        position += size
        yield number, message[position - size : position], position


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(message) or shift > 63:
            raise ValueError("it ends early")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _varint(value: int) -> bytes:
    pieces = bytearray()
    while value > 0x7F:
        pieces.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*pieces, value])


def _key(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where a message belongs")
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode("utf-8")
