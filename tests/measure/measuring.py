"""What the tests of a measurement share: as little of it as there can be, and who listens."""

from dataclasses import replace
from typing import Any

import pytest

from dimrt.bundle import NANO
from dimrt.measure import ceilings, ort_prober, scene
from dimrt.measure.edits import Case
from dimrt.measure.plan import QUICK
from dimrt.measure.samples import Amount

ONCE = Amount(1, 1, 0.0)
LEAST = replace(QUICK, edits=ONCE, runs=ONCE, probes=ONCE, warm_up=0, idle=0.0, colds=())
"""One run of everything, and no process of its own."""
CASE = Case(str(NANO), device="cpu", threads=1)


class Listening:
    """Remembers stages and parts."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.parts: list[str] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def part(self, name: str, document: dict[str, Any]) -> None:
        self.parts.append(name)


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Photos, arrays and products of a size for tests."""
    scene.photo.cache_clear()
    patch.setattr(scene, "SIZE", (160, 120))
    patch.setattr(ceilings, "LARGE", 2**20)
    patch.setattr(ceilings, "OF_CACHE", 0)
    patch.setattr(ort_prober, "SIZES", {"cpu": (48, 64), "cuda": (48, 64)})
