"""Arrays that another library keeps on a GPU, by `__cuda_array_interface__` (version 3): PyCUDA, CuPy, Numba, PyTorch.

The primary context of the GPU is shared, so an application's pointers are valid here as they are. (In PyCUDA:
`import pycuda.autoprimaryctx`; `autoinit` makes a context of its own.)
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dimrt.errors import InputError

Pixels = NDArray[np.uint8]


@runtime_checkable
class CudaArray(Protocol):
    """Anything that describes an array on a GPU."""

    @property
    def __cuda_array_interface__(self) -> Mapping[str, Any]:
        """Shape, type, pointer, strides and stream of the array."""


class DeviceArray:
    """A pointer on a GPU described as an array, such as an application's own allocation.

    Attributes:
        pointer, shape, dtype: of the array, C order unless `strides` (in bytes) says otherwise.
        stream: handle of the CUDA stream on which the array is being written; None when it is ready.
    """

    def __init__(
        self,
        pointer: int,
        shape: tuple[int, ...],
        dtype: DTypeLike = np.uint8,
        *,
        strides: tuple[int, ...] | None = None,
        stream: int | None = None,
        owner: object = None,
    ) -> None:
        """Describe memory.

        Args:
            pointer: address on the GPU (for a PyCUDA allocation `int(allocation)`).
            shape, dtype, strides, stream: see the attributes.
            owner: kept alive as long as this object.
        """
        self.pointer, self.shape, self.dtype = int(pointer), tuple(shape), np.dtype(dtype)
        self.strides, self.stream = strides, stream
        self._owner = owner

    @property
    def __cuda_array_interface__(self) -> Mapping[str, Any]:
        """Version 3 of the interface."""
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": self.strides,
            "stream": self.stream,
        }


def from_device(array: CudaArray) -> Pixels:
    """Copy a picture from a GPU to the host, after the work on its own stream.

    Args:
        array: uint8 [H, W], [H, W, 3] or [H, W, 4]; rows may be padded, pixels lie side by side.

    Raises:
        InputError: another type, shape or layout.
        ResourceError: there is no usable GPU.
    """
    from dimrt.backends.cuda import Device

    interface = array.__cuda_array_interface__
    shape, pitch = _layout(interface)
    pointer, stream = int(interface["data"][0]), interface.get("stream")
    if stream is not None and (isinstance(stream, bool) or not isinstance(stream, int) or stream == 0):
        raise InputError(f"the given GPU array names stream {stream!r}; give a stream handle, 1, 2 or None")
    pixels: Pixels = np.empty(shape, np.uint8)
    device = Device()
    if stream is not None:
        device.wait_for_handle(stream)
    device.copy_rows_to_host(pixels, pointer, pitch)
    return pixels


def _layout(interface: Mapping[str, Any]) -> tuple[tuple[int, ...], int]:
    """Shape, and bytes from one row to the next."""
    shape, kind = tuple(int(side) for side in interface["shape"]), interface["typestr"]
    if kind != "|u1":
        raise InputError(f'the given GPU array has type {kind!r}; give uint8 ("|u1") values from 0 to 255')
    if interface.get("mask") is not None:
        raise InputError("the given GPU array has a mask; give one without")
    if len(shape) not in (2, 3) or min(shape) < 1 or (len(shape) == 3 and shape[2] not in (3, 4)):
        raise InputError(f"the given GPU array has shape {shape}; give [H, W], [H, W, 3] or [H, W, 4]")
    row = int(np.prod(shape[1:]))
    inner = (shape[2], 1) if len(shape) == 3 else (1,)
    strides = interface.get("strides")
    if strides is None:
        return shape, row
    strides = tuple(int(step) for step in strides)
    if len(strides) != len(shape) or strides[1:] != inner or strides[0] < row:
        raise InputError(
            f"the given GPU array has strides {strides} for shape {shape}; its pixels must lie side by side "
            f"(strides (at least {row}, {', '.join(map(str, inner))})): copy it into C order first"
        )
    return shape, strides[0]
