"""The default backend: ONNX Runtime on the CPU or on CUDA. What is asked for runs, or an error says why it can't."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import DTypeLike
from onnxruntime.capi import onnxruntime_pybind11_state as native

from dimrt.backends.base import Array, Device, Part, Processor, Residency, Tensor
from dimrt.backends.cores import Threads, choose_threads, usable_cores
from dimrt.bundle import Bundle
from dimrt.errors import BundleError, InputError, ResourceError
from dimrt.interop import CudaArray, DeviceArray

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_NUMPY_TYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(int64)": np.dtype(np.int64),
}
SLOW_FUSIONS = ("SkipLayerNormFusion",)
"""Rewritings that cost time on a processor: the fused sum and layer norm takes ten times a layer norm (1.31)."""
SPIN_SHORTLY = ("session.intra_op.spin_duration_us", "200")
"""Threads still spin when the next token is read, which else begins by waking them: a token of nano in 0.51 ms instead
of 0.57, two threads of a Xeon. A whole edit is none the slower for it."""
BOUNDS_SPINNING = tuple(int(part) for part in ort.__version__.split(".")[:2]) >= (1, 26)
_ERRORS_ONLY = 3
_MEMORY_WORDS = ("bad allocation", "bad_alloc", "failed to allocate", "out of memory")


def session_options(threads: Threads, device: str = "cpu") -> ort.SessionOptions:
    """How every session runs, those that only measure too."""
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # Every session has threads of its own, which by themselves spin for tens of milliseconds while the next graph
    # wants the cores.
    options.add_session_config_entry(*(SPIN_SHORTLY if BOUNDS_SPINNING else ("session.force_spinning_stop", "1")))
    options.intra_op_num_threads = threads.count or 0
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(threads.spin)))
    # With it the second run of a shape lays all its tensors out as one block, beside what the first run left in the
    # arena: twice the memory for good (decode at 512 x 512: 492 MB grown, not 252), and no run the faster for it.
    options.enable_mem_pattern = False
    if device == "cpu":
        # Weights with one scale a channel are multiplied in blocks of up to 256 rows instead of 32: 1.3 times as fast
        # for one row and two to three times for hundreds (2048 x 11008, int8), and the scales take an eighth of the
        # space. CUDA's kernels keep what they were tested with.
        options.add_session_config_entry("session.qdq_matmulnbits_block_size", "-1")
    return options


def best_device() -> Literal["cpu", "cuda"]:
    """CUDA when this ONNX Runtime has a provider for it, else the CPU."""
    return "cuda" if PROVIDERS["cuda"] in ort.get_available_providers() else "cpu"


class OrtEngine:
    """One loaded graph; see `dimrt.backends.base.Engine`."""

    def __init__(self, graph: str, session: ort.InferenceSession, device: str) -> None:
        self.graph, self.session, self.device = graph, session, device
        self.inputs = {node.name: _NUMPY_TYPES[node.type] for node in session.get_inputs()}
        self.outputs = [node.name for node in session.get_outputs()]

    def run(
        self,
        feeds: Mapping[str, Tensor],
        *,
        into: Mapping[str, Tensor] | None = None,
        keep: Collection[str] = (),
    ) -> dict[str, Tensor]:
        """Run once; outputs named in `into` are written in place, also over an input (the KV cache)."""
        return self.bind({}, into or {}).run(feeds, keep=keep)

    def bind(self, feeds: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> "OrtBound":
        """The graph with these tensors bound once: of `language` they are four a layer, each run."""
        return OrtBound(self, feeds, into)

    def limit(self, axis: str) -> int | None:
        """Nothing bounds a run but memory."""
        return None

    def pinned(self, axis: str) -> int | None:
        """Every named dimension varies."""
        return None


class OrtBound:
    """One loaded graph with some tensors bound; see `dimrt.backends.base.BoundEngine`."""

    def __init__(self, engine: OrtEngine, feeds: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
        self._engine = engine
        self._binding = engine.session.io_binding()
        for name, value in feeds.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in into.items():
            self._binding.bind_ortvalue_output(name, value)
        self._inputs = {name: dtype for name, dtype in engine.inputs.items() if name not in feeds}
        self._outputs = [name for name in engine.outputs if name not in into]
        self._first = len(into)

    def run(self, feeds: Mapping[str, Tensor], *, keep: Collection[str] = ()) -> dict[str, Tensor]:
        """Run once."""
        binding, device = self._binding, self._engine.device
        held: list[Array] = []  # the binding borrows numpy memory: keep it alive until the run is over
        for name, dtype in self._inputs.items():
            value: Any = feeds[name]
            if isinstance(value, ort.OrtValue):
                binding.bind_ortvalue_input(name, value)
            else:
                array: Array = np.ascontiguousarray(value, dtype)
                held.append(array)
                binding.bind_cpu_input(name, array)
        for name in self._outputs:  # each time, as a run would write over what the last one returned
            binding.bind_output(name, device if name in keep else "cpu")
        with _memory_errors(self._engine.graph):
            self._engine.session.run_with_iobinding(binding)
        values = binding.get_outputs_as_ortvaluevector()  # wrapped one by one: most outputs may be a cache's
        results: dict[str, Tensor] = {}
        for index, name in enumerate(self._outputs, self._first):
            results[name] = ort.OrtValue(values[index]) if name in keep else values[index].numpy()
        return results


class OrtBackend:
    """Sessions of one bundle, loaded on first use and once; see `dimrt.backends.base.Backend`.

    Attributes:
        name: "onnxruntime" and the provider that the sessions really use.
        target: the processor; None for a GPU, whose memory ONNX Runtime doesn't tell.
        overlaps: no; a run is over when it returns.
        steady_rows: on the processor. Its kernels have one order of summing for two rows or more and another one for
            a single row; those of quantized weights take rows in pairs, and the last one of an odd number by itself.
    """

    def __init__(self, bundle: Bundle, *, device: Literal["cpu", "cuda"] = "cpu", threads: int | None = None) -> None:
        """Check that the device can be used; nothing is loaded yet.

        Args:
            bundle: the bundle whose graphs are run.
            device: "cpu", or "cuda" for the first NVIDIA GPU.
            threads: CPU threads inside an operator; None takes what suits the processor (`dimrt.backends.cores`).

        Raises:
            InputError: `threads` is less than 1.
            ResourceError: this ONNX Runtime has no provider for the device.
        """
        if threads is not None and threads < 1:
            raise InputError(f"--threads is {threads}; give 1 or more, or leave it out")
        self._bundle = bundle
        self._device = device
        self._provider = PROVIDERS[device]
        self._threads = choose_threads(usable_cores()) if threads is None else Threads(threads)
        self._engines: dict[str, OrtEngine] = {}
        self.name = f"onnxruntime {self._provider}"
        self.residency: Residency = "all"
        self.steady_rows = device == "cpu"
        self.overlaps = False
        self.target: Device | None = Processor() if device == "cpu" else None
        available = ort.get_available_providers()
        if self._provider not in available:
            raise ResourceError(
                f"--device {device}: onnxruntime {ort.__version__} has no {self._provider} (it has "
                f"{', '.join(available)}); install dimrt[cuda] in place of onnxruntime, or use --device cpu"
            )
        if device == "cuda":
            ort.preload_dlls()

    def missing(self) -> tuple[str, ...]:
        """ONNX Runtime takes the graphs as they are."""
        return ()

    def build(self, graphs: Sequence[str]) -> Iterator[str]:
        """Nothing is ever missing."""
        return iter(())

    def engine(self, graph: str) -> OrtEngine:
        """Load a graph, or return the loaded one.

        Raises:
            BundleError: ONNX Runtime can't read the graph.
            ResourceError: too little memory, or the provider could not be started.
        """
        if graph not in self._engines:
            self._engines[graph] = OrtEngine(graph, self._load(graph), self._device)
        return self._engines[graph]

    def loaded(self, graph: str) -> bool:
        """Whether a graph is loaded."""
        return graph in self._engines

    def to_host(self, tensor: Tensor) -> Array:
        """A numpy array with the tensor's values (on the CPU the tensor's own memory)."""
        return np.asarray(tensor.numpy() if isinstance(tensor, ort.OrtValue) else tensor)

    def to_device(self, array: Array) -> Tensor:
        """A tensor on the device with the array's values (on the CPU the array's own memory)."""
        return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self._device, 0)

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> Tensor:
        """A tensor of zeros on the device."""
        return self.to_device(np.zeros(shape, dtype))

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """Shape of a tensor, wherever it is."""
        return tuple(tensor.shape() if isinstance(tensor, ort.OrtValue) else tensor.shape)

    def join(self, parts: Sequence[Part], shape: tuple[int, ...], dtype: DTypeLike) -> Tensor:
        """Rows of several tensors as one array on the host, from where the next run takes it."""
        rows = [self.to_host(tensor).reshape(-1, shape[-1])[piece] for tensor, piece in parts]
        joined = rows[0] if len(rows) == 1 else np.concatenate(rows)
        return joined.astype(dtype, copy=False).reshape(shape)

    def hand_over(self, tensor: Tensor) -> CudaArray:
        """A device tensor for the caller; only with CUDA."""
        if self._device != "cuda":
            raise InputError("the editor runs on the CPU and has no pixels on a GPU; take them from the host")
        spec = {"tensor(float)": np.float32, "tensor(float16)": np.float16}[tensor.data_type()]
        return DeviceArray(tensor.data_ptr(), tuple(tensor.shape()), spec, owner=tensor)

    def finish(self) -> None:
        """Runs are over when they return."""

    def release(self, graph: str) -> None:
        """Drop a loaded graph."""
        self._engines.pop(graph, None)

    def close(self) -> None:
        """Drop every loaded graph."""
        self._engines.clear()

    def _load(self, graph: str) -> ort.InferenceSession:
        path = self._bundle.graph_path(graph)
        options = session_options(self._threads, self._device)
        providers = list(dict.fromkeys([self._provider, PROVIDERS["cpu"]]))
        without = SLOW_FUSIONS if self._device == "cpu" else ()
        try:
            with _memory_errors(graph):
                session = ort.InferenceSession(str(path), options, providers=providers, disabled_optimizers=without)
        except (
            native.Fail,
            native.InvalidGraph,
            native.InvalidProtobuf,
            native.NoSuchFile,
            native.NotImplemented,
        ) as e:
            raise BundleError(
                f"{path} can't be loaded by onnxruntime {ort.__version__} ({_first_line(e)}); "
                "run `dimrt verify`, or export the bundle again"
            ) from e
        running = session.get_providers()[0]
        if running != self._provider:
            raise ResourceError(
                f"--device {self._device}: {self._provider} could not start and onnxruntime fell back to {running}; "
                "check the NVIDIA driver and the CUDA and cuDNN libraries (`dimrt doctor`), or use --device cpu"
            )
        return session


@contextmanager
def _memory_errors(graph: str) -> Iterator[None]:
    """Turn an allocation that failed inside ONNX Runtime into a ResourceError."""
    try:
        yield
    except (MemoryError, native.RuntimeException, native.Fail) as error:
        if isinstance(error, MemoryError) or any(word in str(error).lower() for word in _MEMORY_WORDS):
            raise ResourceError(
                f"out of memory in graph `{graph}` ({_first_line(error)}); "
                "close other programs, use a bundle of a smaller recipe or a smaller picture"
            ) from error
        raise


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
