"""One photo edited again and again: each result is painted from the original, so that errors never add up."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from dimrt.errors import InputError
from dimrt.events import Event
from dimrt.options import EditOptions
from dimrt.phases import Cancel, OnEvent, drain
from dimrt.photo.mask import Mask
from dimrt.photo.read import Photo
from dimrt.result import EditResult
from dimrt.subject import Subject

KEPT = 4
"""Results kept for undo and redo, the last used ones; an older one is painted again, to the same bytes."""
_DEFAULTS = EditOptions()


class Events(Protocol):
    """How an editor edits: `Editor.events`."""

    def __call__(
        self, image: Subject, instruction: str, options: EditOptions, /
    ) -> Generator[Event, None, EditResult]: ...


@dataclass(frozen=True, eq=False)
class _Edit:
    instruction: str
    options: EditOptions


State = tuple[_Edit, ...]
"""The edits in force, in order."""


class Session:
    """Edits of one photo, from `Editor.open`.

    What was computed of the photo (its view, its latent, the designer's reading of it) serves all its edits: from the
    second one on an edit starts at the instruction. Edits of the whole photo are painted from the original, with all
    their instructions as one. An edit in a mask or a region is painted on top of those before it, and leaves every
    pixel outside as they left it.

    Not safe for calls from several threads at once, and neither is the editor it belongs to: see `dimrt.jobs`.

    Attributes:
        photo: the original.
    """

    def __init__(self, events: Events, photo: Photo) -> None:
        """`Editor.open` is the usual way."""
        self.photo = photo
        self._events = events
        self._subject = Subject(photo)
        self._states: list[State] = [()]
        self._now = 0
        self._results: dict[State, EditResult] = {}

    @property
    def instructions(self) -> tuple[str, ...]:
        """The instructions in force."""
        return tuple(edit.instruction for edit in self._states[self._now])

    @property
    def can_undo(self) -> bool:
        """Whether an edit is in force."""
        return self._now > 0

    @property
    def can_redo(self) -> bool:
        """Whether an edit was undone, and none made since."""
        return self._now + 1 < len(self._states)

    def render(
        self, instructions: Sequence[str], options: EditOptions = _DEFAULTS, base: EditResult | None = None
    ) -> Generator[Event, None, EditResult]:
        """The original with these instructions as one edit, as a stream of events that ends in the result.

        With `base`, a result of this photo, that is what is edited. Neither reads nor changes what is in force here.
        Errors as `Editor.edit`.
        """
        subject = self._subject if base is None else Subject(_edited(self.photo, base))
        return self._events(subject, merged(instructions), options)

    def edit(
        self,
        instruction: str,
        options: EditOptions = _DEFAULTS,
        *,
        on_event: OnEvent | None = None,
        cancel: Cancel | None = None,
    ) -> EditResult:
        """The photo with those in force and one more instruction. Arguments and errors as for `Editor.edit`.

        Of the options of edits that are painted as one the last ones count. After an error or a cancel everything is
        as before.
        """
        state = (*self._states[self._now], _Edit(instruction, options))
        result = self._result(state, on_event, cancel)
        self._states[self._now + 1 :] = [state]
        self._now += 1
        return result

    def undo(self, *, on_event: OnEvent | None = None, cancel: Cancel | None = None) -> EditResult | None:
        """Take the last edit back: the result before it, or None when that is the photo itself.

        Raises:
            InputError: nothing is in force.
        """
        if not self.can_undo:
            raise InputError("there is no edit to undo; the photo is as it was read")
        return self._go(self._now - 1, on_event, cancel)

    def redo(self, *, on_event: OnEvent | None = None, cancel: Cancel | None = None) -> EditResult | None:
        """Put the edit that was last undone back.

        Raises:
            InputError: none was undone, or another edit was made since.
        """
        if not self.can_redo:
            raise InputError("there is no undone edit to redo")
        return self._go(self._now + 1, on_event, cancel)

    def _go(self, index: int, on_event: OnEvent | None, cancel: Cancel | None) -> EditResult | None:
        state = self._states[index]
        result = self._result(state, on_event, cancel) if state else None
        self._now = index
        return result

    def _result(self, state: State, on_event: OnEvent | None, cancel: Cancel | None) -> EditResult:
        """The result of a state: kept, or painted now."""
        result = self._results.pop(state, None)
        if result is None:
            below = _below(state)
            base = self._result(below, on_event, cancel) if below else None
            instructions = [edit.instruction for edit in state[len(below) :]]
            result = drain(self.render(instructions, state[-1].options, base), on_event, cancel)
        self._results[state] = result
        while len(self._results) > KEPT:
            del self._results[next(iter(self._results))]
        return result


def merged(instructions: Sequence[str]) -> str:
    """Several instructions as one.

    Raises:
        InputError: there is none, or one of several is empty.
    """
    if len(instructions) == 1:
        return instructions[0]
    parts = [instruction.strip().rstrip(".;,!").rstrip() for instruction in instructions]
    if not parts or not all(parts):
        raise InputError("an instruction is empty; say in words what to change")
    return " and ".join([parts[0], *(_uncapitalised(part) for part in parts[1:])])


def _uncapitalised(text: str) -> str:
    """The text as it stands within a sentence; abbreviations ("USA") keep their capitals."""
    return text[0].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _below(state: State) -> State:
    """The edits under the last layer: a layer is a run of edits in one and the same place."""
    end = len(state) - 1
    while end > 0 and _same_place(state[end - 1].options, state[-1].options):
        end -= 1
    return state[:end]


def _same_place(one: EditOptions, other: EditOptions) -> bool:
    same_mask = one.mask is other.mask or (isinstance(one.mask, Mask) and one.mask == other.mask)
    return same_mask and one.region == other.region


def _edited(photo: Photo, result: EditResult) -> Photo:
    alpha = result.image[..., 3] if result.image.shape[2] == 4 else None
    return replace(photo, pixels=result.image[..., :3], alpha=alpha)
