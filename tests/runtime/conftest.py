"""What the runtime's tests share: opened tiny bundles and the fixtures' arrays."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from recorder import RecordingBackend

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import Bundle
from dimrt.designer import Designer, View
from dimrt.prompt import Turn, turn_from_ids
from dimrt.vision import prepare

Arrays = dict[str, NDArray[np.generic]]


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


class Cases:
    """The fixture cases as the runtime's own views and turns."""

    def __init__(self, bundle: Bundle, arrays: Arrays) -> None:
        self._facts = bundle.manifest.designer
        self._ids = json.loads(str(arrays["ids"]))
        self._arrays = arrays

    def turn(self, ids: NDArray[np.int64]) -> Turn:
        """The condition turn of recorded ids."""
        return turn_from_ids(ids, self._facts.tokens, self._ids["user"], self._ids["newline"])

    def whole_turn(self, case: str) -> Turn:
        """All recorded ids of a designer case, as a plan turn."""
        ids = self._arrays[f"{case}.input_ids"][0]
        turn = self.turn(ids)
        return Turn(ids=ids, shared=turn.shared, condition=turn.condition)

    def view(self, designer: Designer, case: str) -> View | None:
        """The case's picture, at its own size."""
        pixels = self._arrays.get(f"{case}.image_uint8")
        if pixels is None:
            return None
        return designer.view(prepare(pixels, self._facts.vision, (pixels.shape[1], pixels.shape[0])))


@pytest.fixture(scope="session")
def cases(edit_bundle: Bundle, designer_arrays: Arrays) -> Cases:
    return Cases(edit_bundle, designer_arrays)
