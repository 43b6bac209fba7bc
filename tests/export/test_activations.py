"""Bytes of live intermediate tensors, on graphs whose answer is counted by hand."""

from fractions import Fraction

import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_graphs import FLOAT, HALF, graph, tensor

from dimrt.export.graphs import polynomial
from dimrt.export.graphs.activations import activations


def test_a_tensor_lives_from_its_maker_to_its_last_reader() -> None:
    x, a, b, c, out = (tensor(name, "n", 10) for name in ("x", "a", "b", "c", "out"))
    model = graph([x], [("Gelu", [x], a), ("Gelu", [a], b), ("Gelu", [b], c), ("MatMul", [c, a], out)])
    # While c is made, a (read at the end), b and c are alive: three of 40 bytes a row.
    assert activations(model) == ({"n": 120.0},)


def test_views_and_results_in_place_take_nothing() -> None:
    x, a, b, c, out = (tensor(name, "n", 10) for name in ("x", "a", "b", "c", "out"))
    model = graph([x], [("Gelu", [x], a), ("Reshape", [a], b), ("Relu", [b], c), ("MatMul", [c, c], out)])
    assert activations(model) == ({"n": 40.0},)


def test_a_result_does_not_lie_over_an_operand_that_is_read_again() -> None:
    x, a, b, out = (tensor(name, "n", 10) for name in ("x", "a", "b", "out"))
    assert activations(graph([x], [("Gelu", [x], a), ("Relu", [a], b), ("MatMul", [a, b], out)])) == ({"n": 80.0},)


def test_a_cast_to_another_size_takes_both() -> None:
    x, a, out = (tensor(name, "n", 10) for name in ("x", "a", "out"))
    half = tensor("half", "n", 10, kind=HALF)
    model = graph([x], [("Gelu", [x], a), ("Cast", [a], half), ("MatMul", [half, half], out)])
    assert activations(model) == ({"n": 60.0},)


def test_scores_of_attention_count_while_it_runs() -> None:
    query, key, value = tensor("q", 1, 4, "q_len", 8), tensor("k", 1, 2, "k_len", 8), tensor("v", 1, 2, "k_len", 8)
    model = graph([query, key, value], [("Attention", [query, key, value], tensor("out", 1, 4, "q_len", 8))])
    assert activations(model) == ({"k_len*q_len": 16.0},)


def test_inner_symbols_are_learnt_from_strides() -> None:
    """The exporter names an input's multiple and leaves the symbol inside it as it was."""
    x = tensor("x", 1, 3, "height", 8)
    x.meta["traced_shape"] = ir.Shape([1, 3, "32*height", 8])
    inner, out = tensor("a", 1, 4, "16*s90", 4), tensor("out", 1, 4, "s90", 4)
    first = ir.Node("", "Conv", [x], [ir.AttrInt64s("strides", [2, 2])], outputs=[inner])
    last = ir.Node("", "MaxPool", [inner], outputs=[out])
    model = ir.Model(ir.Graph([x], [out], nodes=[first, last], opset_imports={"": 24}, name="test"), ir_version=10)
    assert activations(model) == ({"height": 32.0},)  # 4 channels x height / 2 x 4 columns x 4 bytes


def test_an_unknown_shape_is_an_error() -> None:
    x, out = tensor("x", "n", 10), tensor("out", "n", 10)
    unknown = ir.Value(name="a", type=FLOAT)
    with pytest.raises(RuntimeError, match="shape of a, made by Gelu"):
        activations(graph([x], [("Gelu", [x], unknown), ("MatMul", [unknown, unknown], out)]))


sizes = st.integers(1, 1000)


@given(sizes, sizes)
def test_dimensions_are_evaluated_as_python_does(a: int, b: int) -> None:
    symbols = {name: {(name,): Fraction(1)} for name in "ab"}
    parsed = polynomial.parse("4*a*b + 2*a - 1", symbols)
    assert polynomial.value(parsed, {"a": a, "b": b}) == 4 * a * b + 2 * a - 1


@pytest.mark.parametrize("text", ["a**2", "c", "Max(1, a)"])
def test_what_is_no_polynomial_is_refused(text: str) -> None:
    with pytest.raises(RuntimeError, match="no polynomial"):
        polynomial.parse(text, {"a": {("a",): Fraction(1)}})
