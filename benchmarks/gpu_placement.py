"""Which provider of ONNX Runtime really runs each operator of a bundle: a profile of one run of every graph."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import onnxruntime as ort
from gpu_dimrt import Watched

from dimrt import EditOptions, Editor
from dimrt.backends.onnxruntime import PROVIDERS, OrtBackend
from dimrt.bundle import Bundle
from dimrt.photo.read import Photo


def placement(bundle: Bundle, device: str, photo: Photo) -> dict[str, Any]:
    """For every graph and provider, how many nodes of each operator ran there."""
    backend = OrtBackend(bundle, device="cuda" if device == "cuda" else "cpu")
    watched = Watched(backend)
    options = EditOptions(steps=1, max_new_tokens=2, composite="none")
    Editor(bundle, watched).edit(photo, "make it red", options)
    found: dict[str, Any] = {}
    for name, (graph, feeds, _, _) in watched.runs.items():
        types = {spec.name: spec.dtype for spec in bundle.manifest.graphs[graph].inputs}
        arrays = {key: backend.to_host(value).astype(types[key]) for key, value in feeds.items()}
        found[name] = _profile(bundle.graph_path(graph), arrays, PROVIDERS[device])
    return found


def _profile(path: Path, feeds: dict[str, Any], provider: str) -> dict[str, dict[str, int]]:
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "run")
        options.log_severity_level = 3
        session = ort.InferenceSession(str(path), options, providers=list(dict.fromkeys([provider, PROVIDERS["cpu"]])))
        session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
    counts: dict[str, Counter[str]] = {}
    for event in events:
        arguments = event.get("args", {})
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            counts.setdefault(arguments["provider"], Counter())[arguments["op_name"]] += 1
    return {provider: dict(sorted(operators.items())) for provider, operators in counts.items()}
