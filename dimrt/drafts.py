"""Guesses of the next tokens of a plan, which the designer confirms several at a time (speculative decoding).

A plan repeats: its instruction, the names of its sections, phrases of earlier plans, and nearly all of the plan before
when the same photo is edited again. So the guesser is the text itself: what followed the last few tokens where they
stood before (prompt lookup decoding, Saxena 2023; here over earlier plans too, by majority, and only as far as it is
likely to be right). A wrong guess costs a row of one run; the plan is the same with and without guesses.
"""

import numpy as np
from numpy.typing import NDArray

from dimrt.prompt import Ids

CONTEXT = 4
"""Tokens that a place in the text must share with its end, at most; fewer where no place shares as many."""
MOST = 7
"""Guesses at a time."""
LIKELY = 0.2
"""Guessing goes on while the chance that all guesses so far are right, by the counts, is over this."""
DOUBT = 1.0
"""Places added to those counted that continue in another way, divided by the length of the shared context: one place
alone is no certainty, but nearly one where it shares a whole sentence."""
ASKED = 32
"""Places that are looked at, the newest."""
KEPT = 32_768
"""Tokens of earlier plans that are kept, the newest: some 128 plans, 128 KB."""


class Drafts:
    """What was written so far, and what it lets one guess."""

    def __init__(self) -> None:
        self._plans = np.empty(0, np.int32)
        self._text = np.empty(0, np.int32)
        self._length = 0

    def begin(self, ids: Ids) -> None:
        """A turn begins: its tokens (without those of the picture) are text too."""
        self._text = np.concatenate([self._plans, ids.astype(np.int32)])
        self._length = len(self._text)

    def add(self, token: int) -> None:
        """The next token of the turn."""
        if self._length == len(self._text):
            self._text = np.concatenate([self._text, np.empty(max(256, self._length // 4), np.int32)])
        self._text[self._length] = token
        self._length += 1

    def keep(self, plan: Ids) -> None:
        """The turn is over; its plan helps with later ones."""
        self._plans = np.concatenate([self._plans, plan.astype(np.int32)])[-KEPT:]

    def guess(self) -> list[int]:
        """What may follow the last token, at least one guess."""
        text = self._text[: self._length]
        places, shared = self._places(text)
        after = [text[place + 1 : place + 1 + MOST].tolist() for place in places[-ASKED:]]
        guesses: list[int] = []
        chance = 1.0
        while after and len(guesses) < MOST:
            depth = len(guesses)
            following = [tokens[depth] for tokens in after]
            best = max(dict.fromkeys(reversed(following)), key=following.count)
            chance *= following.count(best) / (len(after) + DOUBT / (shared + depth))
            if guesses and chance < LIKELY:
                break
            guesses.append(best)
            after = [tokens for tokens in after if tokens[depth] == best and len(tokens) > depth + 1]
        return guesses or [int(text[-1])]

    @staticmethod
    def _places(text: NDArray[np.int32]) -> tuple[NDArray[np.int64], int]:
        """Where the last tokens stood before, as many of them as stood anywhere, up to `CONTEXT`; and how many."""
        places: NDArray[np.int64] = np.flatnonzero(text[:-1] == text[-1])
        shared = 1
        while shared < min(CONTEXT, len(text)):
            longer = places[places >= shared]
            longer = longer[text[longer - shared] == text[-1 - shared]]
            if not len(longer):
                break
            places, shared = longer, shared + 1
        return places, shared
