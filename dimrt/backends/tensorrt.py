"""TensorRT and TensorRT for RTX: engines from the cache, tensors on the GPU from the picture to the pixels.

What crosses to the host is what the chain asks for. Each role has a stream; a tensor that goes from one role to the
other makes the later stream wait for the earlier. Reading a plan token by token and the painter's steps are captured
into CUDA graphs; where that fails they run as they are, and `name` says so.
"""

import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import DTypeLike

from dimrt.backends.base import ROLES, Array, Part, Residency, Role, Tensor
from dimrt.backends.cuda import Device
from dimrt.backends.cuda_memory import DeviceTensor, Memory
from dimrt.backends.lane import Lane
from dimrt.backends.tensorrt_engine import TensorRtEngine
from dimrt.backends.tensorrt_library import Library
from dimrt.bundle import Bundle
from dimrt.errors import DimrtError, InputError, ResourceError
from dimrt.interop import CudaArray

if TYPE_CHECKING:
    from dimrt.engines.cache import EngineCache
    from dimrt.engines.flavour import Flavour
    from dimrt.engines.record import Device as GpuFacts
    from dimrt.engines.record import Record
    from dimrt.engines.target import Target


class TensorRtBackend:
    """Engines of one bundle on one GPU; see `dimrt.backends.base.Backend`.

    Attributes:
        residency: as the target says.
        steady_rows: not known of a GPU's kernels, which are chosen by the number of rows.
        overlaps: each role has a stream of its own.
    """

    steady_rows = False
    overlaps = True

    def __init__(
        self,
        bundle: Bundle,
        *,
        target: str | Path | None = None,
        build: Literal["auto", "never"] = "auto",
        cache: str | Path | None = None,
    ) -> None:
        """Check that the GPU and a flavour are there; nothing is built or loaded yet.

        Args:
            bundle: the bundle whose engines are run.
            target: name or file of the target that bounds shapes and memory; None takes the one nearest to the GPU.
            build: whether engines that the cache lacks are built, or are an error.
            cache: folder of the engine cache; None for the user's.

        Raises:
            InputError: no such target, or one that isn't for a GPU.
            ResourceError: no driver, no GPU, no flavour, or none that supports the GPU.
        """
        from dimrt.engines.cache import EngineCache
        from dimrt.engines.device import detect, target_for
        from dimrt.engines.flavour import load_flavour
        from dimrt.engines.target import load_target

        self._device = Device()
        self._gpu = detect()
        self._target = target_for(self._gpu) if target is None else load_target(target)
        if self._target.flavour == "onnxruntime":
            raise InputError(f"target `{self._target.name}` is a processor; use --device cpu, or name a GPU's target")
        self._flavour = load_flavour(self._target.flavour)
        self._named = target is not None
        self._builds = build == "auto"
        self.residency: Residency = self._target.residency
        self._bundle = bundle
        self._cache = EngineCache(cache)
        self._library = Library(self._flavour, self._device, self._cache)
        self._memory = Memory(self._device)
        self._lanes: dict[Role, Lane] = {role: Lane(self._memory) for role in ROLES}
        self._engines: dict[str, TensorRtEngine] = {}
        self._records: dict[str, Record] = {}
        weakref.finalize(self, _save_kernels, self._library, self._records)

    @property
    def name(self) -> str:
        """Flavour and GPU, and which graphs run without the CUDA graph they should have."""
        without = [f"{graph} ({engine.uncaptured})" for graph, engine in self._engines.items() if engine.uncaptured]
        told = f" without CUDA graphs: {', '.join(without)}" if without else ""
        return f"{self._flavour.name} {self._flavour.version} on {self._gpu.name}{told}"

    @property
    def target(self) -> "Target":
        """What bounds shapes and memory."""
        return self._target

    def missing(self) -> tuple[str, ...]:
        """Graphs whose engines for this GPU are not in the cache."""
        graphs = [graph for graph in self._bundle.manifest.graphs if graph not in self._records]
        if graphs:
            self._records.update(held_engines(self._cache, self._bundle, self._flavour, self._gpu, self._wanted))
        return tuple(graph for graph in graphs if graph not in self._records)

    def build(self, graphs: Sequence[str]) -> Iterator[str]:
        """Build engines into the cache, one by one.

        Raises:
            ResourceError: building is not allowed, or the machine can't; see `dimrt.engines.build.build_bundle`.
        """
        from dimrt.engines.build import build_bundle

        if not self._builds:
            raise ResourceError(
                f"no engine of `{graphs[0]}` for {self._gpu.name} in {self._cache.root}; "
                f"build it with `dimrt build {self._bundle.path}`"
            )
        for graph in graphs:
            (record,) = build_bundle(self._bundle, self._target, graphs=[graph], cache=self._cache)
            self._records[graph] = record
            yield graph

    def engine(self, graph: str) -> TensorRtEngine:
        """Load a graph's engine, or return the loaded one.

        Raises:
            BundleError: the bundle has no such graph.
            OutOfMemory: the GPU has no room for it.
            ResourceError: its engine is not in the cache, was altered, or is refused by the library.
        """
        if graph not in self._engines:
            self._bundle.graph_path(graph)
            if graph in self.missing():
                for _ in self.build([graph]):
                    pass
            self._memory.trim()  # the library takes the weights' memory from the GPU itself
            record = self._records[graph]
            contract = self._bundle.manifest.graphs[graph].inputs
            loaded = self._library.load(record)
            self._engines[graph] = TensorRtEngine(graph, contract, record, loaded, self._lanes[_role(graph)])
        return self._engines[graph]

    def loaded(self, graph: str) -> bool:
        """Whether a graph's engine is loaded."""
        return graph in self._engines

    def to_device(self, array: Array) -> DeviceTensor:
        """A copy of an array on the GPU."""
        lane = self._lanes["painter"]
        held = np.ascontiguousarray(array)
        tensor = lane.tensor(held.shape, held.dtype, "a tensor from the host")
        lane.send(held, tensor)
        return tensor

    def to_host(self, tensor: Tensor) -> Array:
        """A copy of a tensor on the host, once everything that writes it is done."""
        if isinstance(tensor, DeviceTensor):
            return self._lanes["painter"].fetch(tensor)
        return np.asarray(tensor)

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> DeviceTensor:
        """A tensor of zeros on the GPU."""
        lane = self._lanes["painter"]
        tensor = lane.tensor(shape, dtype, f"zeros of shape {shape}")
        address = tensor.use(lane.stream)
        if tensor.nbytes:
            self._device.call("cuMemsetD8Async", address, 0, tensor.nbytes, lane.stream.handle)
        return tensor

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """Shape of a tensor, wherever it is."""
        return tuple(tensor.shape)

    def join(self, parts: Sequence[Part], shape: tuple[int, ...], dtype: DTypeLike) -> Tensor:
        """Rows of several tensors, one under the other, on the GPU; a single part on the GPU is not copied."""
        kind, lane = np.dtype(dtype), self._lanes["painter"]
        pieces = [self._piece(tensor, rows, shape[-1], kind) for tensor, rows in parts]
        if len(pieces) == 1 and isinstance(pieces[0], DeviceTensor):
            return pieces[0].rows(slice(None), shape)
        joined = lane.tensor(shape, kind, f"a tensor of shape {shape}")
        base, offset = joined.use(lane.stream), 0
        for piece in pieces:
            if isinstance(piece, DeviceTensor):
                lane.copy(base + offset, piece.use(lane.stream), piece.nbytes)
            elif piece.nbytes:
                lane.send(piece, DeviceTensor(joined.buffer, piece.shape, kind, offset))
            offset += piece.nbytes
        return joined

    def hand_over(self, tensor: Tensor) -> CudaArray:
        """A device tensor for the caller, who owns it from now on; work on it is done."""
        self.finish()
        self._memory.hand_over(tensor.buffer)
        given: DeviceTensor = tensor
        return given

    def finish(self) -> None:
        """Wait for both streams."""
        for lane in self._lanes.values():
            lane.stream.synchronize()

    def release(self, graph: str) -> None:
        """Drop an engine; the last one of a role takes the role's scratch memory with it."""
        engine = self._engines.pop(graph, None)
        if engine is None:
            return
        role = _role(graph)
        self._lanes[role].stream.synchronize()
        self._library.save_kernels(self._records[graph])
        self._library.forget(self._records[graph])
        with self._device.current():
            del engine
        if not any(other in self._engines for other in ROLES[role]):
            self._lanes[role].clear()
        self._memory.trim()

    def close(self) -> None:
        """Drop every engine and every tensor but those that were handed over."""
        for graph in tuple(self._engines):
            self.release(graph)
        self.finish()
        for lane in self._lanes.values():
            lane.clear()
        self._memory.free_all()

    @property
    def _wanted(self) -> str | None:
        """The target that engines must be of; any will do when the caller named none."""
        return self._target.name if self._named else None

    def _piece(self, tensor: Tensor, rows: slice, width: int, dtype: np.dtype[np.generic]) -> Tensor:
        """Some rows in the asked type; a type that differs on the GPU is turned on the host, where it can be."""
        if isinstance(tensor, DeviceTensor):
            piece = tensor.rows(rows)
            if piece.dtype == dtype:
                return piece
            tensor, rows = self.to_host(piece), slice(None)
        return np.ascontiguousarray(np.asarray(tensor).reshape(-1, width)[rows], dtype)


