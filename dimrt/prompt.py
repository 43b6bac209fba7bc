"""Token layout of the designer's turns (Qwen's chat form), and which tokens become the condition.

The host builds every turn itself from encoded pieces, so it knows where the user's text begins and ends. Special
tokens written out in that text are plain characters, and a leading line break stays apart from the template's.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from dimrt.errors import BundleError, InputError
from dimrt.manifest import FULL, Designer, Tokens

Ids = NDArray[np.int64]
_REPLACEMENT = "\ufffd"


@dataclass(frozen=True)
class Turn:
    """One sequence for the designer.

    Attributes:
        ids: int64 [L].
        shared: number of leading tokens that every turn about this picture begins with (up to the picture's end).
        condition: the tokens whose hidden states become the condition: picture and user text.
    """

    ids: Ids
    shared: int
    condition: slice


class Prompts:
    """Builds turns with one bundle's tokenizer and texts."""

    def __init__(self, tokenizer: Path, designer: Designer) -> None:
        """Read `tokenizer.json`.

        Raises:
            BundleError: the file isn't a tokenizer, or it doesn't know the special tokens as such.
        """
        try:
            self._tokenizer = Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # tokenizers raises bare Exception for every parse error
            raise BundleError(f"{tokenizer} can't be read as a tokenizer ({error}); export the bundle again") from error
        self._tokenizer.encode_special_tokens = True
        self._designer = designer
        tokens = designer.tokens
        self._control = np.array(
            sorted({tokens.im_start, tokens.im_end, tokens.vision_start, tokens.vision_end, tokens.image_pad}), np.int64
        )
        literal = "".join(self._tokenizer.id_to_token(int(token)) or "" for token in self._control)
        if np.isin(self.encode(literal), self._control).any():
            raise BundleError(f"{tokenizer} doesn't mark the chat tokens as special; export the bundle again")

    def encode(self, text: str) -> Ids:
        """Ids [n] of plain text; special tokens spelled out in it are characters like any other."""
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int64)

    def decode(self, ids: Ids) -> str:
        """Text of ids, special tokens left out."""
        return str(self._tokenizer.decode(ids.tolist(), skip_special_tokens=True))

    def plan_turn(self, instruction: str, image_tokens: int, style: str = FULL) -> Turn:
        """The turn that asks for a plan: the request with the instruction filled in, then the assistant's start.

        Raises:
            InputError: the bundle has no request for plans of this style.
        """
        tokens = self._designer.tokens
        requests = self._designer.prompt.requests
        if style not in requests:
            raise InputError(f"this bundle writes no {style!r} plans; it knows {', '.join(requests)}")
        text = self.encode(requests[style].replace("{instruction}", instruction))
        newline = self.encode("\n")
        start = [_ids(tokens.im_end), newline, _ids(tokens.im_start), self.encode("assistant"), newline]
        answer = np.concatenate([text, *start])
        return self._turn(answer, len(text), image_tokens)

    def condition_turn(self, text: str, image_tokens: int) -> Turn:
        """The turn that the painter is conditioned on: the picture (if any), then the plan or the bare prompt.

        It ends with the user's text: the model is causal, so nothing after it can matter.

        Raises:
            InputError: the text is empty.
        """
        if not text.strip():
            raise InputError("the instruction is empty; say in words what to change")
        ids = self.encode(text)
        return self._turn(ids, len(ids), image_tokens)

    def _turn(self, tail: Ids, user: int, image_tokens: int) -> Turn:
        """System turn, user start, picture, `tail`, of which the first `user` tokens are the user's text."""
        tokens = self._designer.tokens
        head = [
            _ids(tokens.im_start),
            self.encode(f"system\n{self._designer.prompt.system}"),
            _ids(tokens.im_end),
            self.encode("\n"),
            _ids(tokens.im_start),
            self.encode("user\n"),
        ]
        picture = _ids(tokens.vision_start, *[tokens.image_pad] * image_tokens, tokens.vision_end)
        opening = np.concatenate(head)
        prefix = np.concatenate([opening, picture]) if image_tokens else opening
        ids = np.concatenate([prefix, tail])
        return Turn(ids=ids, shared=len(prefix), condition=slice(len(opening), len(prefix) + user))


def _ids(*tokens: int) -> Ids:
    return np.array(tokens, np.int64)


class TextStream:
    """Turns a stream of ids into text, holding back bytes until they form whole characters."""

    def __init__(self, prompts: Prompts) -> None:
        self._prompts = prompts
        self._pending: list[int] = []

    def push(self, token: int) -> str:
        """Text that became certain with this token; may be empty."""
        self._pending.append(token)
        text = self._prompts.decode(np.array(self._pending, np.int64))
        if text.endswith(_REPLACEMENT):
            return ""
        self._pending.clear()
        return text

    def close(self) -> str:
        """What is left, broken characters replaced."""
        text = self._prompts.decode(np.array(self._pending, np.int64))
        self._pending.clear()
        return text


def select_user_spans(ids: Ids, tokens: Tokens, user: int, newline: int) -> Ids:
    """The original's own rule, by ids: for comparison with it, the chain builds its spans structurally.

    A span opens after (im_start, user, newline) and closes before the next im_end.

    Args:
        ids: token ids [L].
        user: id of the word "user".
        newline: id of the line break.

    Returns:
        Positions int64 of the selected tokens.

    Raises:
        InputError: as many spans are not opened as closed.
    """
    opened = (ids[:-2] == tokens.im_start) & (ids[1:-1] == user) & (ids[2:] == newline)
    starts = np.flatnonzero(opened) + 3
    ends = np.flatnonzero(ids == tokens.im_end)
    selected: list[int] = []
    for index, start in enumerate(starts):
        closing = ends[ends >= start]
        following = starts[index + 1] if index + 1 < len(starts) else len(ids)
        if not len(closing) or closing[0] >= following:
            raise InputError(f"the user turn that starts at token {start} is not closed before the next one or the end")
        selected.extend(range(int(start), int(closing[0])))
    return np.array(selected, np.int64)


def turn_from_ids(ids: Ids, tokens: Tokens, user: int, newline: int) -> Turn:
    """A turn made of ready ids, its condition found by the original's rule (a single user turn)."""
    selected = select_user_spans(ids, tokens, user, newline)
    pictures = np.flatnonzero(ids == tokens.vision_end)
    start = int(selected[0])
    shared = int(pictures[0]) + 1 if len(pictures) else start
    return Turn(ids=ids[: int(selected[-1]) + 1], shared=shared, condition=slice(start, int(selected[-1]) + 1))
