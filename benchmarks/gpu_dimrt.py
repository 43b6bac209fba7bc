"""dimrt's side of `gpu.py`: the graphs of a bundle on a backend, timed with what a real edit feeds them."""

import time
from collections.abc import Collection, Mapping
from typing import Any, cast

from gpu_torch import Sizes

from dimrt import EditOptions, Editor
from dimrt.backends.base import Backend, Engine, Merged, Tensor
from dimrt.photo.read import Photo


class WatchedEngine:
    """Passes every run on and keeps what it was fed."""

    def __init__(self, graph: str, engine: Engine, watched: "Watched") -> None:
        self._graph, self._engine, self._watched = graph, engine, watched

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def bind(self, feeds: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> Merged:
        """Every run is seen whole."""
        return Merged(cast(Engine, self), feeds, into)

    def run(
        self, feeds: Mapping[str, Tensor], *, into: Mapping[str, Tensor] | None = None, keep: Collection[str] = ()
    ) -> dict[str, Tensor]:
        """Run once."""
        shapes = {name: self._watched.shape(value) for name, value in feeds.items()}
        name = self._graph
        if name == "language":
            name = "decode_token" if shapes["embeddings"][1] == 1 else "prefill"
        known = self._watched.runs.get(name)
        # Of several reads the longest is kept: the prefix with the picture.
        if known is None or name != "prefill" or shapes["embeddings"][1] >= known[3]["embeddings"][1]:
            self._watched.runs[name] = (self._graph, dict(feeds), (dict(into or {}), tuple(keep)), shapes)
        return self._engine.run(feeds, into=into, keep=keep)


class Watched:
    """Wraps a backend; `runs` holds the last run of every graph, of `language` the longest read and the last token."""

    steady_rows = False
    """Plans are written token by token, as the other side writes them."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.runs: dict[str, tuple[str, dict[str, Tensor], Any, dict[str, tuple[int, ...]]]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def engine(self, graph: str) -> WatchedEngine:
        """The engine, watched."""
        return WatchedEngine(graph, self._backend.engine(graph), self)


class DimrtSide:
    """One bundle on one backend.

    Attributes:
        sizes: of the edit that was run first.
        seconds: wall-clock time of that first edit, loading included.
    """

    def __init__(self, editor: Editor, photo: Photo, instruction: str, options: EditOptions) -> None:
        self.editor, self._photo, self._instruction, self._options = editor, photo, instruction, options
        backend = editor._backend
        watched = Watched(backend)
        start = time.perf_counter()
        Editor(editor.bundle, watched).edit(photo, instruction, options)
        self.seconds = time.perf_counter() - start
        self._runs = watched.runs
        self.sizes = self._sizes()

    @property
    def guidance_scale(self) -> float:
        """Of the edits."""
        return self.editor.bundle.manifest.schedule.guidance_scale

    def time(self, name: str, count: int) -> list[float]:
        """Seconds of single runs of one graph, each waited for."""
        graph, feeds, (into, keep), _ = self._runs[name]
        backend = self.editor._backend
        if backend.residency == "phased":
            for other in {other for other, *_ in self._runs.values()} - {graph}:
                backend.release(other)
        engine = backend.engine(graph)
        seconds = []
        for number in range(count + 3):
            backend.finish()
            start = time.perf_counter()
            engine.run(feeds, into=into, keep=keep)
            backend.finish()
            if number >= 3:  # the first ones run as they are, or are captured
                seconds.append(time.perf_counter() - start)
        return seconds

    def names(self) -> list[str]:
        """What can be timed."""
        return list(self._runs)

    def edit(self, photo: Photo) -> tuple[float, dict[str, float], int]:
        """Wall-clock seconds of an edit, of its phases, and the tokens of its plan."""
        events: list[Any] = []
        start = time.perf_counter()
        result = self.editor.edit(photo, self._instruction, self._options, on_event=events.append)
        seconds = time.perf_counter() - start
        tokens = sum(getattr(event, "phase", "") == "plan" and hasattr(event, "done") for event in events)
        return seconds, result.timings, tokens

    def weight_bytes(self) -> dict[str, int]:
        """Bytes of each graph's files."""
        return {name: self.editor.bundle.graph_bytes(run[0]) for name, run in self._runs.items()}

    def _sizes(self) -> Sizes:
        shapes = {name: run[3] for name, run in self._runs.items()}
        vision = self.editor.bundle.manifest.designer.vision
        token_run = shapes.get("decode_token") or shapes["prefill"]
        merged = shapes["vision"]["order"][0]
        rows = next(n for n in range(int(merged**0.5), 0, -1) if merged % n == 0)
        grid = rows * vision.merge_size, merged // rows * vision.merge_size
        return Sizes(
            grid=grid,
            tokens=shapes["prefill"]["embeddings"][1],
            cache=token_run["key_0"][2],
            condition=shapes["context"]["condition"][1],
            pixels=shapes["encode"]["pixels"][2:],  # type: ignore[arg-type]
            latent=shapes["step"]["latent"][2:],  # type: ignore[arg-type]
        )
