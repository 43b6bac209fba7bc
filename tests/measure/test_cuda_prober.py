"""Ceilings of a card on the stand-in driver and library: what is queued, and that all memory comes back."""

import hashlib
import json
from pathlib import Path

import pytest
from standin_cuda import CUresult
from standin_gpu import StandinGpu
from standin_tensorrt import MAGIC

from dimrt.engines import process
from dimrt.engines.job import Built, Job
from dimrt.errors import BundleError, ResourceError
from dimrt.measure import ceilings, cuda_prober
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
