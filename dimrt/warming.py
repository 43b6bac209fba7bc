"""What the first edit pays and no other: paid before it, and told."""

from dataclasses import dataclass

import numpy as np

from dimrt.manifest import Manifest
from dimrt.options import EditOptions
from dimrt.result import EditResult

INSTRUCTION = "Make it warmer."
REPEATED = 2
"""Tokens and steps of an edit whose result nobody wants: repeated runs are captured on a GPU from the second on."""


@dataclass(frozen=True)
class Warmth:
    """Seconds that went before the first edit.

    Attributes:
        build: building engines.
        loading: loading each graph.
        run: running everything once, so that memory is there, kernels are chosen, and repeated runs captured; 0 where
            it was not run.
    """

    build: float
    loading: dict[str, float]
    run: float

    @classmethod
    def of(cls, result: EditResult) -> "Warmth":
        """Of the edit that was done for it."""
        build, load = (result.timings.get(phase, 0.0) for phase in ("build", "load"))
        return cls(build, result.loading, sum(result.timings.values()) - build - load)

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.build + sum(self.loading.values()) + self.run

    def __str__(self) -> str:
        parts = ", ".join(f"{graph} {taken:.2f}" for graph, taken in self.loading.items())
        said = [f"{self.build:.1f} s for building"] if self.build else []
        said += [f"{sum(self.loading.values()):.2f} s for loading ({parts})"] if self.loading else []
        said += [f"{self.run:.2f} s for a first run"] if self.run else []
        return ", ".join(said) or "all was loaded"


def blank(manifest: Manifest) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A gray photo of the size that the painter works at, uint8 [side, side, 3]."""
    side = manifest.resolution.side
    return np.full((side, side, 3), 128, np.uint8)


def shortest(manifest: Manifest) -> EditOptions:
    """Options of the least edit that runs every graph as an edit by default does, and the painter's step repeatedly."""
    few = manifest.schedule.distilled
    counts = sorted(len(row) for row in few.timesteps) if few is not None and few.timesteps else [REPEATED]
    steps = next((count for count in counts if count >= REPEATED), None)
    return EditOptions(steps=steps, max_new_tokens=REPEATED, composite="none")
