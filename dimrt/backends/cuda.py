"""The part of the CUDA driver API that dimrt uses, on cuda-bindings: typed, every result checked.

The device's primary context is retained, which the CUDA runtime, TensorRT, PyTorch and PyCUDA's `autoprimaryctx` use as
well; it is made current for each call and what was current before comes back, so that an application's own context is
never disturbed.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimrt.errors import InputError, ResourceError

MEGABYTE = 1_000_000
_OLD_DRIVER = ("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE")
_NO_DRIVER = "no NVIDIA driver can be used{0}; install one (`nvidia-smi` must list the GPU), or use --device cpu"
SMALLER = (
    "use a bundle of a smaller recipe (`dimrt export --int8` or `--int4`), a target with `residency` = "
    '"phased", with a smaller `length` in [pinned] or smaller [shapes], or close other programs that use the GPU'
)
"""What helps when the GPU's memory is full."""


class OutOfMemory(ResourceError):
    """The GPU's memory is full.

    Attributes:
        asked: bytes that were asked for; None when the library that asked doesn't say.
        free: bytes that were free.
    """

    def __init__(self, what: str, asked: int | None, free: int, total: int) -> None:
        self.asked, self.free = asked, free
        wants = "" if asked is None else f" {asked / MEGABYTE:,.1f} MB are needed and"
        super().__init__(
            f"out of GPU memory for {what}:{wants} {free / MEGABYTE:,.1f} of {total / MEGABYTE:,.1f} MB are free; "
            + SMALLER
        )


@dataclass(frozen=True)
class Facts:
    """What the driver says about a GPU.

    Attributes:
        name: as its maker calls it.
        capability: compute capability, like "8.9".
        driver: newest CUDA version that the driver supports, like "13.0".
        memory_bytes: all of its memory.
        pools: whether it has stream-ordered memory pools.
    """

    name: str
    capability: str
    driver: str
    memory_bytes: int
    pools: bool


def load_driver() -> Any:
    """The driver API's Python module.

    Raises:
        ResourceError: it isn't installed.
    """
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise ResourceError(
            f'cuda-bindings can\'t be imported ({error}); install it: pip install "dimrt[rtx]" (or "dimrt[tensorrt]")'
        ) from None
    return driver


