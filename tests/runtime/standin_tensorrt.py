"""A stand-in for TensorRT's Python API at run time. A plan names a graph of a bundle; running it runs that graph with
ONNX Runtime on the bound addresses of the stand-in driver. The rules for addresses, shapes and aliases are TensorRT's.
"""

import json
import re
from enum import Enum, IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
from standin_cuda import PRIMARY, StandinCuda, StandinFault

from dimrt.backends.cores import Threads
from dimrt.backends.onnxruntime import SLOW_FUSIONS, session_options

MAGIC = b"stand-in plan\n"
SCRATCH = 1000
NUMPY = {"float32": np.float32, "float16": np.float16, "int64": np.int64}
_sessions: dict[str, ort.InferenceSession] = {}


class ComputeCapability(Enum):
    SM86, SM89, SM120 = 86, 89, 120


class DataType(Enum):
    FLOAT, HALF, INT64, INT32 = "float32", "float16", "int64", "int32"


class TensorIOMode(Enum):
    NONE, INPUT, OUTPUT = range(3)


class ExecutionContextAllocationStrategy(Enum):
    STATIC, ON_PROFILE_CHANGE, USER_MANAGED = range(3)


class CudaGraphStrategy(Enum):
    DISABLED, WHOLE_GRAPH_CAPTURE = range(2)


class DynamicShapesKernelSpecializationStrategy(Enum):
    LAZY, EAGER, NONE = range(3)


