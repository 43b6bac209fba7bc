"""The shipped bundle, and its engines for three generations of cards: built once a test run, for real."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from built import Build

from dimrt.bundle import NANO, Bundle
from dimrt.engines.build import BuildEvent, build_bundle
from dimrt.engines.cache import EngineCache
from dimrt.engines.target import load_target

THREE = ("rtx-3060", "rtx-4060", "rtx-5090")
"""sm_86, sm_89 and sm_120."""


@pytest.fixture
def rtx() -> None:
    """Skip where TensorRT for RTX can't be installed."""
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx isn't installed: no engines can be built on this platform")


@pytest.fixture(scope="session")
def nano() -> Bundle:
    """The shipped bundle."""
    return Bundle.open(NANO)


@pytest.fixture(scope="session")
def built(nano: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """All engines of the shipped bundle, for three compute capabilities at once."""
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx isn't installed: no engines can be built on this platform")
    cache = EngineCache(tmp_path_factory.mktemp("engines") / "cache")
    events: list[BuildEvent] = []
    first, *others = map(load_target, THREE)
    records = build_bundle(nano, first, also=others, cache=cache, on_event=events.append)
    return Build(nano, cache, tuple(records), tuple(events))


@pytest.fixture
def copied(built: Build, tmp_path: Path) -> EngineCache:
    """A cache of one's own with the small `connector` engine in it."""
    record = next(record for record in built.records if record.identity.graph == "connector")
    cache = EngineCache(tmp_path / "cache")
    cache.prepare()
    shutil.copytree(built.cache.root / "engines" / record.key, cache.root / "engines" / record.key)
    return cache
