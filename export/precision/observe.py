"""Graphs that also tell what enters their products, and a backend that collects it while the chain runs."""

import os
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx_ir as ir

from dimrt.backends.base import Engine, Merged, Tensor
from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import Bundle
from dimrt.export.precision.sites import find_sites, names_of
from dimrt.export.precision.statistics import InputStatistics, Statistics

PREFIX = "observed."
ROWS = 32
"""Rows sampled of each input in each run, evenly spread."""
Chosen = Callable[[str, str], bool]
"""Whether the input of a weight is observed: (graph, weight name)."""


def observed_graph(source: Path, target: Path, chosen: Callable[[str], bool]) -> list[tuple[str, ...]]:
    """Write a copy of a graph with outputs for every chosen input: largest and mean |x| a channel, rows, their count.

    What is added takes one copy of one input at a time and gives a few rows back, however large the picture.

    Args:
        source: the graph; its data file lies beside it.
        target: where the copy goes. The data file is linked, or copied where links can't be made.
        chosen: by weight name.

    Returns:
        For each observed input, in the order of the numbers in the outputs' names, the weights it enters.
    """
    model = ir.load(source)
    observed = []
    for site in find_sites(model):
        names = tuple(name for name in names_of(site) if chosen(name))
        if names:
            width = int(site.products[0].node.inputs[1].shape[0])
            _observe(model, site.value, width, f"{PREFIX}{len(observed)}.")
            observed.append(names)
    data = source.with_name(source.name + ".data")
    if data.is_file():
        _link(data, target.with_name(data.name))
    target.write_bytes(ir.to_proto(model).SerializeToString())
    return observed


def _observe(model: ir.Model, value: ir.Value, width: int, prefix: str) -> None:
    graph = model.graph

    def constant(name: str, values: Any) -> ir.Value:
        tensor = ir.tensor(np.asarray(values), name=prefix + name)
        made = ir.Value(name=tensor.name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
        graph.register_initializer(made)
        return made

    def node(kind: str, inputs: list[ir.Value], name: str, **attributes: Any) -> ir.Value:
        made = ir.node(kind, inputs, attributes, outputs=[ir.Value(name=prefix + name)], name=prefix + name)
        graph.append(made)
        return made.outputs[0]

    def output(made: ir.Value, dtype: ir.DataType, shape: list[int | str]) -> None:
        made.shape, made.dtype = ir.Shape(shape), dtype
        graph.outputs.append(made)

    first, one, half, many = (constant(name, [n]) for name, n in (("0", 0), ("1", 1), ("2", 2), ("n", ROWS)))
    end = constant("end", [np.iinfo(np.int64).max])
    wide = node("Cast", [value], "wide", to=ir.DataType.FLOAT)
    flat = node("Reshape", [wide, constant("shape", [-1, width])], "flat")
    size = node("Abs", [flat], "size")
    output(node("ReduceMax", [size, first], "largest", keepdims=0), ir.DataType.FLOAT, [width])
    output(node("ReduceMean", [size, first], "mean", keepdims=0), ir.DataType.FLOAT, [width])
    count = node("Shape", [flat], "count", start=0, end=1)
    output(count, ir.DataType.INT64, [1])
    step = node("Max", [node("Div", [count, many], "share"), one], "step")
    rows = node("Slice", [flat, node("Div", [step, half], "begin"), end, first, step], "rows")
    output(rows, ir.DataType.FLOAT, [prefix + "rows", width])


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


class _ObservedBundle(Bundle):
    """A bundle whose graphs are the observed copies."""

    def __init__(self, bundle: Bundle, graphs: Mapping[str, Path]) -> None:
        super().__init__(bundle.path, bundle.manifest, bundle.digest)
        self._graphs = graphs

    def graph_path(self, name: str) -> Path:
        return self._graphs.get(name) or super().graph_path(name)


class _ObservedEngine:
    """An engine that hands the extra outputs to the collector and the rest to the caller."""

    def __init__(self, engine: Any, inputs: list[InputStatistics]) -> None:
        self._engine = engine
        self._inputs = inputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def bind(self, feeds: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> Merged:
        """Every run is seen whole."""
        return Merged(cast(Engine, self), feeds, into)

    def run(
        self, feeds: Mapping[str, Tensor], *, into: Mapping[str, Tensor] | None = None, keep: Collection[str] = ()
    ) -> dict[str, Tensor]:
        """As the engine's own."""
        outputs = self._engine.run(feeds, into=into, keep=keep)
        for number, entry in enumerate(self._inputs):
            largest, mean, rows, count = (
                outputs.pop(f"{PREFIX}{number}.{name}") for name in ("largest", "mean", "rows", "count")
            )
            entry.add(largest, mean, rows[:ROWS], int(count[0]))
        return outputs


class ObservedBackend(OrtBackend):
    """ONNX Runtime on the CPU over observed copies of a bundle's graphs.

    Attributes:
        statistics: of everything run so far.
    """

    def __init__(self, bundle: Bundle, chosen: Chosen, folder: Path, *, threads: int | None = None) -> None:
        """Write the observed graphs into `folder`, which must outlive the backend."""
        self.statistics = Statistics()
        self._inputs: dict[str, list[InputStatistics]] = {}
        graphs = {}
        for graph in bundle.manifest.graphs:
            source = bundle.graph_path(graph)
            observed = observed_graph(source, folder / source.name, lambda name, graph=graph: chosen(graph, name))
            if observed:
                graphs[graph] = folder / source.name
                self._collect(graph, folder / source.name, observed)
        super().__init__(_ObservedBundle(bundle, graphs), threads=threads)

    def engine(self, graph: str) -> Any:
        """Load a graph, or return the loaded one."""
        return _ObservedEngine(super().engine(graph), self._inputs.get(graph, []))

    def _collect(self, graph: str, path: Path, observed: list[tuple[str, ...]]) -> None:
        outputs = {value.name: value.shape for value in ir.load(path).graph.outputs}
        entries = []
        for number, names in enumerate(observed):
            entries.append(InputStatistics.empty(int(outputs[f"{PREFIX}{number}.largest"][0])))
            self.statistics.graphs.setdefault(graph, {}).update(dict.fromkeys(names, entries[-1]))
        self._inputs[graph] = entries
