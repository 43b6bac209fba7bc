"""A traced graph gets the formats of a recipe: standard QuantizeLinear and DequantizeLinear around its MatMuls.

One file serves ONNX Runtime, which fuses these patterns into its integer kernels (DequantizeLinear + MatMul into
MatMulNBits, a quantized activation as well into MatMulIntegerToFloat), and TensorRT, which knows no other form.

Activations are int8 without a zero point: TensorRT takes no other, and ONNX Runtime turns them into uint8 by itself, at
the same speed (256 rows by 2240 x 2240 on one x86 core: 17 ms in float32, 5 ms either way).

It is written here, on the graph before it has values, because the libraries that could do it want the whole model in
memory. `onnxruntime.quantization` (1.31) reads a float model with all its weights; it also writes no 8-bit weight-only
QDQ, and its MatMulConstBOnly still quantizes products of two activations. nvidia-modelopt (0.47) pins onnx 1.21, and
optimum-onnx transformers below 4.58. torchao and neural-compressor quantize torch modules; they were not tried. ONNX's
own reference reads the same values from the files, and both runtimes run them.
"""

import numpy as np
import onnx_ir as ir

from dimrt.export.graphs.weights import Piece
from dimrt.export.precision import scaling
from dimrt.export.precision.absorb import absorb, tied_channels
from dimrt.export.precision.formats import IR_TYPES, LARGEST, STORED, Format, Stored, group_size
from dimrt.export.precision.recipe import MEASURED, Recipe, Rule
from dimrt.export.precision.sites import Product, Site, find_sites
from dimrt.export.precision.statistics import InputStatistics, Statistics
from dimrt.export.precision.store import Store

EPSILON = 2.0**-20
"""Relative difference of scales that are to stay apart; float32 has 2**-23."""
ACTIVATIONS: frozenset[Format] = frozenset({"w8a8", "fp8"})
"""Formats that quantize what enters, too."""


def quantize(
    model: ir.Model, pieces: list[Piece], graph: str, recipe: Recipe, statistics: Statistics | None
) -> list[Piece]:
    """Give a graph the recipe's formats, in place, and return the pieces of what it holds now.

    Args:
        model: the traced graph; weights are initializers [in, out], each used by one MatMul.
        pieces: its float weights.
        graph: its name.
        recipe: the formats.
        statistics: of the activations; None only for recipes that need none.

    Raises:
        InputError: the statistics are of another model.
    """
    store = Store(model, pieces)
    for site in find_sites(model):
        rules = {product.name: recipe.rule(graph, product.name) for product in site.products}
        if any(rules.values()):
            _quantize_site(model, store, graph, site, rules, statistics)
    _forget_unused(model)
    return store.pieces()


def _quantize_site(
    model: ir.Model,
    store: Store,
    graph: str,
    site: Site,
    rules: dict[str, Rule | None],
    statistics: Statistics | None,
) -> None:
    """Scale what enters a site where that helps, then quantize it and the weights as the rules say."""
    forms = {name: _fitting(rule, site, name) for name, rule in rules.items()}
    inputs = _inputs(graph, site, forms, statistics)
    chosen = None
    if inputs is not None:
        chosen = _search(model, store, graph, site, rules, forms, inputs)
        if chosen.factors is not None:
            absorb(model, store, graph, site, chosen.factors)
    quantized: dict[Stored, ir.Node] = {}
    for number, product in enumerate(site.products):
        form, group = forms[product.name]
        if form == "float":
            continue
        stored, dtype = STORED[form], _dtype(product.node.outputs[0])
        rows = None if chosen is None or inputs is None else scaling.scaled_rows(inputs, chosen)
        values, scales = store.quantized(product.name, stored, dtype, group, rows)
        product.node.replace_input_with(1, _dequantize(product, values, scales, dtype, group))
        if form in ACTIVATIONS:
            assert chosen is not None
            if stored not in quantized or dtype == ir.DataType.FLOAT:
                quantized[stored] = _round(store, product, stored, chosen.reach, number)
            product.node.replace_input_with(0, _back(product, quantized[stored], dtype))
            _keep_bias_apart(store, product)


def _fitting(rule: Rule | None, site: Site, name: str) -> tuple[Format, int | None]:
    """Format and group of a weight. Where no int4 group divides its rows, it gets int8 for each output channel."""
    if rule is None:
        return "float", None
    shape = next(product.node.inputs[1].shape for product in site.products if product.name == name)
    group = group_size(int(shape[0]), rule.group)
    if rule.format == "w4a16":
        return ("w4a16", group) if group else ("w8a16", None)
    return rule.format, None if rule.group is None else group


