"""Quantized graphs: what they compute, what ONNX Runtime makes of them, and that TensorRT takes them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from quantizing import feeds_of, made_up, optimized_nodes, quantized, recipe_of, relative, run, traced
from tiny import write_tiny_checkpoint

from dimrt.export.graphs.weights import write_weights
from dimrt.export.model.assembly import DIM
from dimrt.export.model.dim import load_dim
from dimrt.export.precision import FP16, FP32, Recipe, Rule
from dimrt.export.precision.absorb import absorb, tied_channels
from dimrt.export.precision.quantize import quantize
from dimrt.export.precision.sites import find_sites, linear_producer, norm_before
from dimrt.export.precision.statistics import assumed_statistics
from dimrt.export.precision.store import Store

FORMATS = ("w8a16", "w4a16", "w8a8", "fp8")


@pytest.fixture(scope="module")
def dim(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> DIM:
    return load_dim(write_tiny_checkpoint(reference, tmp_path_factory.mktemp("model") / "tiny", "edit"))


def dequantized(path: Path) -> dict[str, np.ndarray]:
    """The weights of a file as its DequantizeLinear nodes make them, in numpy."""
    model = onnx.load(path)
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    made = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in held:
            values, scales = (held[name].astype(np.float32) for name in node.input[:2])
            if scales.ndim == 2:
                scales = np.repeat(scales, len(values) // len(scales), 0)
            made[node.output[0].removesuffix(".weight.float")] = values * scales
    return made


def through_activation(path: Path, layer: str, x: np.ndarray) -> np.ndarray:
    """x through the QuantizeLinear of a layer, if it has one, in numpy."""
    model = onnx.load(path)
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    scale = held.get(f"{layer}.input.scale")
    if scale is None:
        return x
    if held[f"{layer}.input.zero"].dtype == np.int8:
        return np.clip(np.round(x / scale), -128, 127).astype(np.float32) * scale
    limited = torch.from_numpy(np.clip(x.astype(np.float32) / scale.astype(np.float32), -448, 448))
    return limited.to(torch.float8_e4m3fn).float().numpy() * scale.astype(np.float32)


@pytest.mark.parametrize("form", FORMATS)
def test_a_graph_computes_what_its_numbers_say(dim: DIM, tmp_path: Path, form: str) -> None:
    """The connector (x W1 + b1, GELU, W2 + b2) against the same in numpy, with the dequantized weights of the file."""
    base = FP16 if form == "fp8" else FP32
    recipe = recipe_of(base, Rule("*", "*", form, scaling=False))
    _, model, _ = traced(dim, "connector", recipe)
    definition, path = quantized(dim, "connector", recipe, made_up(model, "connector"), tmp_path / "g.onnx")
    weights = dequantized(path)
    assert weights.keys() == {"first", "second"}
    feeds = feeds_of(definition)
    x = feeds["hidden"].astype(np.float32)
    biases = [layer.bias.detach().float().numpy() for layer in (dim.connector[0], dim.connector[2])]
    x = through_activation(path, "first", x) @ weights["first"] + biases[0]
    x = torch.nn.functional.gelu(torch.from_numpy(x)).numpy()
    x = through_activation(path, "second", x) @ weights["second"] + biases[1]
    # Hidden values in float16 near the border of two fp8 values (an eighth apart) fall to the one side or the other
    # as the processor sums: 0.002 to 0.008 in all. Unrounded activations would be 0.037 away.
    assert relative(run(path, feeds)[0], x) < (0.015 if form == "fp8" else 2e-5)
    floats = [layer.weight.detach().numpy().T for layer in (dim.connector[0], dim.connector[2])]
    for name, weight in zip(("first", "second"), floats, strict=True):
        assert 1e-4 < relative(weights[name], weight) < {"w4a16": 0.12, "fp8": 0.03}.get(form, 0.01)


@pytest.mark.parametrize(
    ("graph", "base"),
    [*((graph, FP32) for graph in ("vision", "language", "connector", "context", "step")), ("language", FP16)],
    ids=["vision", "language", "connector", "context", "step", "language float16"],
)
def test_scaling_alone_changes_nothing(dim: DIM, tmp_path: Path, graph: str, base: Recipe) -> None:
    """Every site scaled by random factors of up to 16 either way, nothing rounded: the same outputs."""
    definition, model, made = traced(dim, graph, base)
    write_weights(model, made, tmp_path / "plain.onnx")
    definition, model, made = traced(dim, graph, base)
    store = Store(model, made)
    random = torch.Generator().manual_seed(2)
    for site in find_sites(model):
        factors = 2 ** (8 * torch.rand(int(site.products[0].node.inputs[1].shape[0]), generator=random) - 4)
        tie = tied_channels(model, graph, site)
        if tie is not None:
            factors = torch.zeros(int(tie.max()) + 1).scatter_reduce(0, tie, factors, "amax")[tie]
        absorb(model, store, graph, site, factors)
    write_weights(model, store.pieces(), tmp_path / "scaled.onnx")
    feeds = feeds_of(definition)
    # A cache is filled by the graph that reads it: in this one's, values are scaled.
    feeds |= {name: np.zeros_like(values) for name, values in feeds.items() if name.startswith("value_")}
    plain, scaled = run(tmp_path / "plain.onnx", feeds), run(tmp_path / "scaled.onnx", feeds)
    for spec, a, b in zip(definition.outputs, plain, scaled, strict=True):
        if not spec.name.startswith("value_"):  # values in the cache are scaled, and scaled back after attention
            assert relative(b, a) < (1e-2 if base is FP16 else 1e-5), spec.name
    held = [(tmp_path / f"{name}.onnx.data").read_bytes() for name in ("plain", "scaled")]
    assert held[0] != held[1][: len(held[0])]


def test_who_takes_up_the_scaling(dim: DIM) -> None:
    """As the table in `absorb` says: norms and weights where there are any, and nothing else multiplies."""
    takers: dict[tuple[str, str], str] = {}
    for graph in ("vision", "language", "connector", "context", "step"):
        _, model, _ = traced(dim, graph, FP16)
        for site in find_sites(model):
            norm = norm_before(site)
            takers[graph, site.products[0].stem] = (
                norm.op_type if norm is not None else linear_producer(graph, site, model) or "Mul"
            )
    expected = {
        ("vision", "blocks.0.qkv"): "RMSNormalization",
        ("vision", "blocks.0.mlp.gate"): "RMSNormalization",
        ("vision", "blocks.0.mlp.down"): "blocks.0.mlp.up",
        ("vision", "blocks.0.out"): "Mul",
        ("language", "layers.1.query"): "RMSNormalization",
        ("language", "layers.1.out"): "layers.1.value",
        ("language", "layers.1.mlp.down"): "layers.1.mlp.up",
        ("language", "head"): "Mul",
        ("connector", "first"): "Mul",
        ("context", "keys.0"): "RMSNormalization",
        ("step", "blocks.0.query"): "LayerNormalization",
        ("step", "blocks.0.out"): "blocks.0.value",
        ("step", "blocks.0.expand"): "LayerNormalization",
        ("step", "blocks.0.contract"): "blocks.0.depthwise",
        ("step", "blocks.0.cross_query"): "Mul",
    }
    assert {key: takers[key] for key in expected} == expected


def test_uneven_channels_need_scaling(dim: DIM, tmp_path: Path) -> None:
    """With channels up to 300 times larger than others, int8 products with scaling keep several times more."""
    _, model, _ = traced(dim, "connector", FP32)
    statistics = made_up(model, "connector", uneven=300.0)
    _, plain = quantized(dim, "connector", FP32, None, tmp_path / "plain.onnx")
    inputs = statistics.of("connector", "first.weight")
    feeds = {"hidden": inputs.rows[None]}
    expected = run(plain, feeds)[0]
    found = []
    for scaling in (False, True):
        recipe = recipe_of(FP32, Rule("*", "first.weight", "w8a8", scaling=scaling))
        _, path = quantized(dim, "connector", recipe, statistics, tmp_path / f"{scaling}.onnx")
        found.append(relative(run(path, feeds)[0], expected))
    assert found[1] < 0.6 * found[0]


@pytest.mark.parametrize("form", ["w8a16", "w4a16", "w8a8"])
@pytest.mark.parametrize("graph", ["language", "step"])
def test_onnx_runtime_computes_all_products_in_integers(dim: DIM, tmp_path: Path, graph: str, form: str) -> None:
    recipe = recipe_of(FP32, Rule("*", "layers.*", form), Rule("*", "blocks.*", form))
    _, model, _ = traced(dim, graph, recipe)
    statistics = made_up(model, graph)
    _, path = quantized(dim, graph, recipe, statistics, tmp_path / "g.onnx")
    nodes = optimized_nodes(path, tmp_path)
    count = sum(len([p for p in site.products if recipe.rule(graph, p.name)]) for site in find_sites(model))
    assert count >= 14
    assert nodes["MatMulIntegerToFloat" if form == "w8a8" else "MatMulNBits"] == count
    assert nodes["DequantizeLinear"] == 0


def test_small_weights_get_what_fits(dim: DIM, tmp_path: Path) -> None:
    """Widths of 24 have no group of 16: int8 for each output channel, and the file says so."""
    recipe = recipe_of(FP32, Rule("*", "*", "w4a16"))
    model = two_products(24)
    pieces = quantize(model, [], "connector", recipe, None)
    assert [slot.name for piece in pieces for slot in piece.slots] == ["a.weight.int8", "a.weight.scale"]


def two_products(width: int) -> object:
    """A graph that multiplies by one weight once and by another twice."""
    import onnx_ir as ir

    x = ir.val("x", ir.DataType.FLOAT, [1, width])
    a, b = (ir.Value(name=f"{n}.weight", const_value=ir.tensor(np.ones((width, width), np.float32))) for n in "ab")
    for value in (a, b):
        value.shape, value.dtype = ir.Shape([width, width]), ir.DataType.FLOAT
    nodes = [ir.node("MatMul", [x, a])]
    for _ in range(2):
        nodes.append(ir.node("MatMul", [nodes[-1].outputs[0], b]))
    for node in nodes:
        node.outputs[0].dtype, node.outputs[0].shape = ir.DataType.FLOAT, ir.Shape([1, width])
    graph = ir.Graph([x], [nodes[-1].outputs[0]], nodes=nodes, initializers=[a, b], opset_imports={"": 24})
    return ir.Model(graph, ir_version=11)


def test_the_same_weights_give_the_same_bytes(dim: DIM, tmp_path: Path) -> None:
    recipe = recipe_of(FP16, Rule("*", "*", "w4a16"))
    _, model, _ = traced(dim, "language", recipe)
    for name in "ab":
        quantized(dim, "language", recipe, made_up(model, "language"), tmp_path / f"{name}.onnx")
    assert (tmp_path / "a.onnx.data").read_bytes() == (tmp_path / "b.onnx.data").read_bytes()


def test_ranges_are_demanded_where_they_are_needed(dim: DIM, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"connector.*first\.weight.*calibrate"):
        quantized(dim, "connector", recipe_of(FP32, Rule("*", "*", "w8a8")), None, tmp_path / "g.onnx")


def test_assumed_statistics_make_the_graph_that_measured_ones_make(dim: DIM, tmp_path: Path) -> None:
    """A stand-in of random weights has the same nodes, so that it takes as long."""
    recipe = recipe_of(FP16, Rule("step", "blocks.*", "w8a8"), Rule("language", "layers.*", "w4a16"))
    for graph in ("language", "step"):
        _, model, _ = traced(dim, graph, recipe)
        sizes = {graph: {p.name: int(p.node.inputs[1].shape[0]) for s in find_sites(model) for p in s.products}}
        counts = []
        for number, statistics in enumerate((made_up(model, graph, uneven=30), assumed_statistics(sizes))):
            _, path = quantized(dim, graph, recipe, statistics, tmp_path / f"{number}.onnx")
            model = onnx.load(path, load_external_data=False)
            counts.append(sorted(node.op_type for node in model.graph.node))
        assert counts[0] == counts[1]


@pytest.mark.parametrize("form", FORMATS)
def test_tensorrt_takes_every_form(dim: DIM, tmp_path: Path, form: str) -> None:
    """Parsed and built ahead of time, without a GPU, for a card that computes in that format."""
    trt = pytest.importorskip("tensorrt_rtx")
    recipe = recipe_of(FP16, Rule("*", "*", form))
    _, model, _ = traced(dim, "context", recipe)
    _, path = quantized(dim, "context", recipe, made_up(model, "context", uneven=30), tmp_path / "g.onnx")
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    assert parser.parse_from_file(str(path)), parser.get_error(0)
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89 if form == "fp8" else trt.ComputeCapability.SM86, 0)
    shape = network.get_input(0).shape
    profile.set_shape("condition", (1, 1, shape[2]), (2, 16, shape[2]), (2, 64, shape[2]))
    config.add_optimization_profile(profile)
    kinds = [network.get_layer(i).type for i in range(network.num_layers)]
    assert kinds.count(trt.LayerType.DEQUANTIZE) >= kinds.count(trt.LayerType.MATRIX_MULTIPLY)
    assert builder.build_serialized_network(network, config) is not None
