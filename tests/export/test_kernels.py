"""ONNX Runtime's own operators against the standard ones: same numbers, fewer products."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from quantizing import Array, feeds_of, made_up, recipe_of, run, traced
from tiny import write_tiny_checkpoint

from dimrt.export.graphs.contract import GraphDefinition
from dimrt.export.graphs.kernels import use_own_kernels
from dimrt.export.graphs.weights import Piece, write_weights
from dimrt.export.model.assembly import DIM
from dimrt.export.model.dim import load_dim
from dimrt.export.precision import FP32, Rule
from dimrt.export.precision.quantize import quantize
from dimrt.vision import MASKED

FORMS = {
    "float": (),
    "int8": (Rule("language", "*", "w8a16"),),
    "int4": (Rule("language", "*", "w4a16", group=16),),
    "one otherwise": (Rule("language", "*.key.weight", "w8a16"),),
}


@pytest.fixture(scope="module")
def dim(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> DIM:
    return load_dim(write_tiny_checkpoint(reference, tmp_path_factory.mktemp("model") / "tiny", "edit"))


def language(dim: DIM, rules: tuple[Rule, ...]) -> tuple[GraphDefinition, ir.Model, list[Piece]]:
    definition, model, made = traced(dim, "language", FP32)
    if rules:
        made = quantize(model, made, "language", recipe_of(FP32, *rules), made_up(model, "language"))
    return definition, model, made


def in_the_middle(definition: GraphDefinition, start: int) -> tuple[dict[str, Array], int]:
    """A run whose tokens follow `start` others in the cache, and the rows in use after it."""
    feeds = feeds_of(definition)
    count, length = feeds["mask"].shape[2:]
    feeds["position"] = np.array([start])
    feeds["mask"] = np.where(np.arange(length) <= start + np.arange(count)[:, None], 0, MASKED)[None, None]
    feeds["mask"] = feeds["mask"].astype(np.float32)
    return feeds, start + count


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("start", [0, 1, 7])
def test_the_same_numbers(dim: DIM, form: str, start: int, tmp_path: Path) -> None:
    definition, plain, made = language(dim, FORMS[form])
    write_weights(plain, made, tmp_path / "plain.onnx")
    _, own, made = language(dim, FORMS[form])
    write_weights(own, use_own_kernels(own, made), tmp_path / "own.onnx")
    feeds, used = in_the_middle(definition, start)
    for spec, want, got in zip(
        definition.outputs, run(tmp_path / "plain.onnx", feeds), run(tmp_path / "own.onnx", feeds), strict=True
    ):
        rows = slice(used) if spec.name.endswith("_out") else slice(None)
        np.testing.assert_allclose(got[:, :, rows], want[:, :, rows], rtol=1e-4, atol=2e-5, err_msg=spec.name)


@pytest.mark.parametrize(("form", "products"), [("float", 5), ("int8", 5), ("int4", 5), ("one otherwise", 7)])
def test_query_key_and_value_are_one_product_where_they_are_held_alike(dim: DIM, form: str, products: int) -> None:
    _, model, made = language(dim, FORMS[form])
    made = use_own_kernels(model, made)
    layers = len(dim.designer.model.language_model.layers)
    assert sum(node.op_type == "MatMul" for node in model.graph) == products * layers + 1
    left = {name for name in model.graph.initializers if ".query." in name or ".value." in name}
    assert bool(left) == (form == "one otherwise")
    slots = {slot.name for piece in made for slot in piece.slots}
    without = {name for name, value in model.graph.initializers.items() if value.const_value is None}
    assert slots == without


def test_joined_weights_stand_where_the_first_stood(dim: DIM) -> None:
    _, model, made = language(dim, ())
    before = [piece.slots[0].name for piece in made]
    after = [piece.slots[0].name for piece in use_own_kernels(model, made)]
    kept = [name for name in before if not any(f".{part}.weight" in name for part in ("key", "value"))]
    assert after == [name.replace(".query.", ".query_key_value.") for name in kept]
