"""The designer's text decoder: the `language` graph with its key/value cache.

Results depend on the tokens alone, to the bit, and not on what was computed before: the shared prefix is always read
in a run of its own, and the length of a cache follows from the turn it serves, or from the engine where that fixes it.
An engine of fixed length has one cache, which stays where it is: the prefix's rows remain in it from turn to turn.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimrt.backends.base import Array, Backend, BoundEngine, Engine, Tensor
from dimrt.bundle import Bundle
from dimrt.errors import InputError
from dimrt.rope import rotary
from dimrt.vision import MASKED

CACHE_STEP = 128
"""Cache lengths are multiples of this many rows."""
PREFILL_ROWS = 2048
"""Most tokens read in one run: bounds the size of the mask."""


@dataclass(frozen=True)
class Kept:
    """Keys and values of some first tokens, to start caches from.

    Attributes:
        rows: number of tokens.
        tensors: name of a cache input to [1, kv_heads, rows, head_dim] on the host; empty when they lie in the one
            cache of an engine of fixed length.
    """

    rows: int
    tensors: dict[str, Array]


@dataclass
class Cache:
    """Keys and values on the device, `capacity` rows each, written in place by the graph that is bound to them.

    `turn` tells which of several users of the one cache of fixed length this is; None for a cache of its own.
    """

    capacity: int
    tensors: dict[str, Tensor]
    graph: BoundEngine
    turn: int | None = None


class Language:
    """Reads embeddings into a cache and gives hidden states and logits."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self._facts = bundle.manifest.designer.language
        self._backend = backend
        self._names = [f"{kind}_{layer}" for layer in range(self._facts.layers) for kind in ("key", "value")]
        self._written = [(name, f"{name}_out") for name in self._names]
        specs = {spec.name: spec for spec in bundle.manifest.graphs["language"].inputs}
        self._dtype = specs[self._names[0]].dtype
        self._width = self._facts.hidden_size
        self.embedding_dtype = specs["embeddings"].dtype
        self.hidden_dtype = next(s.dtype for s in bundle.manifest.graphs["language"].outputs if s.name == "hidden")
        self._fixed: dict[str, Tensor] = {}
        self._turn = 0

    @property
    def room(self) -> int:
        """Most tokens that one turn can have, its plan included."""
        length = self._engine.pinned("length")
        return self._facts.max_positions if length is None else min(length, self._facts.max_positions)

    def cache(self, rows: int, start: Kept | None = None) -> Cache:
        """A cache for at least `rows` tokens, its first rows filled from `start`.

        Raises:
            InputError: the engine was built for fewer rows.
        """
        fixed = self._engine.pinned("length")
        if fixed is not None:
            return self._fixed_cache(rows, fixed)
        capacity = -(-rows // CACHE_STEP) * CACHE_STEP
        shape = self._shape(capacity)
        tensors = {}
        for name in self._names:
            values = np.zeros(shape, self._dtype)
            if start is not None:
                values[:, :, : start.rows] = start.tensors[name]
            tensors[name] = self._backend.to_device(values)
        return Cache(capacity, tensors, self._bound(tensors))

    def keep(self, cache: Cache, rows: int) -> Kept:
        """The first `rows` rows of a cache, copied to the host or left in the one cache."""
        if cache.turn is not None:
            return Kept(rows, {})
        host = {name: self._backend.to_host(tensor)[:, :, :rows].copy() for name, tensor in cache.tensors.items()}
        return Kept(rows, host)

    def grow(self, cache: Cache, filled: int, rows: int) -> Cache:
        """The cache itself when it holds `rows`, else a longer one with the first `filled` rows copied."""
        return cache if rows <= cache.capacity else self.cache(rows, self.keep(cache, filled))

    def read(
        self, cache: Cache, embeddings: Tensor, positions: NDArray[np.int64], start: int, asked: int = 1
    ) -> tuple[Tensor, NDArray[np.float32]]:
        """Read tokens into the cache rows `start`….

        Args:
            cache: long enough for `start` + S rows.
            embeddings: S rows of hidden_size.
            positions: int64 [3, S].
            start: number of rows already filled.
            asked: how many of the last tokens logits are wanted of; at most `PREFILL_ROWS`.

        Returns:
            Hidden states after the final norm [1, S, hidden_size] as a device tensor, and float32 logits
            [asked, vocab_size] on the host.
        """
        count = positions.shape[1]
        most = min(PREFILL_ROWS, self._engine.limit("tokens") or PREFILL_ROWS)
        hidden, logits = [], np.empty((0, 0), np.float32)
        for first in range(0, count, most):
            piece = slice(first, min(first + most, count))
            rows = self._rows(embeddings, piece)
            states, logits = self._run(cache, rows, positions[:, piece], start + first, asked)
            hidden.append((states, slice(None)))
        if len(hidden) == 1:
            return hidden[0][0], logits
        return self._backend.join(hidden, (1, count, self._width), self.hidden_dtype), logits

    def forget(self) -> None:
        """Give the one cache of fixed length back."""
        self._fixed = {}
        self._turn += 1

    @property
    def _engine(self) -> Engine:
        return self._backend.engine("language")

    def _shape(self, rows: int) -> tuple[int, int, int, int]:
        return 1, self._facts.kv_heads, rows, self._facts.head_dim

    def _fixed_cache(self, rows: int, length: int) -> Cache:
        """The one cache, for its next user."""
        if rows > length:
            raise InputError(
                f"photo, instruction and plan take {rows} tokens and the engine of `language` was built for {length}; "
                "shorten the text, or build the engines with a longer `length` in the target's [pinned]"
            )
        if not self._fixed:
            # Rows not yet read are masked out, but must hold numbers.
            shape = self._shape(length)
            self._fixed = {name: self._backend.zeros(shape, self._dtype) for name in self._names}
        self._turn += 1
        return Cache(length, self._fixed, self._bound(self._fixed), self._turn)

    def _bound(self, tensors: dict[str, Tensor]) -> BoundEngine:
        return self._engine.bind(tensors, {written: tensors[name] for name, written in self._written})

    def _rows(self, embeddings: Tensor, piece: slice) -> Tensor:
        """Some rows as [1, S, hidden_size]."""
        if isinstance(embeddings, np.ndarray):
            return embeddings.reshape(1, -1, self._width)[:, piece]
        shape = (1, piece.stop - piece.start, self._width)
        return self._backend.join([(embeddings, piece)], shape, self.embedding_dtype)

    def _run(
        self, cache: Cache, embeddings: Tensor, positions: NDArray[np.int64], start: int, asked: int
    ) -> tuple[Tensor, NDArray[np.float32]]:
        if cache.turn not in (None, self._turn):
            raise InputError(
                "another edit began on this editor before the last one was over; finish or close one before the next"
            )
        count = positions.shape[1]
        cos, sin = rotary(positions, self._facts)
        mask = np.full((count, cache.capacity), MASKED, self._dtype)
        for row in range(count):
            mask[row, : start + row + 1] = 0
        outputs: dict[str, Any] = cache.graph.run(
            {
                "embeddings": embeddings,
                "cos": cos,
                "sin": sin,
                "mask": mask[None, None],
                "position": np.array([start], np.int64),
                "rows": np.arange(max(count - asked, 0), count),
            },
            keep=("hidden",),
        )
        return outputs["hidden"], outputs["logits"][0]
