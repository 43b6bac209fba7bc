"""The default backend: what was asked for runs, in place where asked, and errors say what to do."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from dimrt.backends.onnxruntime import OrtBackend, best_device
from dimrt.bundle import Bundle
from dimrt.errors import BundleError, InputError, ResourceError
from dimrt.language import Language

HAS_CUDA = "CUDAExecutionProvider" in ort.get_available_providers()


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has CUDA")
def test_a_missing_device_is_an_error_and_no_fallback(edit_bundle: Bundle) -> None:
    with pytest.raises(ResourceError, match=r"--device cuda.*dimrt\[cuda\]"):
        OrtBackend(edit_bundle, device="cuda")
    assert best_device() == "cpu"


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_start_is_an_error(edit_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)
    monkeypatch.setattr(ort.InferenceSession, "get_providers", lambda self: ["CPUExecutionProvider"])
    backend = OrtBackend(edit_bundle, device="cuda")
    with pytest.raises(ResourceError, match="fell back to CPUExecutionProvider"):
        backend.engine("connector")


def test_no_threads_are_refused(edit_bundle: Bundle) -> None:
    with pytest.raises(InputError, match="--threads is 0"):
        OrtBackend(edit_bundle, threads=0)


def test_name_says_what_runs(edit_backend: OrtBackend) -> None:
    assert edit_backend.name == "onnxruntime CPUExecutionProvider"


def test_a_graph_is_loaded_once_until_released(edit_bundle: Bundle) -> None:
    backend = OrtBackend(edit_bundle, threads=1)
    first = backend.engine("connector")
    assert backend.engine("connector") is first
    backend.release("connector")
    assert backend.engine("connector") is not first


def test_outputs_are_kept_on_the_device_only_when_asked(edit_backend: OrtBackend) -> None:
    feeds = {"hidden": np.ones((1, 3, 64), np.float64)}
    engine = edit_backend.engine("connector")
    host = engine.run(feeds)["condition"]
    kept = engine.run(feeds, keep=("condition",))["condition"]
    assert isinstance(host, np.ndarray)
    assert isinstance(kept, ort.OrtValue)
    assert np.array_equal(edit_backend.to_host(kept), host)


def test_the_cache_is_written_in_place(edit_bundle: Bundle, edit_backend: OrtBackend) -> None:
    language = Language(edit_bundle, edit_backend)
    cache = language.cache(10)
    embeddings = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    language.read(cache, embeddings, np.broadcast_to(np.arange(4), (3, 4)), 3)
    for tensor in cache.tensors.values():
        rows = edit_backend.to_host(tensor)[0, 0]
        assert np.all(np.any(rows[3:7] != 0, axis=1))
        assert not rows[:3].any()
        assert not rows[7:].any()


def test_a_graph_that_cannot_be_read_is_a_bundle_error(
    edit_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "connector.onnx"
    broken.write_bytes(b"not a graph")
    monkeypatch.setattr(Bundle, "graph_path", lambda self, name: broken)
    with pytest.raises(BundleError, match=r"connector\.onnx.*dimrt verify"):
        OrtBackend(edit_bundle).engine("connector")
