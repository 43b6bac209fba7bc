"""What a bundle would be in another recipe: `recipes.toml`, shares of the half-precision bundle's weights and work.

The shares are counted on DIM-4.6B's graphs by `python -m dimrt.export.outline`; those of another model of its kind are
nearly the same, since a layer's large products dominate both. What lies between products stays as it is.
"""

from functools import cache
from pathlib import Path

import msgspec

from dimrt.errors import InputError
from dimrt.manifest import FileRecord, Frozen, Graph, GraphWork, Manifest, TensorSpec

FILE = Path(__file__).parent / "recipes.toml"
BASE = "fp16"
ON_PROCESSOR = "-cpu"
"""How the names of recipes for ONNX Runtime end: the same weights, and float32 beside them."""
WIDER = 2
RECIPES = ("fp32", "fp16", "int8", "int4", "fp8", "fp32-cpu", "int8-cpu", "int4-cpu")


class Share(Frozen, frozen=True):
    """Of one graph in half precision: bytes of weights that a recipe leaves, operations it does in other formats."""

    weights: float = 1.0
    operations: dict[str, float] = msgspec.field(default_factory=dict)


@cache
def shares() -> dict[str, dict[str, Share]]:
    """By recipe and graph."""
    return msgspec.toml.decode(FILE.read_bytes(), type=dict[str, dict[str, Share]])


def in_recipe(manifest: Manifest, recipe: str) -> Manifest:
    """The manifest of the same model in another recipe; graphs keep their names, sizes are estimates.

    Raises:
        InputError: there is no such recipe, or the bundle isn't in half precision.
    """
    if recipe == manifest.recipe:
        return manifest
    if recipe not in RECIPES:
        raise InputError(f"--recipe {recipe}: give one of {', '.join(RECIPES)}")
    if manifest.recipe != BASE:
        raise InputError(
            f"--recipe {recipe}: the bundle is in {manifest.recipe}, from which no other recipe can be told; "
            f"give a bundle exported with --{BASE}"
        )
    wide = recipe.endswith(ON_PROCESSOR) or recipe == "fp32"
    changed = shares().get(recipe, {})
    graphs, files = dict(manifest.graphs), dict(manifest.files)
    for name, graph in manifest.graphs.items():
        share = changed.get(name, Share())
        graphs[name] = _graph(graph, share, wide)
        file = graph.file + ".data"
        if file in files:
            files[file] = _smaller(files[file], share, wide)
    return msgspec.structs.replace(manifest, recipe=recipe, graphs=graphs, files=files)


def _smaller(record: FileRecord, share: Share, wide: bool) -> FileRecord:
    """Weights that a recipe touches have its size; with float32 beside them, the others are twice as large."""
    size = record.size * share.weights
    if wide and share.weights == 1:
        size *= WIDER
    return msgspec.structs.replace(record, size=round(size))


def _graph(graph: Graph, share: Share, wide: bool) -> Graph:
    work = None if graph.work is None else _work(graph.work, share, wide)
    if not wide:
        return msgspec.structs.replace(graph, work=work)
    return msgspec.structs.replace(
        graph,
        work=work,
        inputs=tuple(_wide(spec) for spec in graph.inputs),
        outputs=tuple(_wide(spec) for spec in graph.outputs),
        activations=tuple(_scaled(polynomial, WIDER) for polynomial in graph.activations),
    )


def _work(work: GraphWork, share: Share, wide: bool) -> GraphWork:
    operations: dict[str, dict[str, float]] = {}
    left = 1.0 - sum(share.operations.values())
    for form, polynomial in work.operations.items():
        half = form == "float16"
        kept = "float32" if half and wide else form
        _add(operations, kept, _scaled(polynomial, left if half else 1.0))
        for other, part in share.operations.items() if half else ():
            _add(operations, other, _scaled(polynomial, part))
    intermediate = _scaled(work.intermediate, WIDER) if wide else work.intermediate
    return GraphWork(operations, intermediate)


def _add(operations: dict[str, dict[str, float]], form: str, polynomial: dict[str, float]) -> None:
    held = operations.setdefault(form, {})
    for names, factor in polynomial.items():
        held[names] = held.get(names, 0.0) + factor


def _scaled(polynomial: dict[str, float], factor: float) -> dict[str, float]:
    return {names: value * factor for names, value in polynomial.items()}


def _wide(spec: TensorSpec) -> TensorSpec:
    return msgspec.structs.replace(spec, dtype="float32") if spec.dtype == "float16" else spec
