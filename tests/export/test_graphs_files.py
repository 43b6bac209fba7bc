"""What an exported bundle's files hold: every weight once, nothing of the machine, the right precision."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import dimrt
from dimrt.bundle import Bundle
from dimrt.export.precision import FP16, FP32

LARGE = 1024
"""Bytes; smaller constants (shapes, scalars) may stand inside a graph."""


def initializers(path: Path) -> dict[str, np.ndarray]:
    """All constants of a graph, weights read from its data file."""
    model = onnx.load(path)
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            found |= {node.name: numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value"}  # noqa: B035
    return found


@pytest.fixture(scope="module", params=["tiny_edit_bundle", "tiny_fp16_bundle"])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return Bundle.open(request.getfixturevalue(request.param))


def test_no_weight_is_held_twice(bundle: Bundle) -> None:
    """Over all graphs of a bundle; the tied head is the transposed embedding table, the one documented exception."""
    seen: dict[str, str] = {}
    for graph in bundle.manifest.graphs:
        for name, value in initializers(bundle.graph_path(graph)).items():
            if value.nbytes > LARGE:
                content = hashlib.sha256(value.tobytes() + str(value.shape).encode()).hexdigest()
                assert content not in seen, f"{graph}/{name} repeats {seen[content]}"
                seen[content] = f"{graph}/{name}"
    head = [v for v in initializers(bundle.graph_path("language")).values() if v.shape == (64, 600)]
    np.testing.assert_array_equal(head[0].T, bundle.table("embeddings"))


def test_the_data_file_holds_the_weights_and_little_else(bundle: Bundle) -> None:
    for graph in bundle.manifest.graphs:
        path = bundle.graph_path(graph)
        weights = sum(value.nbytes for value in initializers(path).values() if value.nbytes > LARGE)
        data = path.with_name(path.name + ".data").stat().st_size
        assert weights <= data <= 1.05 * weights + 4096 * 40
        assert b".data" in path.read_bytes()


def test_nothing_of_the_machine_is_in_a_graph(bundle: Bundle) -> None:
    places = [str(Path(module.__file__ or "").parent).encode() for module in (dimrt, onnx)]
    for graph in bundle.manifest.graphs:
        content = bundle.graph_path(graph).read_bytes()
        for trace in (*places, b"site-packages", b"stack_trace", b".py"):
            assert trace not in content, (graph, trace)


def test_no_product_transposes_its_weight(bundle: Bundle) -> None:
    for graph in bundle.manifest.graphs:
        nodes = onnx.load(bundle.graph_path(graph), load_external_data=False).graph
        weights = {tensor.name for tensor in nodes.initializer}
        assert not [node for node in nodes.node if node.op_type == "Transpose" and node.input[0] in weights]


def test_inputs_and_outputs_are_the_manifest_s(bundle: Bundle) -> None:
    for graph, facts in bundle.manifest.graphs.items():
        nodes = onnx.load(bundle.graph_path(graph), load_external_data=False).graph
        for specs, values in ((facts.inputs, nodes.input), (facts.outputs, nodes.output)):
            assert [spec.name for spec in specs] == [value.name for value in values]
            for spec, value in zip(specs, values, strict=True):
                tensor = value.type.tensor_type
                shape = tuple(d.dim_param or d.dim_value for d in tensor.shape.dim)
                assert shape == spec.shape
                assert onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type) == np.dtype(spec.dtype)


def test_half_precision_keeps_norms_softmax_and_solver_in_float32(tiny_fp16_bundle: Path) -> None:
    """A strongly typed graph: the dtypes stand in it, as inferred from its own casts."""
    bundle = Bundle.open(tiny_fp16_bundle)
    wide = {"RMSNormalization", "LayerNormalization", "Softmax", "Cos", "Sin", "Clip", "ReduceSum"}
    for graph in bundle.manifest.graphs:
        model = onnx.load(bundle.graph_path(graph), load_external_data=False)
        types = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
        weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        types |= weights
        outputs = {value.name for value in model.graph.output}
        for node in model.graph.node:
            assert all(name in types for name in node.output if name not in outputs)
            kinds = {types[name] for name in (*node.input, *node.output) if name in types}
            if node.op_type in wide:
                assert onnx.TensorProto.FLOAT16 not in kinds, f"{graph}: {node.op_type} in half"
            if node.op_type == "MatMul" and weights.keys() & set(node.input):
                assert kinds == {onnx.TensorProto.FLOAT16}, f"{graph}: a weight product in float32"


@pytest.mark.parametrize(("fixture", "recipe"), [("tiny_edit_bundle", FP32), ("tiny_fp16_bundle", FP16)])
def test_measured_errors_are_in_the_manifest(request: pytest.FixtureRequest, fixture: str, recipe: object) -> None:
    manifest = Bundle.open(request.getfixturevalue(fixture)).manifest
    assert manifest.recipe == recipe.name
    for name, graph in manifest.graphs.items():
        assert 0 < graph.error.relative <= graph.error.limit == recipe.limits[name]
        assert graph.error.cases >= 2
