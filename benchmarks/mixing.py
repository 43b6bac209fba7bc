"""One editor made of two bundles' graphs: what a single graph's precision costs is seen with the other six kept.

The bundles are two recipes of one checkpoint. Chosen graphs are run by the other bundle's backend, all the rest by the
base's, and each brings the tables that belong to it (the embedding rows go with `language`, the null condition with
`context`). Tensors that cross from a graph of one recipe to a graph of another are rounded or widened to the dtype
that the receiving graph's contract states, and nothing else is done to them: a float16 context from `context` becomes
float32 for a float32 `step`, as exact as a widening is. The painter's latents are float32 in every recipe.
"""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dimrt.backends.base import Array, Backend, Engine, Merged, Tensor
from dimrt.bundle import Bundle
from dimrt.editor import Editor
from dimrt.manifest import Graph

TABLE_OWNERS = {"embeddings": "language", "null_condition": "context"}
"""Table to the graph that its values go into."""


class MixedBundle(Bundle):
    """The base bundle with the records and tables of some graphs taken from another."""

    def __init__(self, base: Bundle, other: Bundle, taken: Collection[str]) -> None:
        """`taken` names the graphs of `other`."""
        graphs = {name: (other if name in taken else base).manifest.graphs[name] for name in base.manifest.graphs}
        super().__init__(base.path, msgspec.structs.replace(base.manifest, graphs=graphs), base.digest)
        self._sources = {name: other if name in taken else base for name in graphs}

    def graph_path(self, name: str) -> Any:
        """The ONNX file in the bundle that the graph is taken from."""
        return self._sources[name].graph_path(name)

    def table(self, name: str) -> NDArray[Any]:
        """The table of the bundle that its graph is taken from."""
        return self._sources[TABLE_OWNERS[name]].table(name)


class MixedEngine:
    """One graph behind a border that casts device tensors; arrays are cast by the engine itself."""

    def __init__(self, engine: Engine, graph: Graph, backend: Backend) -> None:
        self._engine = engine
        self._backend = backend
        self._dtypes = {spec.name: np.dtype(spec.dtype) for spec in graph.inputs}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def bind(self, feeds: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> Merged:
        """Every run passes the border."""
        return Merged(self, feeds, into)

    def run(
        self, feeds: Mapping[str, Tensor], *, into: Mapping[str, Tensor] | None = None, keep: Collection[str] = ()
    ) -> dict[str, Tensor]:
        """Run once; see `dimrt.backends.base.Engine`. Tensors that are written in place are passed as they are."""
        written = {id(tensor) for tensor in (into or {}).values()}
        cast = {
            name: value if isinstance(value, np.ndarray) or id(value) in written else self._cast(name, value)
            for name, value in feeds.items()
        }
        return self._engine.run(cast, into=into, keep=keep)

    def _cast(self, name: str, tensor: Tensor) -> Tensor:
        values = self._backend.to_host(tensor)
        return tensor if values.dtype == self._dtypes[name] else values.astype(self._dtypes[name])


class MixedBackend:
    """Two backends of the same kind and device, one for each bundle; graphs stay loaded in the backend they are of."""

    def __init__(self, bundle: MixedBundle, base: Backend, other: Backend, taken: Collection[str]) -> None:
        self._bundle = bundle
        self._base, self._other = base, other
        self._taken = frozenset(taken)
        self.name = base.name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)

    def engine(self, graph: str) -> MixedEngine:
        """The graph from the backend that it is taken from."""
        engine = self._of(graph).engine(graph)
        return MixedEngine(engine, self._bundle.manifest.graphs[graph], self._base)

    def to_device(self, array: Array) -> Tensor:
        """A device tensor; both backends are of one device and take it."""
        return self._base.to_device(array)

    def to_host(self, tensor: Tensor) -> Array:
        """A tensor's values, whichever of the two made it."""
        return self._base.to_host(tensor)

    def release(self, graph: str) -> None:
        """Drop a graph."""
        self._of(graph).release(graph)

    def _of(self, graph: str) -> Backend:
        return self._other if graph in self._taken else self._base


def mixed_editor(base: tuple[Bundle, Backend], other: tuple[Bundle, Backend], taken: Collection[str]) -> Editor:
    """An editor on the base whose graphs `taken` are the other's."""
    bundle = MixedBundle(base[0], other[0], taken)
    return Editor(bundle, MixedBackend(bundle, base[1], other[1], taken))
