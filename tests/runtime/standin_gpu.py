"""A machine with a stand-in GPU: driver, library and a cache full of stand-in engines."""

import hashlib
import json
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import pytest
from standin_cuda import StandinCuda
from standin_tensorrt import MAGIC, StandinTensorRt

from dimrt.bundle import Bundle
from dimrt.engines.cache import PLAN, RECORD, EngineCache
from dimrt.engines.network import pinned_specs
from dimrt.engines.profiles import engine_profiles, graph_profile, pinned
from dimrt.engines.record import FORMAT, Identity, Record
from dimrt.engines.target import Target, load_target
from dimrt.files import atomic_write

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
WEIGHTS = 4096
LENGTH = 512
"""Cache rows of the engines."""
TARGET = """
name = "{name}"
device = "Stand-in GPU"
compute_capability = "8.9"
memory_bytes = 1_000_000_000
bandwidth = 1e9
flavour = "{flavour}"
recipe = "fp16"
residency = "{residency}"

[peak]
float16 = 1e12

[pinned]
length = {length}

[shapes.vision]
windows = [1, 16, 64]

[shapes.language]
tokens = [1, {tokens}, {tokens}]
rows = [1, 1, 8]

[shapes.encode]
height = [32, 128, 512]
width = [32, 128, 512]

[shapes.step]
height = [2, 16, 64]
width = [2, 16, 64]

[shapes.decode]
height = [2, 16, 64]
width = [2, 16, 64]
"""


def write_target(
    folder: Path,
    name: str = "standin",
    *,
    residency: str = "all",
    length: int = LENGTH,
    tokens: int = 512,
    flavour: str = "tensorrt-rtx",
) -> Path:
    """A target file for the stand-in GPU."""
    path = folder / f"{name}.toml"
    path.write_text(TARGET.format(name=name, residency=residency, length=length, tokens=tokens, flavour=flavour))
    return path


class StandinGpu:
    """What a test needs of the machine.

    Attributes:
        cuda: the driver.
        library: the flavour.
        cache: the engine cache, empty at first.
    """

    def __init__(
        self, patch: pytest.MonkeyPatch, folder: Path, *, flavour: str = "tensorrt-rtx", **settings: Any
    ) -> None:
        self.cuda = StandinCuda(**settings)
        self.library = StandinTensorRt(self.cuda, rtx=flavour == "tensorrt-rtx")
        self.cache = EngineCache(folder / "cache")
        bindings = ModuleType("cuda.bindings")
        bindings.driver = self.cuda  # type: ignore[attr-defined]
        patch.setitem(sys.modules, "cuda.bindings", bindings)
        patch.setitem(sys.modules, "cuda", SimpleNamespace(bindings=bindings))
        for name, module in MODULES.items():
            patch.setitem(sys.modules, module, self.library if name == flavour else None)
        patch.setenv("DIMRT_ENGINES", str(self.cache.root))

    def fill(self, bundle: Bundle, target: str | Path, graphs: Iterable[str] | None = None) -> list[Record]:
        """Put engines of a bundle into the cache."""
        self.cache.prepare()
        chosen = load_target(target)
        return [self.store(bundle, chosen, graph) for graph in graphs or bundle.manifest.graphs]

    def store(self, bundle: Bundle, target: Target, graph: str) -> Record:
        """Put one engine into the cache."""
        profile = graph_profile(bundle.manifest, graph, target)
        profiles = engine_profiles(profile, graph, target.flavour)
        sizes = pinned(profile)
        contract = bundle.manifest.graphs[graph]
        inputs, outputs = pinned_specs(contract.inputs, sizes), pinned_specs(contract.outputs, sizes)
        names = {spec.name for spec in inputs}
        facts = {
            "onnx": str(bundle.graph_path(graph)),
            "capabilities": [target.compute_capability],
            "inputs": [(spec.name, spec.dtype, spec.shape) for spec in inputs],
            "outputs": [(spec.name, spec.dtype, spec.shape) for spec in outputs],
            "profiles": profiles,
            "aliases": {spec.name: spec.name[:-4] for spec in outputs if spec.name[:-4] in names},
            "weights": WEIGHTS,
        }
        plan = MAGIC + json.dumps(facts).encode()
        identity = Identity(
            bundle=bundle.digest,
            graph=graph,
            flavour=target.flavour,
            version=self.library.__version__,
            capabilities=(str(target.compute_capability),),
            device=self.cuda.name if target.flavour == "tensorrt" else None,
            driver=str(self.cuda.driver) if target.flavour == "tensorrt" else None,
            profiles=profiles,
        )
        record = Record(
            format=FORMAT,
            identity=identity,
            target=target.name,
            name=bundle.manifest.name,
            recipe=bundle.manifest.recipe,
            inputs=inputs,
            outputs=outputs,
            profiles=profiles,
            plan_bytes=len(plan),
            sha256=hashlib.sha256(plan).hexdigest(),
            weights_bytes=WEIGHTS,
            build_seconds=0.0,
            peak_rss=0,
            decomposed=False,
            cuda_graph=graph in ("language", "step"),
            created=datetime.now(timezone.utc).isoformat(timespec="microseconds"),
        )
        with self.cache.staging(record.key) as folder:
            (folder / PLAN).write_bytes(plan)
            with atomic_write(folder / RECORD) as file:
                file.write(msgspec.json.encode(record))
        return record
