"""A pytest plugin that puts the stand-in GPU in the place of a real one, with a builder that takes no time.

PYTHONPATH=tests/runtime pytest -p standin_plugin tests/gpu
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from standin_gpu import StandinGpu

import dimrt.engines.build
from dimrt.bundle import Bundle
from dimrt.engines.cache import EngineCache
from dimrt.engines.record import Record
from dimrt.engines.target import Target

_folder = tempfile.TemporaryDirectory()
_gpu = StandinGpu(pytest.MonkeyPatch(), Path(_folder.name), limit=1 << 33)


def build_bundle(
    bundle: Bundle, target: Target, *, graphs: Sequence[str] | None = None, cache: EngineCache, **_more: Any
) -> list[Record]:
    """Stand-in engines in a cache."""
    _gpu.cache = cache
    cache.prepare()
    return [_gpu.store(bundle, target, graph) for graph in graphs or bundle.manifest.graphs]


dimrt.engines.build.build_bundle = build_bundle
