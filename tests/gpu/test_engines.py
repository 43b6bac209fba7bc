"""Real engines of nano against ONNX Runtime on the CPU: graph by graph, replayed, and as a whole edit."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from recorder import RecordingBackend

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.backends.tensorrt import TensorRtBackend
from dimrt.bundle import Bundle
from dimrt.editor import Editor
from dimrt.manifest import GRAPHS
from dimrt.options import EditOptions

pytestmark = pytest.mark.gpu

INSTRUCTION = "make it black and white"
HALF = 1e-2
"""Relative difference of two half-precision runs with other kernels, over a graph of some layers."""


@pytest.fixture(scope="module")
def feeds(nano: Bundle, photo: NDArray[np.uint8]) -> dict[str, dict[str, Any]]:
    """What an edit feeds every graph; of `language`, the read of the prefix."""
    recording = RecordingBackend(OrtBackend(nano))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dimrt.language.CACHE_STEP", 1024)
        Editor(nano, recording).edit(photo, INSTRUCTION, EditOptions(steps=1, max_new_tokens=2))
    return {graph: recording.feeds(graph)[0] for graph in GRAPHS}


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_graph_gives_the_cpus_numbers(
    on_gpu: Editor, nano: Bundle, feeds: dict[str, dict[str, Any]], graph: str
) -> None:
    backend, given = on_gpu._backend, feeds[graph]
    reference = OrtBackend(nano)
    names = [name for name in given if name.startswith(("key_", "value_"))]
    cpu_cache = {name: reference.to_device(given[name].copy()) for name in names}
    expected = reference.engine(graph).run(
        {**given, **cpu_cache}, into={f"{name}_out": tensor for name, tensor in cpu_cache.items()}
    )
    cache = {name: backend.zeros(given[name].shape, given[name].dtype) for name in names}
    results = backend.engine(graph).run(
        {**given, **cache}, into={f"{name}_out": tensor for name, tensor in cache.items()}
    )
    expected |= {name: reference.to_host(tensor) for name, tensor in cpu_cache.items()}
    results |= {name: backend.to_host(tensor) for name, tensor in cache.items()}
    assert results.keys() == expected.keys()
    for name, wanted in expected.items():
        found = np.asarray(results[name], np.float64)
        assert np.isfinite(found).all()
        assert np.linalg.norm(found - wanted) <= HALF * np.linalg.norm(np.asarray(wanted, np.float64)), name


def test_the_cache_is_updated_in_place(on_gpu: Editor) -> None:
    aliases = on_gpu._backend.engine("language")._loaded.aliases
    assert aliases["key_0_out"] == "key_0"


def test_an_edit_is_the_cpus(on_gpu: Editor, on_cpu: Editor, photo: NDArray[np.uint8]) -> None:
    options = EditOptions(steps=4)
    expected = on_cpu.edit(photo, INSTRUCTION, options)
    result = on_gpu.edit(photo, INSTRUCTION, options)
    assert "without CUDA graphs" not in result.provider
    assert result.blueprint == expected.blueprint
    difference = np.abs(result.painted.astype(int) - expected.painted.astype(int))
    assert difference.mean() < 1
    assert np.array_equal(on_gpu.edit(photo, INSTRUCTION, options).image, result.image)


def test_replayed_runs_equal_plain_ones(
    nano: Bundle, engine_folder: Path, on_gpu: Editor, photo: NDArray[np.uint8]
) -> None:
    options = EditOptions(steps=6, max_new_tokens=24, schedule="teacher")
    replayed = on_gpu.edit(photo, INSTRUCTION, options)
    backend = TensorRtBackend(nano, cache=engine_folder, build="never")
    assert backend.missing() == ()
    for graph, record in backend._records.items():
        backend._records[graph] = msgspec.structs.replace(record, cuda_graph=False)
    plain = Editor(nano, backend).edit(photo, INSTRUCTION, options)
    assert plain.blueprint == replayed.blueprint
    assert np.array_equal(plain.painted, replayed.painted)


def test_pixels_stay_on_the_gpu(on_gpu: Editor, photo: NDArray[np.uint8]) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    latent = on_gpu.encode(photo)
    pixels = on_gpu.decode(latent, on_device=True)
    assert np.array_equal(torch.as_tensor(pixels, device="cuda").cpu().numpy(), on_gpu.decode(latent))


def test_closing_gives_the_memory_back(on_gpu: Editor, photo: NDArray[np.uint8]) -> None:
    on_gpu.close()
    memory = on_gpu._backend._memory
    before, _ = memory.device.memory()
    on_gpu.edit(photo, INSTRUCTION, EditOptions(steps=2, max_new_tokens=8))
    assert memory.live_bytes > 0
    on_gpu.close()
    assert memory.live_bytes == 0
    assert memory.device.memory()[0] >= before - (1 << 28)
