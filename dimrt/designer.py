"""The designer: picture and instruction become a plan, then picture and plan become the condition.

Both turns begin with the same tokens (system turn, user start, picture). That prefix is read once: its keys, values
and hidden states serve both turns, and the next edit of the same picture. One copy of the model does all of it.
"""

import hashlib
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dimrt.backends.base import Array, Backend, Part, Tensor
from dimrt.bundle import Bundle
from dimrt.drafts import Drafts
from dimrt.language import Kept, Language
from dimrt.prompt import Ids, Prompts, TextStream, Turn
from dimrt.rope import position_ids, text_positions
from dimrt.vision import VisionInput

_PLAN_ROOM = 256
"""Cache rows set aside for a plan at first; the cache grows when a plan is longer."""


@dataclass(frozen=True)
class View:
    """A picture as the designer sees it.

    Attributes:
        key: identifies the prepared pixels.
        embeddings: [M, hidden_size] image embeddings, raster order, on the device.
        grid: merged tokens (rows, columns).
        size: (width, height) in pixels that the picture was resized to.
    """

    key: bytes
    embeddings: Tensor
    grid: tuple[int, int]
    size: tuple[int, int]


@dataclass(frozen=True)
class Piece:
    """One decoded token.

    Attributes:
        count: how many there are so far.
        text: what became certain with it (may be empty).
        passes: runs of the language graph that all of them took; without guesses, one a token.
    """

    count: int
    text: str
    passes: int


@dataclass(frozen=True)
class Written:
    """A finished plan: its tokens (without the stop token), and whether it ended by itself or at the limit."""

    tokens: Ids
    ended: bool


@dataclass(frozen=True)
class _Prefix:
    key: bytes
    ids: Ids
    kept: Kept
    hidden: Tensor


