"""Fixtures of the tests of measurements."""

from collections.abc import Iterator

import pytest
from measuring import make_small

from dimrt.measure import scene


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything measured is small."""
    make_small(monkeypatch)
    yield
    scene.photo.cache_clear()
