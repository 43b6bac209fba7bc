"""dimrt runs one of its graphs: the exported bundle on its own backend."""

from pathlib import Path

import numpy as np
from common import versions
from peers.protocol import Json, clocked, serve

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import Bundle


class DimrtGraph:
    """One engine and its inputs."""

    def __init__(self, task: Json) -> None:
        bundle = Bundle.open(task["bundle"], verify="layout")
        backend = OrtBackend(bundle, threads=task["threads"])
        self._engine = backend.engine(task["graph"])
        names = [spec.name for spec in bundle.manifest.graphs[task["graph"]].inputs]
        with np.load(task["inputs"]) as arrays:
            self._feeds = {name: arrays[name] for name in names}
        self._result = np.empty(0, np.float32)
        self.facts = {
            "versions": versions(("dimrt", "onnxruntime")),
            "runs": backend.name,
            "weight_bytes": bundle.graph_bytes(task["graph"]),
            "differs": "keys and values of the condition come from `context`, once an edit, outside of this time"
            if task["graph"] == "step"
            else "",
        }

    def run(self) -> Json:
        """Once."""
        seconds: dict[str, float] = {}
        with clocked(seconds, "run"):
            outputs = self._engine.run(self._feeds)
        self._result = next(iter(outputs.values()))
        return {"seconds": seconds, "shape": list(self._result.shape), "sum": float(self._result.sum())}

    def keep(self, path: Path) -> None:
        """The graph's first output."""
        np.save(path, self._result)


if __name__ == "__main__":
    serve(DimrtGraph)
