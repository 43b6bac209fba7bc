"""A backend that notes every run of a graph as it passes it on: what ran, with which shapes, and how long it took."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from dimrt.backends.base import Backend, Engine, Merged, Tensor
from dimrt.manifest import Graph


@dataclass
class Call:
    """Runs of one graph with the same axes.

    Attributes:
        graph: its name.
        axes: size of each named dimension.
        feeds, into, keep: of the last run, to run it once more.
        seconds: of every run, with the wait for its end.
    """

    graph: str
    axes: dict[str, int]
    feeds: Mapping[str, Tensor]
    into: Mapping[str, Tensor] | None
    keep: Collection[str]
    seconds: list[float] = field(default_factory=list)


class Recorder:
    """Everything of a backend, and notes of what was loaded and run.

    Attributes:
        calls: by graph and axes.
        loads: seconds that the first request for each engine took.
    """

    def __init__(self, backend: Backend, graphs: Mapping[str, Graph]) -> None:
        """Watch a backend; `graphs` are the contracts of the manifest."""
        self._backend = backend
        self._graphs = graphs
        self.calls: dict[tuple[str, tuple[tuple[str, int], ...]], Call] = {}
        self.loads: dict[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """What the editor sets (`residency`) is the backend's."""
        if name in ("_backend", "_graphs", "calls", "loads"):
            super().__setattr__(name, value)
        else:
            setattr(self._backend, name, value)

    def engine(self, graph: str) -> Engine:
        """The backend's engine, watched."""
        start = time.perf_counter()
        engine = self._backend.engine(graph)
        self.loads.setdefault(graph, time.perf_counter() - start)
        return cast(Engine, _Watched(self, graph, engine))

    def run(
        self, graph: str, engine: Engine, feeds: Mapping[str, Tensor], options: dict[str, Any]
    ) -> dict[str, Tensor]:
        """Run, and note it."""
        start = time.perf_counter()
        outputs = engine.run(feeds, **options)
        self._backend.finish()
        seconds = time.perf_counter() - start
        axes = axes_of(self._graphs[graph], {name: self._backend.shape(value) for name, value in feeds.items()})
        key = graph, tuple(axes.items())
        held = self.calls.get(key)
        before = held.seconds if held else []
        self.calls[key] = Call(
            graph, axes, dict(feeds), options.get("into"), options.get("keep", ()), [*before, seconds]
        )
        return outputs

    def contract(self, graph: str) -> Graph:
        """A graph's inputs and outputs, as the manifest has them."""
        return self._graphs[graph]

    def first_run(self, graph: str) -> float | None:
        """Seconds of a graph's first run, of whatever shape; None when it never ran."""
        return next((call.seconds[0] for call in self.calls.values() if call.graph == graph), None)


class _Watched:
    """One engine; everything but `run` is its own."""

    def __init__(self, recorder: Recorder, graph: str, engine: Engine) -> None:
        self._recorder, self._graph, self._engine = recorder, graph, engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def bind(self, feeds: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> Merged:
        """Every run is seen whole."""
        return Merged(cast(Engine, self), feeds, into)

    def run(self, feeds: Mapping[str, Tensor], **options: Any) -> dict[str, Tensor]:
        """As the engine."""
        return self._recorder.run(self._graph, self._engine, feeds, options)


def axes_of(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Sizes of a graph's named dimensions, from the shapes of its inputs by name ("height*32" and "height/8" too)."""
    found: dict[str, int] = {}
    for spec in graph.inputs:
        for side, size in zip(spec.shape, shapes.get(spec.name, ()), strict=False):
            if not isinstance(side, str):
                continue
            name, sign = side, ""
            for mark in "*/":
                if mark in side:
                    name, sign = side.split(mark)[0], mark
            factor = int(side.partition(sign)[2]) if sign else 1
            found.setdefault(name, size * factor if sign == "/" else size // factor)
    return found
