"""A stand-in for the CUDA driver API, so that what runs on a GPU is tested without one. It is no GPU and times nothing.

Memory is host memory behind made-up addresses. Work is queued and done only when somebody waits for it: a wait that
the code under test forgot shows as wrong numbers. New memory holds NaN. Wrong use is a `StandinFault`, which nothing
catches; errors of the driver are its result codes, made at will with `fail`.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIRST_ADDRESS = 0x7000_0000_0000
STEP = 1 << 12
PRIMARY = 1
"""Handle of the primary context."""
Work = Callable[[], None]


class StandinFault(BaseException):
    """The code under test used memory, a stream or a tensor in a way that a GPU would punish."""


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900


class CUdevice_attribute(IntEnum):
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76
    CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED = 115


class CUstream_flags(IntEnum):
    CU_STREAM_NON_BLOCKING = 1


class CUevent_flags(IntEnum):
    CU_EVENT_DEFAULT = 0
    CU_EVENT_DISABLE_TIMING = 2


class CUstreamCaptureMode(IntEnum):
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1


class CUmemorytype(IntEnum):
    CU_MEMORYTYPE_HOST = 1
    CU_MEMORYTYPE_DEVICE = 2


class CUmemAllocationType(IntEnum):
    CU_MEM_ALLOCATION_TYPE_PINNED = 1


class CUmemLocationType(IntEnum):
    CU_MEM_LOCATION_TYPE_DEVICE = 1


class CUmemPool_attribute(IntEnum):
    CU_MEMPOOL_ATTR_RELEASE_THRESHOLD = 4


@dataclass
class StreamState:
    """A queue of work; `done` counts what was taken from it. While capturing, work goes into `captured`."""

    queue: list[Work] = field(default_factory=list)
    done: int = 0
    captured: list[Work] | None = None
    unsupported: bool = False

    def put(self, work: Work) -> None:
        (self.queue if self.captured is None else self.captured).append(work)

    @property
    def queued(self) -> int:
        return self.done + len(self.queue)

    def drain(self, until: int | None = None) -> None:
        while self.queue and (until is None or self.done < until):
            work = self.queue.pop(0)
            self.done += 1
            work()


class StandinCuda:
    """The module `cuda.bindings.driver`, as far as dimrt uses it, for one GPU.

    Attributes:
        limit: bytes of the GPU's memory.
        calls: how often each function was called.
        copied: kind ("in", "out", "on") and bytes of every copy that was queued or captured.
    """

    CUresult = CUresult
    CUdevice_attribute = CUdevice_attribute
    CUstream_flags = CUstream_flags
    CUevent_flags = CUevent_flags
    CUstreamCaptureMode = CUstreamCaptureMode
    CUmemorytype = CUmemorytype
    CUmemAllocationType = CUmemAllocationType
    CUmemLocationType = CUmemLocationType
    CUmemPool_attribute = CUmemPool_attribute
    CUstream = staticmethod(int)
    CUdeviceptr = staticmethod(int)
    cuuint64_t = staticmethod(int)
    CUDA_MEMCPY2D = SimpleNamespace

    def __init__(self, *, limit: int = 1 << 34, capability: str = "8.9", pools: bool = True) -> None:
        self.limit, self.capability, self.pools = limit, capability, pools
        self.name = "Stand-in GPU"
        self.devices = 1
        self.driver = 13000
        self.memory: dict[int, NDArray[np.uint8]] = {}
        self.pinned: dict[int, Any] = {}
        self.streams: dict[int, StreamState] = {}
        self.events: dict[int, tuple[StreamState, int] | None] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.executables: dict[int, list[Work]] = {}
        self.contexts: list[int] = []
        self.retained = 0
        self.calls: dict[str, int] = {}
        self.copied: list[tuple[str, int]] = []
        self._failures: dict[str, tuple[range, CUresult]] = {}
        self._next_address, self._next_handle = FIRST_ADDRESS, 16

    def CUmemPoolProps(self) -> Any:
        return SimpleNamespace(location=SimpleNamespace())

    # What a test asks and sets.

    def fail(self, function: str, nth: int, code: CUresult, *, times: int = 1) -> None:
        """Let the nth call of a function from now on (0: the next) fail, and those after it, `times` in all."""
        first = self.calls.get(function, 0) + nth
        self._failures[function] = range(first, first + times), code

    def heal(self) -> None:
        """Let nothing fail any more."""
        self._failures.clear()

    @property
    def used(self) -> int:
        """Bytes of the GPU's memory in use, once all queued work is done."""
        self.drain_all()
        return sum(block.size for block in self.memory.values())

    def drain_all(self) -> None:
        for stream in list(self.streams.values()):
            stream.drain()

    # What the stand-in library uses.

    def take(self, nbytes: int) -> int | None:
        """Allocate as a library does by itself; None when memory is full."""
        if sum(block.size for block in self.memory.values()) + nbytes > self.limit:
            self.drain_all()
        if sum(block.size for block in self.memory.values()) + nbytes > self.limit:
            return None
        address = self._next_address
        self._next_address += -(-nbytes // STEP) * STEP + STEP
        self.memory[address] = np.full(nbytes, 0xFF, np.uint8)
        return address

    def at(self, address: int, nbytes: int) -> NDArray[np.uint8]:
        """GPU memory as an array.

        Raises:
            StandinFault: it isn't (or no longer) allocated, or too short.
        """
        for base, block in self.memory.items():
            if base <= address and address + nbytes <= base + block.size:
                return block[address - base : address - base + nbytes]
        raise StandinFault(f"{nbytes} bytes at {address:#x} are no GPU memory, or no longer")

    def host_at(self, address: int, nbytes: int) -> NDArray[np.uint8]:
        """Pinned memory as an array.

        Raises:
            StandinFault: it isn't pinned.
        """
        for base, block in self.pinned.items():
            if base <= address and address + nbytes <= base + len(block):
                return np.frombuffer(block, np.uint8)[address - base : address - base + nbytes]
        raise StandinFault(f"{nbytes} bytes at {address:#x} are no pinned memory, or no longer")

    def stream(self, handle: Any) -> StreamState:
        if int(handle) not in self.streams:
            raise StandinFault(f"stream {handle} doesn't exist (any more)")
        return self.streams[int(handle)]

    def _begin(self, name: str, *, context: bool = True, capture: bool = False) -> CUresult:
        """Count a call; its result code."""
        count = self.calls.get(name, 0)
        self.calls[name] = count + 1
        if name in self._failures and count in self._failures[name][0]:
            return self._failures[name][1]
        if context and not self.contexts:
            return CUresult.CUDA_ERROR_INVALID_CONTEXT
        capturing = [stream for stream in self.streams.values() if stream.captured is not None]
        if capturing and not capture:
            capturing[0].unsupported = True
            return CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
        return CUresult.CUDA_SUCCESS

    def _handle(self) -> int:
        self._next_handle += 1
        return self._next_handle

    # The driver's functions.

    def cuInit(self, _flags: int) -> tuple[Any, ...]:
        code = self._begin("cuInit", context=False)
        return (CUresult.CUDA_ERROR_NO_DEVICE if self.devices == 0 and not code else code,)

    def cuDeviceGetCount(self) -> tuple[Any, ...]:
        return self._begin("cuDeviceGetCount", context=False), self.devices

    def cuDeviceGet(self, ordinal: int) -> tuple[Any, ...]:
        return self._begin("cuDeviceGet", context=False), ordinal

    def cuDriverGetVersion(self) -> tuple[Any, ...]:
        return self._begin("cuDriverGetVersion", context=False), self.driver

    def cuDeviceGetName(self, _length: int, _device: int) -> tuple[Any, ...]:
        return self._begin("cuDeviceGetName", context=False), self.name.encode() + b"\0\0"

    def cuDeviceTotalMem(self, _device: int) -> tuple[Any, ...]:
        return self._begin("cuDeviceTotalMem", context=False), self.limit

    def cuDeviceGetAttribute(self, kind: CUdevice_attribute, _device: int) -> tuple[Any, ...]:
        major, minor = self.capability.split(".")
        values = {75: int(major), 76: int(minor), 115: int(self.pools)}
        return self._begin("cuDeviceGetAttribute", context=False), values[int(kind)]

    def cuDevicePrimaryCtxRetain(self, _device: int) -> tuple[Any, ...]:
        self.retained += 1
        return self._begin("cuDevicePrimaryCtxRetain", context=False), PRIMARY

    def cuDevicePrimaryCtxRelease(self, _device: int) -> tuple[Any, ...]:
        self.retained -= 1
        return (self._begin("cuDevicePrimaryCtxRelease", context=False),)

    def cuCtxPushCurrent(self, context: int) -> tuple[Any, ...]:
        self.contexts.append(context)
        return (CUresult.CUDA_SUCCESS,)

    def cuCtxPopCurrent(self) -> tuple[Any, ...]:
        return CUresult.CUDA_SUCCESS, self.contexts.pop()

    def cuMemGetInfo(self) -> tuple[Any, ...]:
        return CUresult.CUDA_SUCCESS, self.limit - sum(block.size for block in self.memory.values()), self.limit

    def cuMemPoolCreate(self, properties: Any) -> tuple[Any, ...]:
        if (properties.allocType, properties.location.type, properties.location.id) != (1, 1, 0):
            raise StandinFault("a pool of another kind")
        return self._begin("cuMemPoolCreate"), self._handle()

    def cuMemPoolSetAttribute(self, _pool: int, _attribute: int, _value: int) -> tuple[Any, ...]:
        return (self._begin("cuMemPoolSetAttribute"),)

    def cuMemPoolTrimTo(self, _pool: int, _kept: int) -> tuple[Any, ...]:
        return (self._begin("cuMemPoolTrimTo"),)

    def cuMemPoolDestroy(self, _pool: int) -> tuple[Any, ...]:
        return (self._begin("cuMemPoolDestroy"),)

    def cuMemAllocFromPoolAsync(self, nbytes: int, _pool: int, stream: int) -> tuple[Any, ...]:
        self.stream(stream)
        return self._allocate("cuMemAllocFromPoolAsync", nbytes)

    def cuMemAlloc(self, nbytes: int) -> tuple[Any, ...]:
        return self._allocate("cuMemAlloc", nbytes)

    def _allocate(self, name: str, nbytes: int) -> tuple[Any, ...]:
        code = self._begin(name)
        if code:
            return code, 0
        if nbytes < 1:
            return CUresult.CUDA_ERROR_INVALID_VALUE, 0
        address = self.take(nbytes)
        return (CUresult.CUDA_ERROR_OUT_OF_MEMORY, 0) if address is None else (CUresult.CUDA_SUCCESS, address)

    def release(self, address: int) -> None:
        if self.memory.pop(address, None) is None:
            raise StandinFault(f"{address:#x} is freed and isn't allocated")

    def cuMemFreeAsync(self, address: int, stream: int) -> tuple[Any, ...]:
        code = self._begin("cuMemFreeAsync")
        if not code:
            self.stream(stream).put(lambda: self.release(int(address)))
        return (code,)

    def cuMemFree(self, address: int) -> tuple[Any, ...]:
        code = self._begin("cuMemFree")
        if not code:
            self.release(int(address))
        return (code,)

    def cuMemHostAlloc(self, nbytes: int, _flags: int) -> tuple[Any, ...]:
        code = self._begin("cuMemHostAlloc")
        if code:
            return code, 0
        block = (ctypes.c_uint8 * nbytes)()
        self.pinned[ctypes.addressof(block)] = block
        return code, ctypes.addressof(block)

    def cuMemFreeHost(self, address: int) -> tuple[Any, ...]:
        code = self._begin("cuMemFreeHost")
        if self.pinned.pop(int(address), None) is None:
            raise StandinFault("pinned memory is freed twice")
        return (code,)

    def cuMemcpyHtoDAsync(self, target: int, source: int, nbytes: int, stream: int) -> tuple[Any, ...]:
        def work() -> None:
            self.at(target, nbytes)[:] = self.host_at(source, nbytes)

        self.copied.append(("in", nbytes))
        return self._queued("cuMemcpyHtoDAsync", stream, work)

    def cuMemcpyDtoHAsync(self, target: int, source: int, nbytes: int, stream: int) -> tuple[Any, ...]:
        def work() -> None:
            self.host_at(target, nbytes)[:] = self.at(source, nbytes)

        self.copied.append(("out", nbytes))
        return self._queued("cuMemcpyDtoHAsync", stream, work)

    def cuMemcpyDtoDAsync(self, target: int, source: int, nbytes: int, stream: int) -> tuple[Any, ...]:
        def work() -> None:
            self.at(target, nbytes)[:] = self.at(source, nbytes).copy()

        self.copied.append(("on", nbytes))
        return self._queued("cuMemcpyDtoDAsync", stream, work)

    def cuMemsetD8Async(self, target: int, value: int, nbytes: int, stream: int) -> tuple[Any, ...]:
        def work() -> None:
            self.at(target, nbytes)[:] = value

        return self._queued("cuMemsetD8Async", stream, work)

    def _queued(self, name: str, stream: int, work: Work) -> tuple[Any, ...]:
        code = self._begin(name, capture=True)
        if not code:
            self.stream(stream).put(work)
        return (code,)

    def cuMemcpy2DUnaligned(self, copy: Any) -> tuple[Any, ...]:
        code = self._begin("cuMemcpy2DUnaligned")
        if code:
            return (code,)
        self.drain_all()
        try:
            rows = [self.at(copy.srcDevice + i * copy.srcPitch, copy.WidthInBytes) for i in range(copy.Height)]
        except StandinFault:
            return (CUresult.CUDA_ERROR_INVALID_VALUE,)
        for i, row in enumerate(rows):
            ctypes.memmove(copy.dstHost + i * copy.dstPitch, row.ctypes.data, copy.WidthInBytes)
        return (code,)

    def cuStreamCreate(self, _flags: int) -> tuple[Any, ...]:
        code, handle = self._begin("cuStreamCreate"), self._handle()
        self.streams[handle] = StreamState()
        return code, handle

    def cuStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        self.stream(stream).drain()
        del self.streams[stream]
        return (self._begin("cuStreamDestroy"),)

    def cuStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        code = self._begin("cuStreamSynchronize")
        if not code:
            self.stream(stream).drain()
        return (code,)

    def cuStreamWaitEvent(self, stream: int, event: int, _flags: int) -> tuple[Any, ...]:
        code, mark = self._begin("cuStreamWaitEvent"), self.events[event]
        if mark is not None and not code:
            other, until = mark
            self.stream(stream).put(lambda: other.drain(until))
        return (code,)

    def cuEventCreate(self, _flags: int) -> tuple[Any, ...]:
        handle = self._handle()
        self.events[handle] = None
        return self._begin("cuEventCreate"), handle

    def cuEventRecord(self, event: int, stream: int) -> tuple[Any, ...]:
        state = self.stream(stream)
        self.events[event] = state, state.queued
        return (self._begin("cuEventRecord"),)

    def cuEventSynchronize(self, event: int) -> tuple[Any, ...]:
        code, mark = self._begin("cuEventSynchronize"), self.events[event]
        if mark is not None and not code:
            mark[0].drain(mark[1])
        return (code,)

    def cuEventElapsedTime(self, _start: int, _end: int) -> tuple[Any, ...]:
        return self._begin("cuEventElapsedTime"), 1.0

    def cuEventDestroy(self, event: int) -> tuple[Any, ...]:
        del self.events[event]
        return (self._begin("cuEventDestroy", capture=True),)

    def cuStreamBeginCapture(self, stream: int, _mode: int) -> tuple[Any, ...]:
        code = self._begin("cuStreamBeginCapture")
        if not code:
            state = self.stream(stream)
            state.captured, state.unsupported = [], False
        return (code,)

    def cuStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        code, state = self._begin("cuStreamEndCapture", capture=True), self.stream(stream)
        captured, state.captured = state.captured, None
        if state.unsupported or code or captured is None:
            return code or CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, None
        handle = self._handle()
        self.graphs[handle] = captured
        return code, handle

    def cuGraphInstantiate(self, graph: int, _flags: int) -> tuple[Any, ...]:
        code, handle = self._begin("cuGraphInstantiate"), self._handle()
        if not code:
            self.executables[handle] = list(self.graphs[graph])
        return code, handle

    def cuGraphDestroy(self, graph: int) -> tuple[Any, ...]:
        del self.graphs[graph]
        return (self._begin("cuGraphDestroy"),)

    def cuGraphLaunch(self, executable: int, stream: int) -> tuple[Any, ...]:
        code = self._begin("cuGraphLaunch")
        if not code:
            for work in self.executables[executable]:
                self.stream(stream).put(work)
        return (code,)

    def cuGraphExecDestroy(self, executable: int) -> tuple[Any, ...]:
        del self.executables[executable]
        return (self._begin("cuGraphExecDestroy"),)
