"""Tests on a real GPU; without one they are skipped, with the reason."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dimrt.backends.cuda import Device
from dimrt.backends.onnxruntime import OrtBackend
from dimrt.backends.tensorrt import TensorRtBackend
from dimrt.bundle import NANO, Bundle
from dimrt.editor import Editor
from dimrt.engines.cache import EngineCache
from dimrt.engines.device import detect, target_for
from dimrt.errors import ResourceError
from dimrt.photo.read import read_photo

PHOTO = Path(__file__).parent.parent.parent / "benchmarks" / "photos" / "chelsea.jpg"


@pytest.fixture(scope="session")
def device() -> Device:
    """The GPU."""
    try:
        return Device()
    except ResourceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def nano() -> Bundle:
    return Bundle.open(NANO, verify="layout")


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    return read_photo(PHOTO).pixels


@pytest.fixture(scope="session")
def on_cpu(nano: Bundle) -> Editor:
    """What the GPU's numbers are compared with."""
    return Editor(nano, OrtBackend(nano))


@pytest.fixture(scope="session")
def engine_folder(device: Device, nano: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with nano's engines for this GPU, built here."""
    from dimrt.engines.build import build_bundle

    folder = tmp_path_factory.mktemp("engines")
    folder.chmod(0o700)
    try:
        build_bundle(nano, target_for(detect()), cache=EngineCache(folder))
    except ResourceError as error:
        pytest.skip(f"no engines for this GPU: {error}")
    return folder


@pytest.fixture
def on_gpu(nano: Bundle, engine_folder: Path) -> Iterator[Editor]:
    """An editor on TensorRT."""
    editor = Editor(nano, TensorRtBackend(nano, cache=engine_folder, build="never"))
    yield editor
    editor.close()
