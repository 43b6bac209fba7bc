"""Help for tests of quantized graphs: tiny models, made-up statistics, sessions."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray

from dimrt.export import graphs
from dimrt.export.graphs.contract import GraphDefinition
from dimrt.export.graphs.weights import Piece, pieces, write_weights
from dimrt.export.graphs.write import trace
from dimrt.export.model.assembly import DIM
from dimrt.export.precision import Recipe, Rule
from dimrt.export.precision.quantize import quantize
from dimrt.export.precision.sites import find_sites, names_of, widths
from dimrt.export.precision.statistics import InputStatistics, Statistics

Array = NDArray[Any]
_TRACED: dict[tuple[int, str, str], tuple[GraphDefinition, ir.Model]] = {}


def recipe_of(base: Recipe, *rules: Rule) -> Recipe:
    """`base` with other rules."""
    return msgspec.structs.replace(base, rules=rules)


def traced(dim: DIM, graph: str, recipe: Recipe) -> tuple[GraphDefinition, ir.Model, list[Piece]]:
    """A graph of a model, and its float pieces. Tracing takes seconds, so every graph is traced once."""
    key = id(dim), graph, recipe.dtypes[graph]
    if key not in _TRACED:
        definition = graphs.define(graph, dim, recipe)
        _TRACED[key] = definition, trace(definition)
    definition, model = _TRACED[key]
    model = model.clone()
    return definition, model, pieces(definition, model)


def quantized(
    dim: DIM, graph: str, recipe: Recipe, statistics: Statistics | None, path: Path
) -> tuple[GraphDefinition, Path]:
    """A graph in a recipe's formats, written."""
    definition, model, made = traced(dim, graph, recipe)
    write_weights(model, quantize(model, made, graph, recipe, statistics), path)
    return definition, path


def made_up(model: ir.Model, graph: str, seed: int = 0, uneven: float = 1.0) -> Statistics:
    """Statistics of normal activations whose channels differ in size by up to `uneven`."""
    random = np.random.default_rng(seed)
    statistics = Statistics(source="made up")
    sizes = widths(model)
    for site in find_sites(model):
        names = list(names_of(site))
        scale = uneven ** random.uniform(0, 1, sizes[names[0]])
        rows = (random.standard_normal((64, sizes[names[0]])) * scale).astype(np.float32)
        entry = InputStatistics(np.abs(rows).max(0), np.abs(rows).mean(0), rows, 64)
        statistics.graphs.setdefault(graph, {}).update(dict.fromkeys(names, entry))
    return statistics


def feeds_of(definition: GraphDefinition, seed: int = 1) -> dict[str, Array]:
    """Normal numbers for float inputs, zeros for indices."""
    random = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for spec, example in zip(definition.inputs, definition.example(), strict=True):
        shape = tuple(example.shape)
        values = np.zeros(shape) if spec.dtype == "int64" else random.standard_normal(shape)
        feeds[spec.name] = values.astype(spec.dtype)
    return feeds


def run(path: Path, feeds: Mapping[str, Array], accuracy: int = 1) -> list[Array]:
    """All outputs on the CPU. `accuracy` 1 computes weight-only products in float32, 4 in int8 as by default."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", str(accuracy))
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(feeds))


def optimized_nodes(path: Path, folder: Path) -> Counter[str]:
    """How often each operator occurs after ONNX Runtime's optimizer."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    model = onnx.load(folder / "optimized.onnx", load_external_data=False)
    return Counter(node.op_type for node in model.graph.node)


def relative(got: Array, expected: Array) -> float:
    """Norm of the difference over norm of the reference."""
    difference = got.astype(np.float64) - expected.astype(np.float64)
    return float(np.linalg.norm(difference) / np.linalg.norm(expected.astype(np.float64)))