class Designer:
    """Runs the `vision`, `language` and `connector` graphs of one bundle."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self.prompts = Prompts(bundle.tokenizer_path, bundle.manifest.designer)
        self._facts = bundle.manifest.designer
        self._max_condition = bundle.manifest.painter.max_condition
        self._bundle = bundle
        self._backend = backend
        self._language = Language(bundle, backend)
        self._view: View | None = None
        self._prefix: _Prefix | None = None
        self._drafts = Drafts()

    @property
    def room(self) -> int:
        """Most tokens of one turn, its plan included."""
        return self._language.room

    def forget(self) -> None:
        """Give back what is kept on the device for the next turn or edit: the last picture's embeddings, the prefix."""
        self._view = None
        self._prefix = None
        self._language.forget()

    def view(self, picture: VisionInput) -> View:
        """Image embeddings of a prepared picture; the last picture's are kept."""
        key = hashlib.blake2b(picture.patches.tobytes() + repr(picture.grid).encode()).digest()
        if self._view is None or self._view.key != key:
            outputs = self._backend.engine("vision").run(
                {
                    "patches": picture.patches,
                    "cos": picture.cos,
                    "sin": picture.sin,
                    "window_mask": picture.window_mask,
                    "order": picture.order,
                },
                keep=("image_embeddings",),
            )
            merge, patch = self._facts.vision.merge_size, self._facts.vision.patch_size
            grid = picture.grid[0] // merge, picture.grid[1] // merge
            size = picture.grid[1] * patch, picture.grid[0] * patch
            self._view = View(key, outputs["image_embeddings"], grid, size)
        return self._view

    def write(self, turn: Turn, view: View | None, limit: int, penalty: float) -> Generator[Piece, None, Written]:
        """Write a plan greedily, one piece a token.

        Args:
            turn: a plan turn.
            view: the picture in it, if any.
            limit: most tokens to write.
            penalty: repetition penalty over turn and plan: positive logits are divided by it, negative multiplied.
        """
        prefix = self._read_prefix(turn, view)
        positions, delta = self._positions(turn.ids, view)
        length = len(turn.ids)
        cache = self._language.cache(length + min(limit, _PLAN_ROOM), prefix.kept)
        rest = slice(turn.shared, length)
        _, logits = self._language.read(cache, self._embed(turn.ids[rest]), positions[:, rest], turn.shared)
        self._drafts.begin(turn.ids[turn.ids != self._facts.tokens.image_pad])
        stream = TextStream(self.prompts)
        before = np.unique(turn.ids)
        seen = np.concatenate([before, np.zeros(limit, np.int64)])
        written: list[int] = []
        guesses: list[int] = []
        passes = 1
        ended = False
        while len(written) < limit:
            token = _best(logits[0], seen[: len(before) + len(written)], penalty)
            self._drafts.add(token)
            if token in self._facts.tokens.stop:
                ended = True
                break
            seen[len(before) + len(written)] = token
            written.append(token)
            yield Piece(len(written), stream.push(token), passes)
            if guesses and guesses[0] == token:  # its own logits came with those before
                logits, guesses = logits[1:], guesses[1:]
            elif len(written) < limit:
                guesses = self._guesses()
                filled = length + len(written) - 1
                count = 1 + len(guesses)
                cache = self._language.grow(cache, filled, filled + count)
                embeddings = self._embed(np.array([token, *guesses], np.int64))
                _, logits = self._language.read(
                    cache, embeddings, text_positions(filled, count, delta), filled, asked=count
                )
                passes += 1
        rest_of_text = stream.close()
        if rest_of_text:
            yield Piece(len(written), rest_of_text, passes)
        self._drafts.keep(np.array([*written, token] if ended else written, np.int64))
        return Written(np.array(written, np.int64), ended)

    def condition(self, turn: Turn, view: View | None) -> Tensor:
        """What the painter attends to: projected hidden states of the turn's condition tokens.

        More rows than the painter takes: the last ones are kept, as in training.

        Returns:
            [1, N, condition_channels] on the device, in the connector's dtype.
        """
        prefix = self._read_prefix(turn, view)
        positions, _ = self._positions(turn.ids, view)
        rest = slice(turn.shared, turn.condition.stop)
        cache = self._language.cache(turn.condition.stop, prefix.kept)
        hidden, _ = self._language.read(cache, self._embed(turn.ids[rest]), positions[:, rest], turn.shared)
        first = max(turn.condition.start, turn.condition.stop - self._max_condition)
        parts = [(prefix.hidden, slice(first, turn.shared)), (hidden, slice(max(first - turn.shared, 0), None))]
        shape = (1, turn.condition.stop - first, self._facts.language.hidden_size)
        (spec,) = self._bundle.manifest.graphs["connector"].inputs
        rows = self._backend.join(parts, shape, spec.dtype)
        return self._backend.engine("connector").run({"hidden": rows}, keep=("condition",))["condition"]

    def _guesses(self) -> list[int]:
        """What may follow, an odd number of tokens: with the certain one before them, an even number of rows is run."""
        if not self._backend.steady_rows:
            return []
        guesses = self._drafts.guess()
        return guesses if len(guesses) % 2 else [*guesses, guesses[-1]]

    def _read_prefix(self, turn: Turn, view: View | None) -> _Prefix:
        """Keys, values and hidden states of the turn's shared tokens, read now or kept from the turn before."""
        key = view.key if view is not None else b""
        ids = turn.ids[: turn.shared]
        held = self._prefix
        if held is not None and held.key == key and np.array_equal(held.ids, ids):
            return held
        self._prefix = None  # reading may overwrite its rows, and may be interrupted
        positions, _ = self._positions(ids, view)
        cache = self._language.cache(len(ids))
        hidden, _ = self._language.read(cache, self._embed(ids, view), positions, 0)
        self._prefix = _Prefix(key, ids, self._language.keep(cache, len(ids)), hidden)
        return self._prefix

    def _positions(self, ids: Ids, view: View | None) -> tuple[NDArray[np.int64], int]:
        return position_ids(ids, self._facts.tokens, [view.grid] if view is not None else [])

    def _embed(self, ids: Ids, view: View | None = None) -> Tensor:
        """Rows of the embedding table [n, hidden_size], the picture's embeddings in place of its tokens."""
        table: Array = self._bundle.table("embeddings")
        if view is None:
            return np.array(table[ids])
        marks = np.flatnonzero(ids == self._facts.tokens.image_pad)
        if len(marks) == 0:
            return np.array(table[ids])
        parts: list[Part] = []
        for piece in (slice(0, marks[0]), slice(marks[-1] + 1, len(ids))):
            parts.append((np.array(table[ids[piece]]), slice(None)))
        parts.insert(1, (view.embeddings, slice(None)))
        shape = (1, len(ids), self._facts.language.hidden_size)
        return self._backend.join(parts, shape, self._language.embedding_dtype)


def _best(logits: NDArray[np.float32], seen: Ids, penalty: float) -> int:
    """The token with the highest logit after the repetition penalty on `seen` (repeated ids do no harm)."""
    if penalty != 1.0:
        logits = logits.copy()
        values = logits[seen]
        scale = np.float32(penalty)
        logits[seen] = np.where(values < 0, values * scale, values / scale)
    return int(np.argmax(logits))
