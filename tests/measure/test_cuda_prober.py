"""Ceilings of a card on the stand-in driver and library: what is queued, and that all memory comes back."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from measuring import CASE, LEAST, Listening
from standin_cuda import CUresult
from standin_gpu import StandinGpu, write_target
from standin_tensorrt import MAGIC

from dimrt.bundle import NANO, Bundle
from dimrt.engines import process
from dimrt.engines.job import Built, Job
from dimrt.errors import BundleError, ResourceError
from dimrt.measure import ceilings, cuda_prober, runs
from dimrt.measure.cuda_prober import CudaProber
from dimrt.measure.samples import Amount

FEW = Amount(2, 2, 0.0)


def standin_build(job: Job, graph: str, *_: object) -> Built:
    """Writes a plan that the stand-in library runs with ONNX Runtime; it has no fp8 there."""
    if graph.startswith("fp8"):
        raise ResourceError(f"graph `{graph}`: the stand-in has no fp8")
    facts = {
        "onnx": job.onnx,
        "capabilities": list(job.capabilities),
        "inputs": [(spec.name, spec.dtype, spec.shape) for spec in job.inputs],
        "outputs": [(spec.name, spec.dtype, spec.shape) for spec in job.outputs],
        "profiles": job.profiles,
        "aliases": {},
        "weights": 4096,
    }
    plan = MAGIC + json.dumps(facts).encode()
    Path(job.plan).write_bytes(plan)
    return Built(hashlib.sha256(plan).hexdigest(), len(plan), 0, job.profiles, False)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandinGpu:
    monkeypatch.setattr(process, "run", standin_build)
    monkeypatch.setattr(cuda_prober, "BYTES", 2**20)
    monkeypatch.setattr(CudaProber, "sizes", (16, 32))
    return StandinGpu(monkeypatch, tmp_path)


def test_a_card_has_its_copies_and_its_products(gpu: StandinGpu) -> None:
    prober = CudaProber()
    found = ceilings.measure(prober, FEW)
    assert set(found.matmul) == {"float32", "float16", "int8"}
    assert set(found.samples) == {f"{kind} {size}" for kind in found.matmul for size in (16, 32)}
    assert found.missing == {"fp8": "graph `fp8 16`: the stand-in has no fp8"}
    assert found.bandwidth == found.copy
    assert found.settings["array_bytes"] == 2**20
    prober.close()
    assert gpu.cuda.used == 0


def test_nothing_is_left_on_the_disk(gpu: StandinGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "temporary"
    kept.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(kept))
    prober = CudaProber()
    prober.product("float16", 16)
    assert list(kept.iterdir())
    prober.close()
    assert list(kept.iterdir()) == []
    assert gpu.cache.entries() == []  # the user's own cache was never touched


def test_a_model_that_can_not_be_parsed_is_a_ceiling_without_a_number(
    gpu: StandinGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Built:
        raise BundleError("tensorrt can't parse it")

    monkeypatch.setattr(process, "run", refuse)
    prober = CudaProber()
    with pytest.raises(ResourceError, match="can't parse"):
        prober.product("int8", 16)
    prober.close()


def test_a_card_without_memory_says_so(gpu: StandinGpu) -> None:
    prober = CudaProber()
    gpu.cuda.fail("cuMemAllocFromPoolAsync", 1, CUresult.CUDA_ERROR_OUT_OF_MEMORY, times=9)
    found = ceilings.measure(prober, FEW, quick=True)
    assert found.bandwidth is None
    assert "out of GPU memory" in found.missing["bandwidth"]
    gpu.cuda.heal()
    prober.close()


@pytest.mark.usefixtures("small")
def test_a_whole_measurement_on_a_card(gpu: StandinGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "find_meter", lambda _: None)
    target = write_target(tmp_path)
    gpu.fill(Bundle.open(NANO, verify="layout"), target)
    case = replace(CASE, device="tensorrt", target=str(target), threads=None)
    document = runs.bench(case, LEAST, Listening(), "dimrt bench")
    assert document["card"]["provider"].startswith("tensorrt-rtx 1.0.standin on ")
    assert document["settings"]["target"] == "standin.toml"
    assert {"vision", "language.read", "language.token", "step", "decode"} <= document["graphs"].keys()
    assert [name for name, entry in document["graphs"].items() if "error" in entry] == []
    assert document["graphs"]["language.token"]["axes"]["tokens"] == 1
    assert document["decode"]["tokens_per_pass"] == 1.0
    assert document["memory"]["device_bytes"] > 0
    assert gpu.cuda.used == 0
