"""Operations and bytes of a graph's run: against counts by hand, and against torch's own count of the tiny DIM."""

from pathlib import Path

import onnx_ir as ir
import pytest
import torch
from quantizing import made_up, recipe_of, traced
from small_graphs import HALF, graph, tensor
from tiny import write_tiny_checkpoint
from torch.utils.flop_counter import FlopCounterMode

from dimrt.export.graphs.activations import activations
from dimrt.export.graphs.kernels import use_own_kernels
from dimrt.export.graphs.work import work
from dimrt.export.model.assembly import DIM
from dimrt.export.model.dim import load_dim
from dimrt.export.precision import FP16, FP32, Rule
from dimrt.export.precision.quantize import quantize
from dimrt.memory.count import evaluate


@pytest.fixture(scope="module")
def dim(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> DIM:
    return load_dim(write_tiny_checkpoint(reference, tmp_path_factory.mktemp("model") / "tiny", "edit"))


def test_products_by_hand() -> None:
    x, weight, a = tensor("x", "n", 10), tensor("w", 10, 7), tensor("a", "n", 7)
    half, matrix, out = (
        tensor("half", "n", 7, kind=HALF),
        tensor("m", 7, 3, kind=HALF),
        tensor("out", "n", 3, kind=HALF),
    )
    model = graph(
        [x, weight, matrix], [("MatMul", [x, weight], a), ("Cast", [a], half), ("MatMul", [half, matrix], out)]
    )
    found = work(model)
    assert found.operations == {"float32": {"n": 140.0}, "float16": {"n": 42.0}}
    assert found.intermediate == {"n": 28.0 + 14.0}


def test_a_convolution_by_hand() -> None:
    """Two groups of 3x3 over 4 channels each: every result takes 36 multiply-adds."""
    x, weight, out = tensor("x", 1, 8, "h", 5), tensor("w", 6, 4, 3, 3), tensor("out", 1, 6, "h", 5)
    node = ir.Node("", "Conv", [x, weight], [ir.AttrInt64("group", 2)], outputs=[out])
    model = ir.Model(ir.Graph([x, weight], [out], nodes=[node], opset_imports={"": 24}, name="test"), ir_version=10)
    assert work(model).operations == {"float32": {"h": 6 * 5 * 36 * 2.0}}


def test_attention_by_hand() -> None:
    """Scores and their weighted sums, of 4 query heads; that keys have two heads changes nothing."""
    query, key, value = tensor("q", 1, 4, "q_len", 8), tensor("k", 1, 2, "k_len", 8), tensor("v", 1, 2, "k_len", 8)
    model = graph([query, key, value], [("Attention", [query, key, value], tensor("out", 1, 4, "q_len", 8))])
    assert work(model).operations == {"float32": {"k_len*q_len": 4 * (8 + 8) * 2.0}}


@pytest.mark.parametrize("name", ["vision", "connector", "context", "step", "encode", "decode"])
def test_torch_counts_the_same(dim: DIM, name: str) -> None:
    """What the graph's module runs at the sizes of the trace, counted by torch's dispatcher."""
    definition, model, _ = traced(dim, name, FP32)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        definition.module(*definition.example())
    axes = {axis: found.example for axis, found in definition.axes.items()}
    counted = sum(evaluate(polynomial, axes) for polynomial in work(model).operations.values())
    assert counted == pytest.approx(counter.get_total_flops(), rel=1e-6)


def test_own_operators_have_as_much_to_do_and_no_fewer_scores_to_hold(dim: DIM) -> None:
    _, plain, _ = traced(dim, "language", FP32)
    _, own, made = traced(dim, "language", FP32)
    use_own_kernels(own, made)
    kinds = {node.op_type for node in own.graph}
    assert "GroupQueryAttention" in kinds and not kinds & {"Attention", "TensorScatter"}
    assert [value.name for value in own.graph.inputs] == [value.name for value in plain.graph.inputs]
    assert [value.name for value in own.graph.outputs] == [value.name for value in plain.graph.outputs]
    assert work(own).operations == work(plain).operations
    heads = dim.designer.config.text_config.num_attention_heads
    scores = {"length*tokens": 4.0 * heads}
    assert any(scores.items() <= peak.items() for peak in activations(own))


@pytest.mark.parametrize("name", ["vision", "connector", "step"])
def test_graphs_without_a_cache_have_no_other_operators(dim: DIM, name: str) -> None:
    _, model, made = traced(dim, name, FP32)
    before = [node.op_type for node in model.graph]
    assert use_own_kernels(model, made) is made
    assert [node.op_type for node in model.graph] == before and list(model.opset_imports) == [""]


@pytest.mark.parametrize(
    ("form", "expected"), [("w8a16", "float16"), ("w4a16", "float16"), ("w8a8", "int8"), ("fp8", "fp8")]
)
def test_quantized_products_count_in_their_format(dim: DIM, form: str, expected: str) -> None:
    _, plain, _ = traced(dim, "connector", FP16)
    _, model, made = traced(dim, "connector", FP16)
    quantize(
        model, made, "connector", recipe_of(FP16, Rule("*", "*", form, scaling=False)), made_up(model, "connector")
    )
    assert work(model).operations == {expected: work(plain).operations["float16"]}


@pytest.mark.parametrize("form", ["w8a16", "w4a16"])
def test_a_processor_rounds_what_meets_quantized_weights(dim: DIM, form: str) -> None:
    _, plain, _ = traced(dim, "connector", FP32)
    _, model, made = traced(dim, "connector", FP32)
    quantize(model, made, "connector", recipe_of(FP32, Rule("*", "*", form)), None)
    assert work(model).operations == {"int8": work(plain).operations["float32"]}
