"""One compared quantity, its limit, and access to the fixture arrays."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimrt.errors import InputError

EXACT = 0.0
"""Ids, sizes, masks, integer timesteps and greedy tokens: the error is the number of elements that differ."""
PAINTER = 2e-5
"""One painter pass in float32; two independent implementations differ by 1.5e-6."""
BFLOAT16 = 0.1
"""The same pass with bfloat16 weights, which themselves move outputs of unit scale by up to 0.05."""
FINAL_SHORT, FINAL_LONG, SHORT = 2e-3, 5e-4, 8
"""Trajectories of up to 8 steps, and longer. The original computes x0 by a cancellation that amplifies rounding 3000
times at the first step; ours does not, so the two differ by the original's own error (4e-4 at 4 steps, 6e-5 at 30)."""
FINAL_FLOAT64 = 1e-4
"""Against the same trajectory in float64, where that error is absent; 1e-5 was seen."""
GRID = 1.5e-7
"""One float32 step at 1: the grid of noise levels."""
CONNECTOR = 1e-5
"""The connector; 1e-6 was seen."""
HIDDEN, LOGITS = 1e-4, 2e-4
"""Designer values of unit scale (1.1e-5 seen) and logits of a few units (2.2e-5 seen)."""
AUTOENCODER = 1e-4
"""Latents of scale 5 and pictures; 4e-6 was seen."""
PAINTER_PIXELS, DESIGNER_PIXELS = 1e-6, 1e-5
"""Painter input (exact in practice) and Qwen pixel values (1e-6 seen)."""
STATISTICS = 1e-5
"""Mean, deviation, least and largest of a picture tensor, summed in another order."""
CHAIN_CONDITION, CHAIN_LATENT, CHAIN_PICTURE = 2e-4, 2e-3, 2e-3
"""The chain accumulates: 2e-5 was seen for each."""
CHAIN_LEVELS = 1e-3
"""Fraction of 8-bit values that may be off, by one: 4 in 50 000 were."""


@dataclass(frozen=True)
class Item:
    """A comparison: the largest error and the limit it must not exceed."""

    name: str
    error: float
    limit: float

    @property
    def ok(self) -> bool:
        """Whether the error is within the limit (a NaN is not)."""
        return self.error <= self.limit


def compare(name: str, got: Any, want: NDArray[Any], limit: float) -> Item:
    """Largest absolute difference; infinite when the shapes differ."""
    got = np.asarray(got, np.float64)
    if got.shape != want.shape:
        return Item(f"{name} (shape {got.shape}, expected {want.shape})", float("inf"), limit)
    return Item(name, float(np.max(np.abs(got - want.astype(np.float64)), initial=0.0)), limit)


def count(name: str, got: Any, want: Any) -> Item:
    """Number of elements that differ (all of them when the shapes differ); the limit is 0."""
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape:
        return Item(f"{name} (shape {got.shape}, expected {want.shape})", float(max(want.size, 1)), EXACT)
    return Item(name, float(np.count_nonzero(got != want)), EXACT)


class Arrays:
    """The arrays of one `.npz` of a reference folder. Keys are dotted paths."""

    def __init__(self, path: Path) -> None:
        """Open without reading. Raises InputError when the file is missing or no `.npz`."""
        try:
            self._file = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{path}: can't be read as .npz ({error}); the folder must be a whole reference folder"
            ) from error
        self.path = path
        self.keys = tuple(self._file.files)

    def __getitem__(self, key: str) -> NDArray[Any]:
        """The array `key`. Raises InputError when it isn't there."""
        if key not in self.keys:
            raise InputError(f"{self.path}: has no array {key}; the folder must be a whole reference folder")
        array: NDArray[Any] = self._file[key]
        return array

    def __contains__(self, key: str) -> bool:
        return key in self.keys

    def below(self, prefix: str) -> Iterator[str]:
        """The rest of each key that starts with `prefix`."""
        return (key.removeprefix(prefix) for key in self.keys if key.startswith(prefix))

    def cases(self, ending: str) -> list[str]:
        """What stands before `ending` in the keys that end with it."""
        return sorted(key.removesuffix(ending) for key in self.keys if key.endswith(ending))

    def json(self, key: str) -> Any:
        """A JSON value held in a 0-d string array."""
        return json.loads(str(self[key]))


def read_json(path: Path) -> Any:
    """Content of a JSON file. Raises InputError when it's missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: can't be read as JSON ({error}); the folder must be a whole reference folder"
        ) from error
