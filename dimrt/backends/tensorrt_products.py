"""One graph from memory as a TensorRT engine, built on the spot and kept nowhere: how products are measured."""

import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from dimrt.backends.cuda import Device
from dimrt.backends.cuda_memory import Memory
from dimrt.backends.lane import Lane
from dimrt.backends.tensorrt_binding import Binding, Call
from dimrt.backends.tensorrt_library import Library
from dimrt.files import atomic_write
from dimrt.manifest import TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from dimrt.engines.record import Record

WORKSPACE_SHARE = 4
"""A layer's scratch space gets this part of the GPU's memory at most."""
AT_ONCE = 8
"""Runs that are queued before they are waited for: the GPU never waits for the host."""


class Products:
    """Builds and runs single graphs with the flavour of a target, in a cache that goes with this object."""

    def __init__(self, target: str | Path | None = None) -> None:
        """Raises ResourceError where there is no GPU, driver or flavour, InputError where there is no such target."""
        from dimrt.engines.cache import EngineCache
        from dimrt.engines.device import detect, target_for
        from dimrt.engines.flavour import load_flavour
        from dimrt.engines.target import load_target

        self.device = Device()
        self._gpu = detect()
        self._flavour = load_flavour((target_for(self._gpu) if target is None else load_target(target)).flavour)
        self._folder = tempfile.TemporaryDirectory(prefix="dimrt-products-")
        self._cache = EngineCache(Path(self._folder.name) / "cache")
        self._library = Library(self._flavour, self.device, self._cache)
        self.lane = Lane(Memory(self.device))

    def close(self) -> None:
        """Give everything back."""
        self.lane.stream.synchronize()
        self.lane.clear()
        self.lane.memory.free_all()
        self._folder.cleanup()

    def load(self, name: str, model: bytes, x: TensorSpec, y: TensorSpec) -> Callable[[], None]:
        """`AT_ONCE` runs of a model with one input and one output of fixed shapes; both stay on the GPU.

        Raises:
            BundleError: the flavour can't parse the model.
            ResourceError: it can't build or run it; the message is its own.
        """
        record = self._build(name, model, x, y)
        lane, (shape, kind) = self.lane, _facts(x)
        source = lane.tensor(shape, kind, f"the input of {name}")
        with self.device.current():
            loaded = self._library.load(record)
            call = Call({}, {}, {"x": source}, {}, ["y"])
            outputs = {"y": _facts(y)[1]}
            binding = Binding(name, loaded.new_context(True), lane, call, outputs, loaded.complaint, fixed=True)

        def run() -> None:
            with self.device.current():
                for _ in range(AT_ONCE):
                    binding.run(call)
                lane.stream.synchronize()

        self.device.call("cuMemsetD8Async", source.use(lane.stream), 0, source.nbytes, lane.stream.handle)
        return run

    def _build(self, name: str, model: bytes, x: TensorSpec, y: TensorSpec) -> "Record":
        import msgspec

        from dimrt.engines import process
        from dimrt.engines.cache import PLAN, RECORD
        from dimrt.engines.job import Job
        from dimrt.engines.record import FORMAT, Identity, Record

        flavour, gpu = self._flavour, self._gpu
        identity = Identity(
            bundle="",
            graph=name,
            flavour=flavour.name,
            version=flavour.version,
            capabilities=(gpu.capability,),
            device=None if flavour.ahead else gpu.name,
            driver=None if flavour.ahead else gpu.driver,
            profiles=({},),
        )
        file = Path(self._folder.name) / f"{identity.key}.onnx"
        file.write_bytes(model)
        self._cache.prepare()
        with self._cache.staging(identity.key) as folder:
            job = Job(
                flavour=flavour.name,
                onnx=str(file),
                plan=str(folder / PLAN),
                inputs=(x,),
                outputs=(y,),
                pinned={},
                profiles=identity.profiles,
                capabilities=identity.capabilities if flavour.ahead else (),
                workspace_bytes=gpu.memory_bytes // WORKSPACE_SHARE,
                timing=None,
            )
            built = process.run(job, name, lambda _: None)
            record = Record(
                format=FORMAT,
                identity=identity,
                target="",
                name="",
                recipe="",
                inputs=(x,),
                outputs=(y,),
                profiles=identity.profiles,
                plan_bytes=built.plan_bytes,
                sha256=built.sha256,
                weights_bytes=len(model),
                build_seconds=0.0,
                peak_rss=built.peak_rss,
                decomposed=False,
                cuda_graph=False,
                created=datetime.now(timezone.utc).isoformat(),
            )
            with atomic_write(folder / RECORD) as written:
                written.write(msgspec.json.encode(record))
        return record


def _facts(spec: TensorSpec) -> "tuple[tuple[int, ...], np.dtype[np.generic]]":
    import numpy as np

    return tuple(int(side) for side in spec.shape), np.dtype(spec.dtype)
