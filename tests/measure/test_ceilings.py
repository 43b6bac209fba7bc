"""Ceilings: what is kept of the runs, what is said where there is none, and the real probers on small arrays."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dimrt.errors import ResourceError
from dimrt.measure import ceilings
from dimrt.measure.ceilings import Bandwidth, host_bandwidth, last_cache_bytes, measure
from dimrt.measure.ort_prober import OrtProber
from dimrt.measure.samples import Amount

FEW = Amount(3, 3, 0.0)


class StandinProber:
    """A device that knows float32 alone, and whose bandwidth may not be measurable."""

    threads: int | None = None
    sizes: tuple[int, ...] = (8, 16)

    def __init__(self, bandwidth: Bandwidth | None) -> None:
        self._bandwidth = bandwidth
        self.ran: list[int] = []

    def bandwidth(self, amount: Amount) -> Bandwidth:
        if self._bandwidth is None:
            raise ResourceError("no memory to copy")
        return self._bandwidth

    def product(self, kind: str, size: int) -> tuple[Callable[[], None], int]:
        if kind != "float32":
            raise ResourceError(f"no kernel for {kind}")
        return lambda: self.ran.append(size), 4

    def close(self) -> None:
        """Nothing to give back."""


def test_a_format_without_kernels_is_left_out_and_said() -> None:
    found = measure(StandinProber(Bandwidth(5e9, 8e9, 100, "a stand-in")), FEW)
    assert list(found.matmul) == ["float32"]
    assert found.missing == {kind: f"no kernel for {kind}" for kind in ("float16", "int8", "fp8")}
    assert (found.bandwidth, found.copy) == (5e9, 8e9)


def test_the_best_run_counts_and_all_are_kept() -> None:
    found = measure(StandinProber(Bandwidth(5e9, 8e9, 100, "a stand-in")), FEW)
    assert set(found.samples) == {"float32 8", "float32 16"}
    assert all(len(samples) == 3 for samples in found.samples.values())
    assert found.matmul["float32"] >= 2 * 16**3 / max(max(found.samples["float32 16"]), 1e-7) * 0.5


def test_quick_leaves_the_largest_product_out() -> None:
    prober = StandinProber(Bandwidth(5e9, 8e9, 100, "a stand-in"))
    measure(prober, FEW, quick=True)
    assert set(prober.ran) == {8}


def test_where_reading_is_not_known_the_copy_stands_for_it() -> None:
    found = measure(StandinProber(Bandwidth(None, 8e9, 100, "a stand-in")), FEW)
    assert found.bandwidth == 8e9


def test_a_bandwidth_that_can_not_be_measured_is_said() -> None:
    found = measure(StandinProber(None), FEW)
    assert found.bandwidth is None
    assert found.missing["bandwidth"] == "no memory to copy"


def test_the_processor_has_three_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "LARGE", 2**20)
    monkeypatch.setattr(ceilings, "OF_CACHE", 0)
    prober = OrtProber("cpu", threads=1)
    prober.sizes = (64,)
    found = measure(prober, FEW)
    assert set(found.matmul) == {"float32", "float16", "int8"}
    assert all(rate > 0 for rate in found.matmul.values())
    assert found.bandwidth is not None and found.bandwidth > 0
    assert "fp8" in found.missing


def test_arrays_are_several_times_the_cache_but_not_all_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "last_cache_bytes", lambda: 10**9)
    monkeypatch.setattr(ceilings, "available_memory", lambda: 10**12)
    assert ceilings.array_bytes() == ceilings.OF_CACHE * 10**9
    monkeypatch.setattr(ceilings, "available_memory", lambda: 10**9)
    assert ceilings.array_bytes() == 10**9 // ceilings.SHARE_OF_MEMORY
    monkeypatch.setattr(ceilings, "available_memory", lambda: None)
    monkeypatch.setattr(ceilings, "last_cache_bytes", lambda: 0)
    assert ceilings.array_bytes() == ceilings.LARGE


def test_every_thread_has_an_array_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "LARGE", 2**20)
    monkeypatch.setattr(ceilings, "OF_CACHE", 0)
    found = host_bandwidth(3, FEW)
    assert found.array_bytes == 3 * (2**20 // 3 // 4096 * 4096)
    assert found.read is not None and min(found.read, found.copy) > 0
    assert found.cached is None or found.cached > 0


@pytest.mark.parametrize(("cache", "known"), [(0, False), (2**20, True)])
def test_reading_from_a_cache_needs_one(cache: int, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "LARGE", 2**20)
    monkeypatch.setattr(ceilings, "last_cache_bytes", lambda: cache)
    assert (host_bandwidth(1, FEW).cached is not None) == known


def test_the_largest_cache_is_taken(tmp_path: Path) -> None:
    for index, size in enumerate(("32K", "1024K", "36M")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(f"{size}\n")
    assert last_cache_bytes(tmp_path) == 36 * 2**20
    assert last_cache_bytes(tmp_path / "nowhere") == 0