def _inputs(
    graph: str, site: Site, forms: dict[str, tuple[Format, int | None]], statistics: Statistics | None
) -> InputStatistics | None:
    measured = [name for name, (form, _) in forms.items() if form in MEASURED]
    if not measured:
        return None
    if statistics is None:
        if any(forms[name][0] in ACTIVATIONS for name in measured):
            raise ValueError(f"{graph}: {measured[0]} needs the range of its activations; calibrate first")
        return None
    return statistics.of(graph, measured[0])


def _search(
    model: ir.Model,
    store: Store,
    graph: str,
    site: Site,
    rules: dict[str, Rule | None],
    forms: dict[str, tuple[Format, int | None]],
    inputs: InputStatistics,
) -> scaling.Scaling:
    samples = [scaling.Sample.of(store.read(name), *forms[name]) for name in forms]
    allowed = all(rule is None or rule.scaling for rule in rules.values())
    return scaling.choose(samples, inputs, tied_channels(model, graph, site), allowed)


def _round(store: Store, product: Product, stored: Stored, reach: float, number: int) -> ir.Node:
    """QuantizeLinear of the input of a MatMul, with one symmetric scale.

    With half precision, products share it: TensorRT then merges them. In float32, for ONNX Runtime, each has its own,
    whose scale differs in the last bits by the product's `number`: its optimizer would make equal ones one again, and
    fuses a QuantizeLinear only when one MatMul uses it.
    """
    value, stem = product.node.inputs[0], product.stem
    assert value is not None
    step = np.array(max(reach, 1e-6) / LARGEST[stored], _dtype(value).numpy())
    if step.dtype == np.float32:
        step = step * np.float32(1 + number * EPSILON)
    scale = store.add(f"{stem}.input.scale", np.asarray(step))
    zero = store.add(f"{stem}.input.zero", np.zeros((), IR_TYPES[stored].numpy()))
    output = ir.Value(name=f"{stem}.input.{stored}", shape=value.shape, type=ir.TensorType(IR_TYPES[stored]))
    node = ir.node("QuantizeLinear", [value, scale, zero], outputs=[output], name=f"quantize_{stem}")
    _insert(product, node)
    return node


def _back(product: Product, rounded: ir.Node, dtype: ir.DataType) -> ir.Value:
    """DequantizeLinear for one MatMul. Each has its own: ONNX Runtime fuses none of several that share one."""
    value = rounded.outputs[0]
    output = ir.Value(name=f"{product.stem}.input.back", shape=value.shape, type=ir.TensorType(dtype))
    node = ir.node(
        "DequantizeLinear", [value, *rounded.inputs[1:]], outputs=[output], name=f"dequantize_{product.stem}"
    )
    _insert(product, node)
    return output


def _keep_bias_apart(store: Store, product: Product) -> None:
    """Give the bias after a quantized MatMul as many axes as the product has.

    ONNX Runtime (1.31) makes a Gemm of a MatMul and a bias of one axis when the shape is fixed, which takes both out
    of its integer kernels, and then fails on the QuantizeLinear that it moves before the reshape.
    """
    output = product.node.outputs[0]
    for use in output.uses():
        bias = use.node.inputs[1 - use.idx] if use.node.op_type == "Add" else None
        if bias is not None and f"{product.stem}.bias" == bias.name and output.shape is not None:
            store.reshape(f"{product.stem}.bias", (*[1] * (len(output.shape) - 1), int(bias.shape[-1])))


def _dequantize(
    product: Product, values: ir.Value, scales: ir.Value, dtype: ir.DataType, group: int | None
) -> ir.Value:
    """The weight of a MatMul from its quantized values."""
    output = ir.Value(name=f"{product.name}.float", shape=values.shape, type=ir.TensorType(dtype))
    attributes = {"axis": 1} if group is None else {"axis": 0, "block_size": group}
    _insert(
        product,
        ir.node("DequantizeLinear", [values, scales], attributes, outputs=[output], name=f"dequantize_{product.name}"),
    )
    return output


def _insert(product: Product, node: ir.Node) -> None:
    assert product.node.graph is not None
    product.node.graph.insert_before(product.node, node)


def _dtype(value: ir.Value) -> ir.DataType:
    assert value.dtype is not None
    return value.dtype


def _forget_unused(model: ir.Model) -> None:
    """Drop the float initializers that nothing uses any more."""
    for name, value in list(model.graph.initializers.items()):
        if not value.uses():
            del model.graph.initializers[name]
