"""The TensorRT backend on a stand-in GPU: the whole chain's numbers, what is replayed, kept, released and refused."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from recorded import Arrays
from standin_gpu import StandinGpu, write_target

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.backends.tensorrt import TensorRtBackend
from dimrt.bundle import NANO, Bundle
from dimrt.editor import Editor
from dimrt.options import EditOptions

INSTRUCTION = "make it red"
LENGTH = 512
OPTIONS = EditOptions(steps=4, max_new_tokens=12)
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="session")
def nano() -> Bundle:
    return Bundle.open(NANO, verify="layout")


@pytest.fixture(scope="session")
def nano_backend(nano: Bundle) -> OrtBackend:
    return OrtBackend(nano, threads=1)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandinGpu:
    monkeypatch.setattr("dimrt.language.CACHE_STEP", LENGTH)  # ONNX Runtime's caches are as long as the engine's
    return StandinGpu(monkeypatch, tmp_path)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return write_target(tmp_path, length=LENGTH)


@pytest.fixture
def photo(chain_arrays: Arrays) -> NDArray[np.uint8]:
    return chain_arrays["source_uint8"]


@pytest.fixture
def editor(gpu: StandinGpu, nano: Bundle, target: Path) -> Iterator[Editor]:
    gpu.fill(nano, target)
    editor = Editor(nano, TensorRtBackend(nano, target=target, build="never"))
    yield editor
    editor.close()


def test_the_chain_gives_the_same_bytes_as_onnx_runtime(
    editor: Editor, nano: Bundle, nano_backend: OrtBackend, photo: NDArray[np.uint8]
) -> None:
    expected = Editor(nano, nano_backend).edit(photo, INSTRUCTION, OPTIONS)
    result = editor.edit(photo, INSTRUCTION, OPTIONS)
    assert result.provider == "tensorrt-rtx 1.0.standin on Stand-in GPU"
    assert result.blueprint == expected.blueprint
    assert np.array_equal(result.painted, expected.painted)
    assert np.array_equal(result.image, expected.image)
