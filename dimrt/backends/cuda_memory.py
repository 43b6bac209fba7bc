"""Memory on a GPU and pinned memory beside it: who owns it, which stream uses it, when it is given back."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dimrt.backends.cuda import Device, OutOfMemory, host_view
from dimrt.backends.cuda_stream import Stream
from dimrt.errors import ResourceError

Array = NDArray[Any]
ALIGNMENT = 256
"""Bytes; what TensorRT asks of every tensor's address."""
_KEEP_ALL = 2**64 - 1


def aligned(nbytes: int) -> int:
    """Rounded up to the alignment of a tensor."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


class Buffer:
    """A piece of GPU memory; it is given back when nothing refers to it any more, after the work that uses it.

    Attributes:
        nbytes: its size.
        stream: the stream that used it last.
    """

    def __init__(self, memory: "Memory", address: int, nbytes: int, stream: Stream) -> None:
        self.nbytes = nbytes
        self._memory = memory
        self._address: int | None = address
        self.stream = stream

    def use(self, stream: Stream) -> int:
        """The address, for work that is queued on `stream` next; that work waits for what other streams do with it.

        Raises:
            ResourceError: the memory was given back (the editor was closed since).
        """
        if self._address is None:
            raise ResourceError("this tensor's GPU memory was given back; run the edit again from its beginning")
        if stream is not self.stream:
            stream.follow(self.stream)
            self.stream = stream
        return self._address

    def free(self) -> None:
        """Give the memory back now; a second call does nothing."""
        if self._address is not None:
            address, self._address = self._address, None
            self._memory.free(address, self.stream)

    def __del__(self) -> None:
        if not sys.is_finalizing():
            with suppress(ResourceError):
                self.free()


class Memory:
    """All GPU memory of one backend, from a pool of its own.

    Freed memory stays in the pool for the next use (`trim` gives it to others). Where the device has no pools, memory
    comes from and goes to the driver each time.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._live: WeakSet[Buffer] = WeakSet()
        self._postponed: list[tuple[int, Stream]] | None = None
        self._pool: Any = self._make_pool() if device.facts.pools else None

    @property
    def live_bytes(self) -> int:
        """Bytes in use."""
        return sum(buffer.nbytes for buffer in self._live)

    def allocate(self, nbytes: int, stream: Stream, what: str) -> Buffer:
        """Memory whose first use is on `stream`; `what` names it in an error.

        Raises:
            OutOfMemory: there is too little, even after the pool's spare memory was given back.
        """
        size = max(nbytes, 1)
        try:
            address = self._take(size, stream)
        except OutOfMemory:
            stream.synchronize()
            self.trim()
            try:
                address = self._take(size, stream)
            except OutOfMemory as error:
                raise OutOfMemory(what, size, *self.device.memory()) from error
        buffer = Buffer(self, address, nbytes, stream)
        self._live.add(buffer)
        return buffer

    def free(self, address: int, stream: Stream) -> None:
        """Free memory once `stream` is through with it; `Buffer.free` calls this."""
        if self._postponed is not None:
            self._postponed.append((address, stream))
        elif self._pool is not None:
            self.device.call("cuMemFreeAsync", address, stream.handle)
        else:
            stream.synchronize()
            self.device.call("cuMemFree", address)

    @contextmanager
    def postponed(self) -> Iterator[None]:
        """Free nothing until the block ends: what is freed while a stream is captured would become part of it."""
        self._postponed = []
        try:
            yield
        finally:
            waiting, self._postponed = self._postponed, None
            for address, stream in waiting:
                self.free(address, stream)

    def hand_over(self, buffer: Buffer) -> None:
        """Leave a buffer out of `free_all`: it belongs to the caller now."""
        self._live.discard(buffer)

    def free_all(self) -> None:
        """Free every buffer, whoever refers to it, and the pool's spare memory."""
        for buffer in list(self._live):
            buffer.free()
        self.trim()

    def trim(self) -> None:
        """Give the pool's spare memory back to the GPU."""
        if self._pool is not None:
            self.device.call("cuMemPoolTrimTo", self._pool, 0)

    def _take(self, nbytes: int, stream: Stream) -> int:
        if self._pool is None:
            return int(self.device.call("cuMemAlloc", nbytes)[0])
        return int(self.device.call("cuMemAllocFromPoolAsync", nbytes, self._pool, stream.handle)[0])

    def _make_pool(self) -> Any:
        driver = self.device.driver
        properties = driver.CUmemPoolProps()
        properties.allocType = driver.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
        properties.location.type = driver.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
        properties.location.id = 0
        (pool,) = self.device.call("cuMemPoolCreate", properties)
        attribute = driver.CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
        self.device.call("cuMemPoolSetAttribute", pool, attribute, driver.cuuint64_t(_KEEP_ALL))
        return pool

    def __del__(self) -> None:
        if getattr(self, "_pool", None) is not None:
            self.device.discard("cuMemPoolDestroy", self._pool)


class Pinned:
    """Host memory that the GPU copies from and to directly."""

    def __init__(self, device: Device, nbytes: int) -> None:
        self.nbytes = nbytes
        self._device = device
        try:
            self.address = int(device.call("cuMemHostAlloc", max(nbytes, 1), 0)[0])
        except OutOfMemory as error:
            raise OutOfMemory("copies to and from the host", nbytes, *device.memory()) from error
        self.bytes = host_view(self.address, max(nbytes, 1))

    def write(self, offset: int, array: Array) -> None:
        """Copy an array's bytes in, C order."""
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self.bytes[offset : offset + flat.size] = flat

    def read(self, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """A copy of an array in it."""
        kind = np.dtype(dtype)
        nbytes = int(np.prod(shape)) * kind.itemsize
        array: Array = self.bytes[offset : offset + nbytes].copy().view(kind).reshape(shape)
        return array

    def __del__(self) -> None:
        if hasattr(self, "address"):
            self._device.discard("cuMemFreeHost", self.address)


class DeviceTensor:
    """A C-ordered array in GPU memory, or some of its rows.

    Attributes:
        shape, dtype: of the array.
        buffer: the memory it lies in, `offset` bytes from its beginning.
    """

    def __init__(self, buffer: Buffer, shape: tuple[int, ...], dtype: DTypeLike, offset: int = 0) -> None:
        self.buffer, self.offset = buffer, offset
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def use(self, stream: Stream) -> int:
        """The address, for work queued on `stream` next; see `Buffer.use`."""
        return self.buffer.use(stream) + self.offset

    def rows(self, piece: slice, shape: tuple[int, ...] | None = None) -> "DeviceTensor":
        """Some rows (a row is the last axis, all axes before count as one), in the same memory, as `shape`."""
        width = self.shape[-1]
        count = int(np.prod(self.shape[:-1]))
        start, stop, _ = piece.indices(count)
        rows = max(stop - start, 0)
        offset = self.offset + start * width * self.dtype.itemsize
        return DeviceTensor(self.buffer, shape or (rows, width), self.dtype, offset)

    @property
    def __cuda_array_interface__(self) -> Mapping[str, Any]:
        """Version 3 of the interface; the array is ready."""
        address = self.buffer.use(self.buffer.stream)
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (address + self.offset, False),
            "strides": None,
            "stream": None,
        }
