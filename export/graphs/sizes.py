"""Sizes of a traced graph's tensors, as polynomials in the axes of its contract."""

from fractions import Fraction

import onnx_ir as ir

from dimrt.export.graphs import polynomial
from dimrt.export.graphs.polynomial import Polynomial
from dimrt.export.graphs.write import TRACED

VIEWS = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity", "DequantizeLinear"})
"""Their result is their first input seen otherwise."""
IN_PLACE = frozenset(
    {"Add", "Sub", "Mul", "Div", "Relu", "Sigmoid", "Clip", "Softmax", "Cast", "Neg", "Sqrt", "Exp", "Tanh"}
)
"""May write over an operand of the same size that no one reads afterwards."""
SAME_SHAPE = frozenset({"QuantizeLinear", *IN_PLACE})
"""Operators whose result has its first input's shape, should the graph not say."""
SAME_COUNT = SAME_SHAPE | VIEWS | {"Transpose", "SpaceToDepth", "DepthToSpace"}
"""Operators whose result has as many elements as their first input."""


class Sizes:
    """Sides, elements and bytes of a graph's tensors."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._symbols = _symbols(graph)
        _learn(graph, self._symbols)

    def of(self, value: ir.Value) -> Polynomial:
        """Bytes of a tensor. A dimension that isn't stated is an error, unless the producer keeps its input's shape."""
        if value.dtype is None:
            raise RuntimeError(f"graph {self._graph.name}: {value.name} has no type")
        return polynomial.scaled(self.elements(value), Fraction(value.dtype.bitwidth, 8))

    def elements(self, value: ir.Value) -> Polynomial:
        """Number of elements of a tensor."""
        dimensions = None if value.shape is None else [d if isinstance(d, int) else d.value for d in _traced(value)]
        if dimensions is not None and None not in dimensions:
            return polynomial.product(polynomial.parse(d, self._symbols) for d in dimensions)
        producer = value.producer()
        if producer is not None and producer.op_type in SAME_COUNT:
            return self.elements(producer.inputs[0])
        if value.dtype is not None and value.dtype.is_integer() and value.dtype.bitwidth >= 32:
            return {}  # a shape on its way to a Reshape
        maker = "nothing" if producer is None else producer.op_type
        raise RuntimeError(f"graph {self._graph.name}: the shape of {value.name}, made by {maker}, isn't known")

    def side(self, value: ir.Value, axis: int) -> Polynomial:
        """One dimension of a tensor whose shape is stated."""
        if value.shape is None:
            producer = value.producer()
            if producer is not None and producer.op_type in SAME_SHAPE:
                return self.side(producer.inputs[0], axis)
            raise RuntimeError(f"graph {self._graph.name}: the shape of {value.name} isn't known")
        length = _traced(value)[axis]
        return polynomial.parse(length if isinstance(length, int) else length.value, self._symbols)

    def scores(self, node: ir.Node) -> Polynomial:
        """Number of an attention's scores [batch, heads, queries, keys]; none for another node.

        `GroupQueryAttention` reads the rows in use; counted are all that its cache has.
        """
        match node.op_type:
            case "Attention":
                query, keys = node.inputs[:2]
            case "GroupQueryAttention":
                query, keys = node.inputs[0], node.inputs[3]
            case _:
                return {}
        rows = polynomial.scaled(self.elements(query), _queries(node) / self.side(keys, 3)[()])
        return polynomial.product([rows, self.side(keys, 2)])


def _queries(node: ir.Node) -> Fraction:
    """Share of queries in an attention's first input, which may hold keys and values too."""
    if node.op_type == "Attention" or node.inputs[1] is not None:
        return Fraction(1)
    heads, kv_heads = (node.attributes[name].as_int() for name in ("num_heads", "kv_num_heads"))
    return Fraction(heads, heads + 2 * kv_heads)


def _symbols(graph: ir.Graph) -> dict[str, Polynomial]:
    """What each symbol inside the graph is in terms of its axes, as its inputs tell.

    An axis that is a multiple of a symbol (pixels, in units of the autoencoder's factor) is divided, unless the symbol
    is an axis too (patches, windows).
    """
    found: dict[str, Polynomial] = {}
    for value in graph.inputs:
        for named, traced in zip(value.shape, _traced(value), strict=True):
            if isinstance(named, int):
                continue
            *scale, symbol = str(traced).split("*")
            if not scale or symbol not in found:
                found[symbol] = {(str(named),): Fraction(1, int(scale[0]) if scale else 1)}
    return found


def _traced(value: ir.Value) -> ir.Shape:
    """A shape in the symbols of the trace, which an input's own shape isn't in."""
    shape: ir.Shape = value.meta.get(TRACED, value.shape)
    return shape


def _learn(graph: ir.Graph, symbols: dict[str, Polynomial]) -> None:
    """Add the symbols that no input names: the exporter names the multiple that an input has and leaves others as they
    were. A convolution keeps the order of its axes and divides them by its strides.
    """
    for node in graph:
        source, result = node.inputs[0] if node.inputs else None, node.outputs[0]
        if node.op_type not in SAME_SHAPE | {"Conv"} or source is None or source.shape is None or result.shape is None:
            continue
        strides = node.attributes["strides"].as_ints() if "strides" in node.attributes else ()
        steps = [1] * (len(result.shape) - len(strides)) + list(strides)
        for before, after, step in zip(_traced(source), result.shape, steps, strict=False):
            *scale, symbol = str(after).split("*")
            known = not isinstance(before, int) and set(polynomial.names_in(str(before))) <= symbols.keys()
            if known and symbol.isidentifier() and symbol not in symbols and len(scale) < 2:
                factor = Fraction(1, step * int(scale[0] if scale else 1))
                symbols[symbol] = polynomial.scaled(polynomial.parse(str(before), symbols), factor)