class ILogger:
    class Severity(IntEnum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class RuntimeCache:
    """Compiled kernels: here a count of the contexts that were made."""

    def __init__(self, cuda: StandinCuda) -> None:
        self._cuda, self.content = cuda, b""

    def deserialize(self, content: bytes) -> bool:
        if not self._cuda.contexts:
            raise StandinFault("no context is current")
        self.content = bytes(content)
        return True

    def serialize(self) -> bytes:
        return self.content


class RuntimeConfig:
    __slots__ = (
        "_cuda",
        "cache",
        "cuda_graph_strategy",
        "dynamic_shapes_kernel_specialization_strategy",
        "strategy",
    )

    def __init__(self, cuda: StandinCuda) -> None:
        self._cuda = cuda
        self.cache: RuntimeCache | None = None
        self.strategy = ExecutionContextAllocationStrategy.STATIC
        self.cuda_graph_strategy = CudaGraphStrategy.DISABLED
        self.dynamic_shapes_kernel_specialization_strategy = DynamicShapesKernelSpecializationStrategy.LAZY

    def set_execution_context_allocation_strategy(self, strategy: ExecutionContextAllocationStrategy) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache(self._cuda)

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        self.cache = cache
        return True


class StandinTensorRt:
    """One installed flavour.

    Attributes:
        deserialized: every plan that reached the deserializer.
        refuse: what `execute_async_v3` is to fail with, a message; None runs.
        computes: whether graphs are run; else outputs are zeros, and logits grow with the token's id.
        capturable: what `is_stream_capturable` says.
        aliased: whether engines update the cache in place.
        contexts_fail: whether no execution context can be made.
        executions: name of every graph that ran.
        contexts: graph and configuration of every execution context.
    """

    def __init__(self, cuda: StandinCuda, version: str = "1.0.standin", *, rtx: bool = True) -> None:
        self.cuda = cuda
        self.__version__ = version
        self.deserialized: list[bytes] = []
        self.refuse: str | None = None
        self.computes = True
        self.capturable = True
        self.aliased = True
        self.contexts_fail = False
        self.executions: list[str] = []
        self.contexts: list[tuple[str, Any]] = []
        self.DataType, self.TensorIOMode, self.ILogger = DataType, TensorIOMode, ILogger
        self.ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy
        if rtx:
            self.ComputeCapability = ComputeCapability
            self.CudaGraphStrategy = CudaGraphStrategy
            self.DynamicShapesKernelSpecializationStrategy = DynamicShapesKernelSpecializationStrategy

    def Runtime(self, logger: Any) -> Any:
        return SimpleNamespace(deserialize_cuda_engine=lambda plan: self._deserialize(logger, bytes(plan)))

    def _deserialize(self, logger: Any, plan: bytes) -> Any:
        if not self.cuda.contexts:
            raise StandinFault("no context is current")
        self.deserialized.append(plan)
        if not plan.startswith(MAGIC):
            logger.log(ILogger.Severity.ERROR, "the plan is no plan")
            return None
        facts = json.loads(plan[len(MAGIC) :])
        if self.cuda.capability not in facts["capabilities"]:
            logger.log(ILogger.Severity.ERROR, "the plan is for another GPU")
            return None
        weights = self.cuda.take(facts["weights"])
        if weights is None:
            logger.log(ILogger.Severity.ERROR, "Error Code 2: OutOfMemory (Requested size was too large.)")
            return None
        return StandinEngine(self, logger, facts, weights)


class StandinEngine:
    def __init__(self, library: StandinTensorRt, logger: Any, facts: dict[str, Any], weights: int) -> None:
        self.library, self.logger, self.facts = library, logger, facts
        self._weights = weights
        self.inputs = {name: (dtype, tuple(shape)) for name, dtype, shape in facts["inputs"]}
        self.outputs = {name: (dtype, tuple(shape)) for name, dtype, shape in facts["outputs"]}
        self.num_io_tensors = len(self.inputs) + len(self.outputs)
        if not library.aliased:
            self.facts["aliases"] = {}

    def __del__(self) -> None:
        contexts = self.library.cuda.contexts
        if contexts and contexts[-1] != PRIMARY:  # without any, the library would take the primary one
            raise StandinFault("an application's context is current")
        self.library.cuda.release(self._weights)

    def get_tensor_name(self, index: int) -> str:
        return [*self.inputs, *self.outputs][index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType({**self.inputs, **self.outputs}[name][0])

    def get_aliased_input_tensor(self, name: str) -> str | None:
        return self.facts["aliases"].get(name)

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig(self.library.cuda)

    def create_execution_context(self, config: Any) -> Any:
        strategy = config.strategy if isinstance(config, RuntimeConfig) else config
        if strategy is not ExecutionContextAllocationStrategy.USER_MANAGED:
            raise StandinFault("the context would take scratch memory of its own")
        if self.library.contexts_fail:
            self.logger.log(ILogger.Severity.ERROR, "out of memory")
            return None
        if isinstance(config, RuntimeConfig) and config.cache is not None:
            config.cache.content += b"kernel "
        self.library.contexts.append((Path(self.facts["onnx"]).stem, config))
        return StandinContext(self)


class StandinContext:
    def __init__(self, engine: StandinEngine) -> None:
        self.engine, self._cuda = engine, engine.library.cuda
        self._profile = 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._scratch = (0, 0)

    def is_stream_capturable(self, _stream: int) -> bool:
        return self.engine.library.capturable

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self._cuda.stream(stream)
        self._profile, self._shapes = profile, {}
        return profile < len(self.engine.facts["profiles"])

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        profile, spec = self.engine.facts["profiles"][self._profile], self.engine.inputs[name][1]
        fits = len(spec) == len(shape) and all(
            profile[side][0] <= size <= profile[side][2] if isinstance(side, str) else side == size
            for side, size in zip(spec, shape, strict=True)
        )
        if fits:
            self._shapes[name] = tuple(shape)
        else:
            self.engine.logger.log(ILogger.Severity.ERROR, f"{name}: {shape} is not in the profile")
        return fits

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        sizes = {
            side: size
            for given, shape in self._shapes.items()
            for side, size in zip(self.engine.inputs[given][1], shape, strict=True)
            if isinstance(side, str)
        }
        return tuple(_size(side, sizes) for side in self.engine.outputs[name][1])

    def update_device_memory_size_for_shapes(self) -> int:
        if self._shapes.keys() != self.engine.inputs.keys():
            raise StandinFault(f"no shape for {sorted(self.engine.inputs.keys() - self._shapes.keys())}")
        return SCRATCH + sum(int(np.prod(shape)) for shape in self._shapes.values())

    def set_device_memory(self, address: int, nbytes: int) -> None:
        self._scratch = address, nbytes

    def set_tensor_address(self, name: str, address: int) -> bool:
        if name not in self.engine.inputs and name not in self.engine.outputs:
            raise StandinFault(f"{name} is no tensor of the engine")
        if address % 256:
            raise StandinFault(f"{name} is not aligned")
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        library = self.engine.library
        if library.refuse is not None:
            self.engine.logger.log(ILogger.Severity.ERROR, library.refuse)
            return False
        if not self._cuda.contexts:
            raise StandinFault("no context is current")
        if self._scratch[1] < self.update_device_memory_size_for_shapes():
            raise StandinFault("too little scratch memory")
        tensors = {**self.engine.inputs, **self.engine.outputs}
        unbound = sorted(tensors.keys() - self._addresses.keys())
        if unbound:
            raise StandinFault(f"{unbound[0]} has no address")
        shapes = {name: self._shapes.get(name) or self.get_tensor_shape(name) for name in tensors}
        places = {
            name: (self._addresses[name], shapes[name], np.dtype(NUMPY[dtype])) for name, (dtype, _) in tensors.items()
        }
        self._check_overlaps(places)
        scratch = self._scratch
        self._cuda.stream(stream).put(lambda: self._execute(places, scratch))
        return True

    def _check_overlaps(self, places: dict[str, tuple[int, tuple[int, ...], np.dtype[Any]]]) -> None:
        aliases = self.engine.facts["aliases"]
        for output in self.engine.outputs:
            begin, shape, dtype = places[output]
            end = begin + int(np.prod(shape)) * dtype.itemsize
            if output in aliases and begin != places[aliases[output]][0]:
                raise StandinFault(f"{output} must have the address of {aliases[output]}")
            for other, (first, size, kind) in places.items():
                if other not in (output, aliases.get(output)) and first < end:
                    last = first + int(np.prod(size)) * kind.itemsize
                    if begin < last and begin < end and first < last:
                        raise StandinFault(f"{output} lies over {other}")

    def _execute(self, places: dict[str, tuple[int, tuple[int, ...], np.dtype[Any]]], scratch: tuple[int, int]) -> None:
        def memory(name: str) -> Any:
            address, shape, dtype = places[name]
            nbytes = int(np.prod(shape)) * dtype.itemsize
            return self._cuda.at(address, nbytes).view(dtype).reshape(shape)

        self._cuda.at(*scratch)[:] = 0xFF
        feeds = {name: memory(name).copy() for name in self.engine.inputs}
        path = self.engine.facts["onnx"]
        self.engine.library.executions.append(Path(path).stem)
        if not self.engine.library.computes:
            for name in self.engine.outputs.keys() - self.engine.facts["aliases"].keys():
                memory(name)[...] = np.arange(places[name][1][-1]) if name == "logits" else 0
            return
        results = _session(path).run(list(self.engine.outputs), feeds)
        for name, values in zip(self.engine.outputs, results, strict=True):
            memory(name)[...] = values


def _size(side: int | str, sizes: dict[str, int]) -> int:
    """A side of an output: a number, a name, or a name times or over a number."""
    if isinstance(side, int):
        return side
    name, operator, number = re.fullmatch(r"(\w+)(?:([*/])(\d+))?", side).groups()  # type: ignore[union-attr]
    if operator is None:
        return sizes[name]
    return sizes[name] * int(number) if operator == "*" else sizes[name] // int(number)


def _session(path: str) -> ort.InferenceSession:
    if path not in _sessions:
        options = session_options(Threads(1))  # as on the processor, so that bytes are the same
        providers = ["CPUExecutionProvider"]
        _sessions[path] = ort.InferenceSession(path, options, providers=providers, disabled_optimizers=SLOW_FUSIONS)
    return _sessions[path]
