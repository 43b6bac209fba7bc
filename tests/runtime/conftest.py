"""What the runtime's tests share: opened tiny bundles and the fixtures' arrays."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from recorded import Arrays, Cases
from recorder import RecordingBackend
from standin_gpu import LENGTH, StandinGpu, write_target

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.backends.tensorrt import TensorRtBackend
from dimrt.bundle import NANO, Bundle
from dimrt.designer import Designer
from dimrt.editor import Editor


def _arrays(path: Path) -> Arrays:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="session")
def designer_arrays(reference: Path) -> Arrays:
    """Recorded encodings and decodings of the tiny designer."""
    return _arrays(reference / "designer_tiny.npz")


@pytest.fixture(scope="session")
def chain_arrays(reference: Path) -> Arrays:
    """Recorded runs of the whole chain."""
    return _arrays(reference / "pipeline_tiny.npz")


@pytest.fixture(scope="session")
def edit_bundle(tiny_edit_bundle: Path) -> Bundle:
    return Bundle.open(tiny_edit_bundle)


@pytest.fixture(scope="session")
def generate_bundle(tiny_generate_bundle: Path) -> Bundle:
    return Bundle.open(tiny_generate_bundle)


@pytest.fixture(scope="session")
def edit_backend(edit_bundle: Bundle) -> OrtBackend:
    """Loaded sessions, shared by all tests; they keep no state between runs."""
    return OrtBackend(edit_bundle, threads=1)


@pytest.fixture(scope="session")
def generate_backend(generate_bundle: Bundle) -> OrtBackend:
    return OrtBackend(generate_bundle, threads=1)


@pytest.fixture
def recording(edit_backend: OrtBackend) -> RecordingBackend:
    return RecordingBackend(edit_backend)


@pytest.fixture
def designer(edit_bundle: Bundle, recording: RecordingBackend) -> Designer:
    """A designer that has seen nothing yet."""
    return Designer(edit_bundle, recording)


@pytest.fixture(scope="session")
def cases(edit_bundle: Bundle, designer_arrays: Arrays) -> Cases:
    return Cases(edit_bundle, designer_arrays)


@pytest.fixture(scope="session")
def nano() -> Bundle:
    """The shipped bundle."""
    return Bundle.open(NANO, verify="layout")


@pytest.fixture(scope="session")
def nano_backend(nano: Bundle) -> OrtBackend:
    return OrtBackend(nano, threads=1)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandinGpu:
    """A machine with a stand-in GPU. ONNX Runtime's caches are as long as its engines', so that numbers are equal."""
    monkeypatch.setattr("dimrt.language.CACHE_STEP", LENGTH)
    return StandinGpu(monkeypatch, tmp_path)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The target file of the stand-in GPU."""
    return write_target(tmp_path)


@pytest.fixture
def gpu_editor(gpu: StandinGpu, nano: Bundle, target: Path) -> Iterator[Editor]:
    """An editor whose engines are all in the cache."""
    gpu.fill(nano, target)
    editor = Editor(nano, TensorRtBackend(nano, target=target, build="never"))
    yield editor
    gpu.cuda.heal()
    editor.close()


@pytest.fixture(scope="session")
def photo(chain_arrays: Arrays) -> NDArray[np.uint8]:
    """The picture that the reference's runs edit."""
    return chain_arrays["source_uint8"]
