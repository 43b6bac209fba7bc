"""ONNX Runtime's CUDA provider against its CPU provider, on nano."""

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from dimrt.backends.cuda import Device
from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import Bundle
from dimrt.editor import Editor
from dimrt.errors import ResourceError
from dimrt.options import EditOptions

pytestmark = pytest.mark.gpu

INSTRUCTION = "make it black and white"


@pytest.fixture(scope="module")
def on_cuda(device: Device, nano: Bundle) -> Editor:
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA provider")
    backend = OrtBackend(nano, device="cuda")
    try:
        backend.engine("connector")
    except ResourceError as error:
        pytest.skip(str(error))
    return Editor(nano, backend)


def test_an_edit_is_the_cpus(on_cuda: Editor, on_cpu: Editor, photo: NDArray[np.uint8]) -> None:
    """Operators that the CUDA provider lacks run on the CPU; which ones, `benchmarks/gpu.py` records."""
    options = EditOptions(steps=4)
    expected = on_cpu.edit(photo, INSTRUCTION, options)
    result = on_cuda.edit(photo, INSTRUCTION, options)
    assert result.provider == "onnxruntime CUDAExecutionProvider"
    assert result.blueprint == expected.blueprint
    assert np.abs(result.painted.astype(int) - expected.painted.astype(int)).mean() < 1


def test_pixels_stay_on_the_gpu(on_cuda: Editor, photo: NDArray[np.uint8]) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    latent = on_cuda.encode(photo)
    pixels = on_cuda.decode(latent, on_device=True)
    assert np.array_equal(torch.as_tensor(pixels, device="cuda").cpu().numpy(), on_cuda.decode(latent))
