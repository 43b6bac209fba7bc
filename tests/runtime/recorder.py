"""A backend that remembers what its engines were fed, to see inside the chain without changing it."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from dimrt.backends.base import Array, Backend, Engine, Merged, Tensor


class RecordingEngine:
    """Passes every run on and notes its inputs on the host."""

    def __init__(self, graph: str, engine: Engine, backend: "RecordingBackend") -> None:
        self._graph, self._engine, self._backend = graph, engine, backend

    def run(
        self, feeds: Mapping[str, Tensor], *, into: Mapping[str, Tensor] | None = None, keep: Collection[str] = ()
    ) -> dict[str, Tensor]:
        noted = {name: np.array(self._backend.to_host(value)) for name, value in feeds.items()}
        self._backend.runs.append((self._graph, noted))
        return self._engine.run(feeds, into=into, keep=keep)

    def bind(self, feeds: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> Merged:
        return Merged(self, feeds, into)

    def limit(self, axis: str) -> int | None:
        return self._engine.limit(axis)

    def pinned(self, axis: str) -> int | None:
        return self._engine.pinned(axis)


class RecordingBackend:
    """Wraps a backend; `runs` lists (graph, inputs) in order."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.runs: list[tuple[str, dict[str, Array]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def engine(self, graph: str) -> RecordingEngine:
        return RecordingEngine(graph, self._backend.engine(graph), self)

    def feeds(self, graph: str) -> list[dict[str, Array]]:
        """Inputs of every run of one graph."""
        return [noted for name, noted in self.runs if name == graph]
