"""An installed TensorRT flavour at run time: verified plans become engines, and what it says of errors is kept."""

from typing import TYPE_CHECKING, Any

from dimrt.backends.cuda import Device, OutOfMemory
from dimrt.backends.tensorrt_engine import Loaded
from dimrt.errors import ResourceError

if TYPE_CHECKING:
    from dimrt.engines.cache import EngineCache
    from dimrt.engines.flavour import Flavour
    from dimrt.engines.record import Record

_MEMORY_WORDS = ("out of memory", "outofmemory", "cudaerrormemoryallocation", "bad_alloc", "failed to allocate")
VARYING = ("step",)
"""Graphs that are run again and again with one shape, but with another one in the next edit."""
_OLD_DRIVER = "driver version is insufficient"
_LAST = 5
"""Messages of the library that an error quotes at most."""


class Library:
    """One flavour on one GPU."""

    def __init__(self, flavour: "Flavour", device: Device, cache: "EngineCache") -> None:
        self._api, self._flavour, self._device, self._cache = flavour.module, flavour, device, cache
        self._messages: list[str] = []
        self._logger = _logger(self._api, self._messages)
        with device.current():
            self._runtime = self._api.Runtime(self._logger)
        self._kernels: dict[str, tuple[Any, bytes]] = {}

    def load(self, record: "Record") -> Loaded:
        """Deserialize an engine from bytes whose sum was compared.

        Raises:
            OutOfMemory: the GPU has no room for the weights.
            ResourceError: the plan was altered, or this library or GPU refuses it.
        """
        with self._device.current():
            return self._load(record)

    def _load(self, record: "Record") -> Loaded:
        graph = record.identity.graph
        again = f"remove it with `dimrt engines rm {record.key}` and build it again"
        self._messages.clear()
        try:
            with self._cache.plan(record) as plan:
                engine = self._runtime.deserialize_cuda_engine(plan)
        except OSError as error:
            raise ResourceError(f"graph `{graph}`: its engine can't be read ({error.strerror}); {again}") from error
        if engine is None:
            raise self.complaint(graph, f"its engine can't be used on this GPU; {again}", record.plan_bytes)
        self._check(record, engine, again)
        aliases = {}
        if hasattr(engine, "get_aliased_input_tensor"):
            named = {spec.name: engine.get_aliased_input_tensor(spec.name) for spec in record.outputs}
            aliases = {output: over for output, over in named.items() if over}
        configs = self._configs(record, engine)
        return Loaded(
            engine=engine,
            new_context=lambda repeated: self._new_context(graph, engine, configs[repeated]),
            complaint=lambda problem: self.complaint(graph, problem),
            aliases=aliases,
            captures=self._compiles and graph in VARYING,
        )

    def save_kernels(self, record: "Record") -> None:
        """Keep the kernels that the library compiled for an engine, for the next process."""
        held, before = self._kernels.get(record.key, (None, b""))
        if held is None:
            return
        with self._device.current():
            content = bytes(held.serialize())
        if content and content != before:
            self._cache.save_sealed("runtime", self._kernels_name(record), content)
            self._kernels[record.key] = held, content

    def forget(self, record: "Record") -> None:
        """Drop the compiled kernels of an engine that is released."""
        self._kernels.pop(record.key, None)

    def complaint(self, graph: str, problem: str, asked: int | None = None) -> ResourceError:
        """The error of something the library refused, with its own last words; memory that is full is told apart."""
        said = "; ".join(dict.fromkeys(self._messages[-_LAST:]))
        self._messages.clear()
        if any(word in said.lower() for word in _MEMORY_WORDS):
            return OutOfMemory(f"graph `{graph}`", asked, *self._device.memory())
        if _OLD_DRIVER in said.lower():
            return ResourceError(
                f"{self._flavour.name} {self._flavour.version} needs a newer NVIDIA driver than the one installed "
                f"(CUDA {self._device.facts.driver}); install one, or use --device cuda or cpu"
            )
        reason = f" ({self._flavour.name} {self._flavour.version}: {said})" if said else ""
        return ResourceError(f"graph `{graph}`: {problem}{reason}")

    @property
    def _compiles(self) -> bool:
        """Whether the flavour compiles kernels at run time, as TensorRT for RTX does."""
        return hasattr(self._api, "CudaGraphStrategy")

    def _new_context(self, graph: str, engine: Any, config: Any) -> Any:
        """An execution context that is lent its scratch memory."""
        self._messages.clear()
        lent = self._api.ExecutionContextAllocationStrategy.USER_MANAGED
        context = engine.create_execution_context(lent if config is None else config)
        if context is None:
            raise self.complaint(graph, "no execution context could be made")
        return context

    def _configs(self, record: "Record", engine: Any) -> tuple[Any, Any]:
        """How contexts run that are used for single runs, and for runs whose like follows; None where that is fixed.

        Kernels for a shape are compiled beside the run, which goes on with slower ones: most shapes come once. Only
        decoding has one shape for ever: it waits for its kernels, and dimrt captures it with its copies. A graph that
        repeats within an edit alone is captured by the library, which knows when better kernels have come.
        """
        if not self._compiles:
            return None, None
        configs, graph = (engine.create_runtime_config(), engine.create_runtime_config()), record.identity.graph
        kernels = configs[0].create_runtime_cache()
        content = self._cache.load_sealed("runtime", self._kernels_name(record))
        if content:
            kernels.deserialize(content)
        self._kernels[record.key] = kernels, content
        for config in configs:
            config.set_execution_context_allocation_strategy(self._api.ExecutionContextAllocationStrategy.USER_MANAGED)
            config.set_runtime_cache(kernels)
            config.cuda_graph_strategy = self._api.CudaGraphStrategy.DISABLED
            config.dynamic_shapes_kernel_specialization_strategy = (
                self._api.DynamicShapesKernelSpecializationStrategy.LAZY
            )
        if graph in VARYING:
            configs[1].cuda_graph_strategy = self._api.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        else:
            configs[
                1
            ].dynamic_shapes_kernel_specialization_strategy = self._api.DynamicShapesKernelSpecializationStrategy.EAGER
        return configs

    def _kernels_name(self, record: "Record") -> str:
        facts = self._device.facts
        return f"{record.key}-sm{facts.capability.replace('.', '')}-{facts.driver}"

    def _check(self, record: "Record", engine: Any, again: str) -> None:
        """The engine has exactly the tensors that its record lists."""
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        modes = self._api.TensorIOMode
        found = {name: (engine.get_tensor_mode(name), self._dtype(engine.get_tensor_dtype(name))) for name in names}
        expected = {
            spec.name: (mode, spec.dtype)
            for mode, specs in ((modes.INPUT, record.inputs), (modes.OUTPUT, record.outputs))
            for spec in specs
        }
        if found != expected:
            odd = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
            raise ResourceError(
                f"graph `{record.identity.graph}`: its engine's tensors aren't those of its record ({', '.join(odd)}); "
                f"{again}"
            )

    def _dtype(self, kind: Any) -> str:
        """An element type by the contract's name for it."""
        types = self._api.DataType
        return {types.FLOAT: "float32", types.HALF: "float16", types.INT64: "int64"}.get(kind, str(kind))


def _logger(api: Any, messages: list[str]) -> Any:
    """A logger of the library's kind that keeps its errors."""

    class Keeper(api.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            api.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (api.ILogger.Severity.ERROR, api.ILogger.Severity.INTERNAL_ERROR):
                messages.append(message.strip())

    return Keeper()
