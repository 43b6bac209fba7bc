"""A bundle as it would be in another recipe."""

from collections.abc import Iterator

import msgspec
import pytest

from dimrt.bundle import NANO, Bundle
from dimrt.errors import InputError
from dimrt.manifest import Manifest
from dimrt.memory.fits import estimate
from dimrt.predict.models import bundle_in, is_model, model, model_names
from dimrt.predict.recipes import RECIPES, in_recipe, shares


@pytest.fixture(scope="module")
def nano() -> Bundle:
    return Bundle.open(NANO, verify="layout")


def sizes(manifest: Manifest) -> dict[str, int]:
    """Bytes of weights of every graph."""
    return {name: manifest.files[graph.file + ".data"].size for name, graph in manifest.graphs.items()}


def operations(manifest: Manifest, graph: str) -> dict[str, dict[str, float]]:
    work = manifest.graphs[graph].work
    assert work is not None
    return work.operations


def total(polynomials: dict[str, dict[str, float]]) -> dict[str, float]:
    """Operations of all formats, by monomial."""
    found: dict[str, float] = {}
    for polynomial in polynomials.values():
        for names, factor in polynomial.items():
            found[names] = found.get(names, 0.0) + factor
    return found


@pytest.fixture(params=[recipe for recipe in RECIPES if recipe != "fp16"])
def recipe(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def test_no_recipe_changes_how_much_there_is_to_do(nano: Bundle, recipe: str) -> None:
    made = in_recipe(nano.manifest, recipe)
    assert made.recipe == recipe
    for graph in nano.manifest.graphs:
        assert total(operations(made, graph)) == pytest.approx(total(operations(nano.manifest, graph)))


def test_weights_have_a_recipes_size(nano: Bundle) -> None:
    half = sizes(nano.manifest)
    for recipe, of_graphs in shares().items():
        made = sizes(in_recipe(nano.manifest, recipe))
        for graph, size in half.items():
            left = 2.0 if recipe.endswith("-cpu") else 1.0
            share = of_graphs[graph].weights if graph in of_graphs else left
            assert made[graph] == round(share * size)
    assert sizes(in_recipe(nano.manifest, "fp32")) == {graph: 2 * size for graph, size in half.items()}
    processor, quantized = (sizes(in_recipe(nano.manifest, name)) for name in ("int8-cpu", "int8"))
    assert processor["language"] == quantized["language"] and processor["decode"] == 2 * half["decode"]


def test_only_int8_and_fp8_arithmetic_moves(nano: Bundle) -> None:
    assert set(operations(in_recipe(nano.manifest, "int4"), "language")) == {"float16"}  # weights alone are int4
    assert "int8" in operations(in_recipe(nano.manifest, "int8"), "step")
    assert "fp8" in operations(in_recipe(nano.manifest, "fp8"), "language")
    assert set(operations(in_recipe(nano.manifest, "int8-cpu"), "step")) == {"float32", "int8"}
    assert set(operations(in_recipe(nano.manifest, "int4-cpu"), "language")) == {"float32", "int8"}


def test_a_processors_recipe_has_no_half_precision_left(nano: Bundle) -> None:
    made = in_recipe(nano.manifest, "int8-cpu")
    for graph in made.graphs.values():
        assert "float16" not in {spec.dtype for spec in (*graph.inputs, *graph.outputs)}
        assert graph.work is not None and "float16" not in graph.work.operations
    # ONNX Runtime widens half precision by itself, so the memory of fp32 is what fp16 takes there, but for copies.
    assert estimate(bundle_in(nano, "fp32")).peak <= estimate(nano).peak


def test_from_a_quantized_bundle_no_other_recipe_is_told(nano: Bundle) -> None:
    quantized = msgspec.structs.replace(nano.manifest, recipe="int8")
    with pytest.raises(InputError, match=r"the bundle is in int8.*exported with --fp16"):
        in_recipe(quantized, "fp8")
    assert in_recipe(quantized, "int8") is quantized


def test_unknown_recipes_are_refused(nano: Bundle) -> None:
    with pytest.raises(InputError, match="--recipe int2: give one of fp32, fp16"):
        in_recipe(nano.manifest, "int2")


@pytest.mark.parametrize("name", model_names())
def test_outlines_are_manifests_of_full_size_in_half_precision(name: str) -> None:
    assert is_model(name)
    made = model(name)
    assert made.manifest.recipe == "fp16" and made.manifest.name == "DIM-4.6B-Edit"
    assert sum(sizes(made.manifest).values()) == pytest.approx(11.4e9, rel=0.05)
    assert all(graph.work is not None and graph.activations for graph in made.manifest.graphs.values())


def test_other_words_are_no_models() -> None:
    assert not is_model("nano") and not is_model(None)