class Device:
    """One GPU, by its primary context.

    Attributes:
        driver: the driver API's module.
        facts: what the driver says about the GPU.
    """

    def __init__(self, ordinal: int = 0) -> None:
        """Retain the primary context of GPU `ordinal` (of those that `CUDA_VISIBLE_DEVICES` leaves visible).

        Raises:
            ResourceError: no driver, one that is too old, or no such GPU; the message says what to install.
        """
        self.driver = load_driver()
        self._context: Any = None
        try:
            self._checked("cuInit", 0)
            (count,) = self._checked("cuDeviceGetCount")
        except RuntimeError as error:  # cuda-bindings found no driver library
            raise ResourceError(_NO_DRIVER.format(f" ({_first_line(error)})")) from None
        if ordinal >= count:
            raise ResourceError(_NO_DRIVER.format(f" (the driver lists {count} GPUs)"))
        (self._device,) = self._checked("cuDeviceGet", ordinal)
        (self._context,) = self._checked("cuDevicePrimaryCtxRetain", self._device)
        self.facts = self._facts()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the primary context current; the one before comes back at the end."""
        self._checked("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self._checked("cuCtxPopCurrent")

    def call(self, name: str, *args: Any) -> tuple[Any, ...]:
        """Call a driver function in the primary context; returns what follows its result code.

        Raises:
            OutOfMemory: the GPU's memory is full.
            ResourceError: any other error of the driver.
        """
        with self.current():
            return self._checked(name, *args)

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of the GPU's memory."""
        free, total = self.call("cuMemGetInfo")
        return int(free), int(total)

    def wait_for_handle(self, stream: int) -> None:
        """Wait for everything queued on a stream of the application's (1: the legacy default, 2: per thread)."""
        self.call("cuStreamSynchronize", self.driver.CUstream(stream))

    def copy_rows_to_host(self, target: NDArray[np.uint8], pointer: int, pitch: int) -> None:
        """Copy rows that lie `pitch` bytes apart on the GPU into a C-ordered array.

        Raises:
            InputError: the pointer isn't one of this GPU.
        """
        rows, width = target.shape[0], target.nbytes // target.shape[0]
        copy = self.driver.CUDA_MEMCPY2D()
        copy.srcMemoryType = self.driver.CUmemorytype.CU_MEMORYTYPE_DEVICE
        copy.dstMemoryType = self.driver.CUmemorytype.CU_MEMORYTYPE_HOST
        copy.srcDevice, copy.srcPitch = self.driver.CUdeviceptr(pointer), pitch
        copy.dstHost, copy.dstPitch = target.ctypes.data, width
        copy.WidthInBytes, copy.Height = width, rows
        with self.current():
            result, *_ = self.driver.cuMemcpy2DUnaligned(copy)
        if result == self.driver.CUresult.CUDA_ERROR_INVALID_VALUE:
            raise InputError(
                f"the given array's pointer {pointer:#x} isn't memory of this GPU's primary context; "
                "with PyCUDA, import pycuda.autoprimaryctx in place of pycuda.autoinit"
            )
        self._check("cuMemcpy2DUnaligned", result)

    def discard(self, name: str, handle: Any, *more: Any) -> None:
        """Give something back from a destructor, where nobody can be told of an error."""
        if not sys.is_finalizing():
            with suppress(ResourceError):
                self.call(name, handle, *more)

    def __del__(self) -> None:
        if not sys.is_finalizing() and getattr(self, "_context", None) is not None:
            with suppress(ResourceError):
                self._checked("cuDevicePrimaryCtxRelease", self._device)

    def _facts(self) -> Facts:
        attribute = self.driver.CUdevice_attribute
        major, minor, pools = (
            int(self._checked("cuDeviceGetAttribute", kind, self._device)[0])
            for kind in (
                attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                attribute.CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED,
            )
        )
        (name,) = self._checked("cuDeviceGetName", 256, self._device)
        (total,) = self._checked("cuDeviceTotalMem", self._device)
        (version,) = self._checked("cuDriverGetVersion")
        return Facts(
            name=bytes(name).split(b"\0")[0].decode(),
            capability=f"{major}.{minor}",
            driver=f"{version // 1000}.{version % 1000 // 10}",
            memory_bytes=int(total),
            pools=bool(pools),
        )

    def _checked(self, name: str, *args: Any) -> tuple[Any, ...]:
        try:
            result, *values = getattr(self.driver, name)(*args)
        except RuntimeError as error:
            if "not found" in str(error) and name != "cuInit":
                raise ResourceError(f"the NVIDIA driver has no {name}: it is too old; install a newer one") from None
            raise
        self._check(name, result)
        return tuple(values)

    def _check(self, name: str, result: Any) -> None:
        codes = self.driver.CUresult
        if result == codes.CUDA_SUCCESS:
            return
        if result == codes.CUDA_ERROR_NO_DEVICE:
            raise ResourceError(_NO_DRIVER.format(" (the driver sees no GPU)"))
        if result.name in _OLD_DRIVER:
            raise ResourceError(f"the NVIDIA driver doesn't fit this CUDA ({result.name}); install a newer one")
        if result == codes.CUDA_ERROR_OUT_OF_MEMORY:
            free, total = self.memory() if self._context is not None else (0, 0)
            raise OutOfMemory(name, None, free, total)
        raise ResourceError(
            f"the GPU reported {result.name} in {name}; after an error of a kernel only a new process can use it again"
        )


def host_view(address: int, nbytes: int) -> NDArray[np.uint8]:
    """Host memory as an array of bytes."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
