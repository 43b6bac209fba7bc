"""The designer's text decoder: the `language` graph with its key/value cache.

Results depend on the tokens alone, to the bit, and not on what was computed before: the shared prefix is always read
in a run of its own, and the length of a cache follows from the turn it serves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dimrt.backends.base import Array, Backend, Tensor
from dimrt.bundle import Bundle
from dimrt.rope import rotary
from dimrt.vision import MASKED

CACHE_STEP = 128
"""Cache lengths are multiples of this many rows."""
PREFILL_ROWS = 2048
"""Most tokens read in one run: bounds the size of the mask."""


@dataclass(frozen=True)
class Kept:
    """Keys and values of some first tokens, on the host, to start caches from.

    Attributes:
        rows: number of tokens.
        tensors: name of a cache input to [1, kv_heads, rows, head_dim].
    """

    rows: int
    tensors: dict[str, Array]


@dataclass
class Cache:
    """Keys and values on the device, `capacity` rows each, written in place by the graph."""

    capacity: int
    tensors: dict[str, Tensor]


class Language:
    """Reads embeddings into a cache and gives hidden states and logits."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self._facts = bundle.manifest.designer.language
        self._backend = backend
        self._names = [f"{kind}_{layer}" for layer in range(self._facts.layers) for kind in ("key", "value")]
        specs = {spec.name: spec for spec in bundle.manifest.graphs["language"].inputs}
        self._dtype = specs[self._names[0]].dtype

    def cache(self, rows: int, start: Kept | None = None) -> Cache:
        """A cache for at least `rows` tokens, its first rows filled from `start`."""
        capacity = -(-rows // CACHE_STEP) * CACHE_STEP
        shape = (1, self._facts.kv_heads, capacity, self._facts.head_dim)
        tensors = {}
        for name in self._names:
            values = np.zeros(shape, self._dtype)
            if start is not None:
                values[:, :, : start.rows] = start.tensors[name]
            tensors[name] = self._backend.to_device(values)
        return Cache(capacity, tensors)

    def keep(self, cache: Cache, rows: int) -> Kept:
        """Copy the first `rows` rows of a cache to the host."""
        host = {name: self._backend.to_host(tensor)[:, :, :rows].copy() for name, tensor in cache.tensors.items()}
        return Kept(rows, host)

    def grow(self, cache: Cache, filled: int, rows: int) -> Cache:
        """The cache itself when it holds `rows`, else a longer one with the first `filled` rows copied."""
        return cache if rows <= cache.capacity else self.cache(rows, self.keep(cache, filled))

    def read(
        self, cache: Cache, embeddings: Array, positions: NDArray[np.int64], start: int
    ) -> tuple[Array, NDArray[np.float32]]:
        """Read tokens into the cache rows `start`….

        Args:
            cache: long enough for `start` + S rows.
            embeddings: [S, hidden_size].
            positions: int64 [3, S].
            start: number of rows already filled.

        Returns:
            Hidden states after the final norm [S, hidden_size], and float32 logits [vocab_size] of the last token.
        """
        count = len(embeddings)
        hidden, logits = [], np.empty(0, np.float32)
        for first in range(0, count, PREFILL_ROWS):
            piece = slice(first, min(first + PREFILL_ROWS, count))
            states, logits = self._run(cache, embeddings[piece], positions[:, piece], start + first)
            hidden.append(states)
        return np.concatenate(hidden), logits

    def _run(
        self, cache: Cache, embeddings: Array, positions: NDArray[np.int64], start: int
    ) -> tuple[Array, NDArray[np.float32]]:
        count = len(embeddings)
        cos, sin = rotary(positions, self._facts)
        visible = np.arange(cache.capacity) <= start + np.arange(count)[:, None]
        outputs = self._backend.engine("language").run(
            {
                "embeddings": embeddings[None],
                "cos": cos,
                "sin": sin,
                "mask": np.where(visible, np.float32(0), np.float32(MASKED))[None, None],
                "position": np.array([start], np.int64),
                "rows": np.array([count - 1], np.int64),
                **cache.tensors,
            },
            into={f"{name}_out": tensor for name, tensor in cache.tensors.items()},
        )
        return outputs["hidden"][0], outputs["logits"][0, 0]