def engines_are_ready(bundle: Bundle) -> bool:
    """Whether a flavour and a GPU are here and engines of every graph of the bundle are in the cache."""
    from dimrt.engines.cache import EngineCache
    from dimrt.engines.device import detect, target_for
    from dimrt.engines.flavour import load_flavour

    cache = EngineCache()
    try:
        graphs = bundle.manifest.graphs.keys()
        identities = [entry.record.identity for entry in cache.entries() if entry.record is not None]
        if not graphs <= {identity.graph for identity in identities if identity.bundle == bundle.digest}:
            return False  # told without loading a driver
        gpu = detect()
        flavour = load_flavour(target_for(gpu).flavour)
        return held_engines(cache, bundle, flavour, gpu, None).keys() >= graphs
    except DimrtError:
        return False


def held_engines(
    cache: "EngineCache", bundle: Bundle, flavour: "Flavour", gpu: "GpuFacts", target: str | None
) -> dict[str, "Record"]:
    """The newest engine in the cache for each graph of a bundle that this flavour and GPU can run.

    Args:
        target: name of the target that they must have been built for; None takes any.
    """
    held: dict[str, Record] = {}
    for entry in cache.entries():
        record = entry.record
        if record is None or (target is not None and record.target != target):
            continue
        identity = record.identity
        ours = (identity.bundle, identity.flavour) == (bundle.digest, flavour.name)
        if ours and identity.mismatch(flavour.version, gpu) is None:
            held[identity.graph] = record
    return held


def _role(graph: str) -> Role:
    return next(role for role, graphs in ROLES.items() if graph in graphs)


def _save_kernels(library: Library, records: "dict[str, Record]") -> None:
    for record in records.values():
        library.save_kernels(record)
