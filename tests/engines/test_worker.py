"""The building process where it differs between versions and flavours of the library."""

import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from built import Build

from dimrt.engines.build import timing_cache
from dimrt.engines.cache import EngineCache
from dimrt.engines.flavour import Flavour
from dimrt.engines.worker import peak_rss, write_plan


class OldBuilder:
    """A builder that can't write to a stream."""

    def __init__(self, plan: bytes | None) -> None:
        self.plan = plan

    def build_serialized_network(self, _network: Any, _config: Any) -> bytes | None:
        """The plan in one piece."""
        return self.plan


@pytest.fixture
def on_device() -> Flavour:
    """A flavour that builds on the GPU alone."""
    return Flavour("tensorrt", "10.3.0", type(sys)("tensorrt"))


@pytest.mark.parametrize("plan", [b"a plan", None], ids=["built", "failed"])
def test_a_builder_without_streams_gives_the_same(on_device: Flavour, plan: bytes | None) -> None:
    file = io.BytesIO()
    digest, size = write_plan(on_device, OldBuilder(plan), None, None, file)
    assert (file.getvalue(), size) == (plan or b"", len(plan or b""))
    assert plan is None or digest == hashlib.sha256(plan).hexdigest()


def test_what_was_timed_is_kept_for_the_next_build(on_device: Flavour, built: Build, tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache")
    identity = built.records[0].identity
    with timing_cache(cache, on_device, identity) as path:
        assert path is not None and Path(path).read_bytes() == b""
        Path(path).write_bytes(b"timings")
    with timing_cache(cache, on_device, identity) as path:
        assert path is not None and Path(path).read_bytes() == b"timings"
    (file,) = (cache.root / "timing").iterdir()
    file.write_bytes(file.read_bytes() + b"!")
    with timing_cache(cache, on_device, identity) as path:
        assert path is not None and Path(path).read_bytes() == b""


def test_ahead_of_time_nothing_is_timed(built: Build, rtx: None, tmp_path: Path) -> None:
    from dimrt.engines.flavour import load_flavour

    cache = EngineCache(tmp_path / "cache")
    with timing_cache(cache, load_flavour("tensorrt-rtx"), built.records[0].identity) as path:
        assert path is None


def test_peak_memory_is_this_process_own() -> None:
    peak = peak_rss()
    assert peak == 0 if sys.platform == "win32" else 10_000_000 < peak < 100_000_000_000
