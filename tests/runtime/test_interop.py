"""Pictures that another library holds on a GPU."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from standin_gpu import StandinGpu

from dimrt.editor import Editor
from dimrt.errors import InputError, ResourceError
from dimrt.interop import CudaArray, DeviceArray, from_device
from dimrt.options import EditOptions

QUICK = EditOptions(steps=1, think=False)


def upload(gpu: StandinGpu, pixels: NDArray[np.uint8], *, pitch: int | None = None) -> DeviceArray:
    """The picture as an application holds it, rows `pitch` bytes apart."""
    rows, width = len(pixels), pixels[0].size
    step = pitch or width
    address = gpu.cuda.take(rows * step)
    assert address is not None
    memory = gpu.cuda.at(address, rows * step).reshape(rows, step)
    memory[:, :width] = pixels.reshape(rows, width)
    strides = None if pitch is None else (pitch, *((pixels.shape[2], 1) if pixels.ndim == 3 else (1,)))
    return DeviceArray(address, pixels.shape, strides=strides)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
@pytest.mark.parametrize("pitch", [None, 64])
def test_a_picture_is_copied_as_it_is(gpu: StandinGpu, shape: tuple[int, ...], pitch: int | None) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert np.array_equal(from_device(upload(gpu, pixels, pitch=pitch)), pixels)
    assert gpu.cuda.retained == 0
    assert gpu.cuda.contexts == []


def test_an_edit_takes_it_like_any_photo(gpu_editor: Editor, gpu: StandinGpu, photo: NDArray[np.uint8]) -> None:
    expected = gpu_editor.edit(photo, "make it red", QUICK)
    given = upload(gpu, photo, pitch=1024)
    assert isinstance(given, CudaArray)
    assert np.array_equal(gpu_editor.edit(given, "make it red", QUICK).image, expected.image)
    assert np.array_equal(gpu_editor.encode(given), gpu_editor.encode(photo))


def test_work_on_the_pictures_stream_is_waited_for(gpu: StandinGpu) -> None:
    pixels = np.full((4, 4, 3), 9, np.uint8)
    given = upload(gpu, np.zeros_like(pixels))
    gpu.cuda.contexts.append(1)
    _, stream = gpu.cuda.cuStreamCreate(0)
    given.stream = stream

    def late() -> None:
        gpu.cuda.at(given.pointer, pixels.size)[:] = pixels.reshape(-1)

    gpu.cuda.stream(stream).put(late)
    assert np.array_equal(from_device(given), pixels)


def test_an_applications_context_is_current_again(gpu: StandinGpu) -> None:
    gpu.cuda.contexts.append(77)
    from_device(upload(gpu, np.zeros((2, 2), np.uint8)))
    assert gpu.cuda.contexts == [77]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"typestr": "<f4"}, "type '<f4'; give uint8"),
        ({"shape": (4, 4, 2)}, "shape"),
        ({"shape": (4,)}, "shape"),
        ({"shape": (0, 4, 3)}, "shape"),
        ({"strides": (3, 12, 1)}, "strides .* side by side"),
        ({"strides": (-12, 3, 1)}, "strides"),
        ({"strides": (11, 3, 1)}, "strides"),
        ({"strides": (12, 3)}, "strides"),
        ({"mask": object()}, "mask"),
        ({"stream": 0}, "stream 0"),
        ({"stream": "x"}, "stream 'x'"),
        ({"data": (12345, False)}, r"0x3039 isn't memory of this GPU's primary context; .*autoprimaryctx"),
    ],
)
def test_what_can_not_be_taken_says_why(gpu: StandinGpu, change: dict[str, Any], match: str) -> None:
    interface = {**upload(gpu, np.zeros((4, 4, 3), np.uint8)).__cuda_array_interface__, **change}
    with pytest.raises(InputError, match=match):
        from_device(SimpleNamespace(__cuda_array_interface__=interface))


def test_without_a_gpu(gpu: StandinGpu) -> None:
    given = upload(gpu, np.zeros((4, 4, 3), np.uint8))
    gpu.cuda.devices = 0
    with pytest.raises(ResourceError, match="NVIDIA driver"):
        from_device(given)
