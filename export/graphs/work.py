"""What a run of a graph has to do, counted from its nodes: operations of its products, and bytes in between.

Counted are the products (MatMul, Gemm, Conv, ConvTranspose, attention), which are all but a percent of the arithmetic;
a multiply-add counts two, as in makers' peak rates. Of the rest only the bytes count: norms, activations and other
elementwise nodes are bound by memory.
"""

from fractions import Fraction
from math import prod

import onnx_ir as ir

from dimrt.export.graphs import polynomial
from dimrt.export.graphs.polynomial import Polynomial
from dimrt.export.graphs.sizes import VIEWS, Sizes
from dimrt.manifest import GraphWork

MULTIPLY_ADD = 2
MOVED = VIEWS | {"Transpose"}
"""Between a DequantizeLinear and the product that reads it."""
FORMATS = {
    ir.DataType.FLOAT: "float32",
    ir.DataType.FLOAT16: "float16",
    ir.DataType.INT8: "int8",
    ir.DataType.UINT8: "int8",
    ir.DataType.FLOAT8E4M3FN: "fp8",
}


def work(model: ir.Model) -> GraphWork:
    """Operations by the number format that a product is computed in, and bytes of the intermediate tensors.

    A product of two quantized operands is one in their format. Where weights alone are quantized, it is one in half
    precision, if the other operand is; float32 stands beside quantized weights only in recipes for ONNX Runtime on a
    processor, whose kernels round the other operand to int8 as well, row by row (MatMulNBits at accuracy level 4, its
    default: a prompt is read at 1.4 times the rate of any product in float32). Written to `Graph.work`.

    Raises:
        RuntimeError: the shape or type of a tensor isn't known.
    """
    sizes = Sizes(model.graph)
    products: dict[str, list[Polynomial]] = {}
    results: list[Polynomial] = []
    outputs = set(model.graph.outputs)
    for node in model.graph:
        count = _operations(node, sizes)
        if count:
            products.setdefault(_format(node), []).append(count)
        if node.op_type not in VIEWS:
            results += [sizes.of(output) for output in node.outputs if output.name and output not in outputs]
    operations = {form: polynomial.named(polynomial.total(terms)) for form, terms in sorted(products.items())}
    return GraphWork(operations=operations, intermediate=polynomial.named(polynomial.total(results)))


def _operations(node: ir.Node, sizes: Sizes) -> Polynomial:
    """Of one node; none for what isn't a product."""
    match node.op_type:
        case "MatMul":
            each = sizes.side(node.inputs[1], -2)
        case "Gemm":
            transposed = "transB" in node.attributes and node.attributes["transB"].as_int() == 1
            each = sizes.side(node.inputs[1], 1 if transposed else 0)
        case "Conv":
            each = _constant(prod(node.inputs[1].shape[1:]))
        case "ConvTranspose":
            return _times(sizes.elements(node.inputs[0]), _constant(prod(node.inputs[1].shape[1:])))
        case "Attention" | "GroupQueryAttention":
            keys, values = node.inputs[1:3] if node.op_type == "Attention" else node.inputs[3:5]
            return _times(sizes.scores(node), polynomial.total([sizes.side(keys, 3), sizes.side(values, 3)]))
        case _:
            return {}
    return _times(sizes.elements(node.outputs[0]), each)


def _constant(number: int) -> Polynomial:
    return {(): Fraction(number)}


def _times(count: Polynomial, each: Polynomial) -> Polynomial:
    return polynomial.scaled(polynomial.product([count, each]), Fraction(MULTIPLY_ADD))


def _format(node: ir.Node) -> str:
    """The number format of a product."""
    quantized = [_dequantized(value) for value in node.inputs[:2]]
    computed = quantized[0] if all(quantized) else node.inputs[0].dtype
    if quantized[-1] and computed == ir.DataType.FLOAT:
        computed = ir.DataType.INT8
    if computed not in FORMATS:
        raise RuntimeError(f"{node.op_type} {node.name} computes in {computed}, whose rate no target states")
    return FORMATS[computed]


def _dequantized(value: ir.Value | None) -> ir.DataType | None:
    """The format that a tensor was dequantized from; None when it wasn't."""
    producer = value.producer() if value is not None else None
    if producer is None or producer.op_type not in MOVED:
        return None
    if producer.op_type == "DequantizeLinear":
        return producer.inputs[0].dtype
    return _dequantized(producer.inputs[0])
