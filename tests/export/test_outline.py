"""What recipes are said to leave of a graph, against what quantizing it leaves."""

from pathlib import Path

import pytest
from quantizing import made_up, recipe_of, traced
from tiny import write_tiny_checkpoint

from dimrt.export.graphs.work import work
from dimrt.export.model.assembly import DIM
from dimrt.export.model.dim import load_dim
from dimrt.export.outline import Part, parts, shares
from dimrt.export.precision import FP16, RECIPES, Rule
from dimrt.export.precision.quantize import quantize
from dimrt.manifest import Graph, Measured
from dimrt.memory.count import evaluate


@pytest.fixture(scope="module")
def dim(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> DIM:
    return load_dim(write_tiny_checkpoint(reference, tmp_path_factory.mktemp("model") / "tiny", "edit"))


def part_of(dim: DIM, name: str) -> tuple[Part, dict[str, int]]:
    """A graph in half precision, and the sizes it was traced at."""
    definition, model, made = traced(dim, name, FP16)
    record = Graph(name, definition.inputs, definition.outputs, Measured(0, 0, 0, 0), work=work(model))
    size = sum(slot.nbytes for piece in made for slot in piece.slots)
    return Part(record, model, size), {axis: found.example for axis, found in definition.axes.items()}


@pytest.mark.parametrize(
    ("name", "form"),
    [("connector", "w8a16"), ("connector", "w4a16"), ("connector", "w8a8"), ("connector", "fp8"), ("step", "w8a8")],
)
def test_shares_are_those_of_the_quantized_graph(dim: DIM, name: str, form: str) -> None:
    recipe = recipe_of(FP16, Rule(name, "*.weight", form, scaling=False))
    part, sizes = part_of(dim, name)
    found = shares({name: part}, {name: sizes}, recipe)[name]
    _, model, made = traced(dim, name, FP16)
    written = quantize(model, made, name, recipe, made_up(model, name))
    size = sum(slot.nbytes for piece in written for slot in piece.slots)
    assert found.weights == pytest.approx(size / part.size, abs=0.01)
    operations = {kind: evaluate(terms, sizes) for kind, terms in work(model).operations.items()}
    for kind, share in found.operations.items():
        assert share == pytest.approx(operations[kind] / sum(operations.values()), abs=1e-3)
    assert set(found.operations) == set(operations) - {"float16", "float32"}


def test_graphs_that_a_recipe_leaves_alone_have_no_share(dim: DIM) -> None:
    part, sizes = part_of(dim, "connector")
    assert shares({"connector": part}, {"connector": sizes}, recipe_of(FP16, Rule("step", "*", "w8a16"))) == {}


def test_only_an_unquantized_recipe_has_an_outline() -> None:
    with pytest.raises(ValueError, match="int8: only an unquantized recipe"):
        parts(None, RECIPES["int8"])  # type: ignore[arg-type]
