"""What the runtime's tests share: opened tiny bundles and the fixtures' arrays."""

from pathlib import Path

import numpy as np
import pytest
from recorded import Arrays, Cases
from recorder import RecordingBackend

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import Bundle
from dimrt.designer import Designer


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
