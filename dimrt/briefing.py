"""The designer's part of the chain: photo and instruction to plan and condition."""

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial

from dimrt.backends.base import Backend, Tensor
from dimrt.blueprint import Blueprint
from dimrt.bundle import Bundle
from dimrt.designer import Designer, View
from dimrt.errors import InputError
from dimrt.events import Event, PlanReady, PlanText, Progress
from dimrt.phases import Phases
from dimrt.prompt import Turn
from dimrt.request import Request
from dimrt.result import Writing
from dimrt.subject import Subject
from dimrt.vision import condition_size, fit_size

Size = tuple[int, int]


@dataclass(frozen=True)
class Brief:
    """What the designer hands to the painter.

    Attributes:
        blueprint: the plan, or None when the bare instruction was used.
        condition: N rows of condition_channels, on the host or the device.
        writing: what the designer's own plan took; None when it wrote none.
    """

    blueprint: Blueprint | None
    condition: Tensor
    writing: Writing | None = None


class Briefing:
    """Has the designer of one bundle look, write and read."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self._facts = bundle.manifest
        self._backend = backend
        self._designer = Designer(bundle, backend)

    def forget(self) -> None:
        """Drop what is kept of the last picture."""
        self._designer.forget()

    def check(self, has_photo: bool, instruction: str, request: Request) -> None:
        """Refuse texts that can't be used, before anything runs.

        Raises:
            InputError: instruction or plan is empty or too long.
        """
        size = condition_size(self._facts.designer.vision) if has_photo else None
        self._check_text("instruction", instruction, size)
        if request.plan is not None:
            self._check_text("plan", request.plan.text, size)

    def brief(
        self, subject: Subject | None, instruction: str, request: Request, phases: Phases
    ) -> Generator[Event, None, Brief]:
        """Vision, plan (when the designer is to write one) and condition; the texts have been checked."""
        vision = self._facts.designer.vision
        size = condition_size(vision) if subject is not None else None
        blueprint, writing = request.plan, None
        if blueprint is not None:
            yield PlanReady(blueprint)
        view = None
        if subject is not None and size is not None:
            writes = blueprint is None and request.think
            native = writes and request.plan_view == "native"
            first = fit_size(*subject.photo.size, vision) if native else size
            view = yield from phases.once("vision", partial(self._view, subject, first))
            if writes:
                blueprint, writing = yield from self._plan(instruction, view, request, phases)
        text = instruction if blueprint is None else blueprint.text
        condition = yield from phases.once("condition", partial(self._condition, text, subject, size, view))
        return Brief(blueprint, condition, writing)

    def _plan(
        self, instruction: str, view: View, request: Request, phases: Phases
    ) -> Generator[Event, None, tuple[Blueprint | None, Writing]]:
        """The designer's own plan (None when it wrote nothing), and what that took."""
        turn = self._designer.prompts.plan_turn(instruction, _tokens(view), request.plan_style)
        limit = _within(request.max_new_tokens, turn, self._facts.designer.language.max_positions)
        text, writing = yield from phases.stream("plan", limit, self._write(turn, view, limit))
        if not text.strip():
            return None, writing
        blueprint = Blueprint.parse(text)
        yield PlanReady(blueprint, request.plan_style)
        return blueprint, writing

    def _write(self, turn: Turn, view: View, limit: int) -> Generator[Event, None, tuple[str, Writing]]:
        text, writing = "", Writing(0, 0)
        limit = _within(limit, turn, self._designer.room)
        for piece in self._designer.write(turn, view, limit, self._facts.designer.decoding.repetition_penalty):
            if piece.text:
                text += piece.text
                yield PlanText(piece.text)
            writing = Writing(piece.count, piece.passes)
            yield Progress("plan", piece.count)
        return text, writing

    def _view(self, subject: Subject, size: Size) -> View:
        view = self._designer.view(subject.view(size, self._facts.designer.vision))
        self._backend.finish()
        return view

    def _condition(self, text: str, subject: Subject | None, size: Size | None, planned: View | None) -> Tensor:
        """The condition; the view that the plan was written on serves again when it has the condition's size."""
        view = planned
        if subject is not None and planned is not None and size is not None and planned.size != size:
            view = self._view(subject, size)
        condition = self._designer.condition(self._designer.prompts.condition_turn(text, _tokens(view)), view)
        self._backend.finish()
        return condition

    def _check_text(self, name: str, text: str, size: Size | None) -> None:
        """Refuse an empty text, and one so long that the painter would lose sight of the picture's first rows.

        Raises:
            InputError: empty or too long.
        """
        if not text.strip():
            raise InputError(f"the {name} is empty; say in words what to " + ("change" if size else "paint"))
        facts = self._facts.designer
        room = self._facts.painter.max_condition
        if size is not None:
            factor = facts.vision.patch_size * facts.vision.merge_size
            room -= (size[0] // factor) * (size[1] // factor) + 2
        count = len(self._designer.prompts.encode(text))
        if count > room:
            raise InputError(f"the {name} has {count} tokens, this bundle takes at most {room}; shorten it")


def _tokens(view: View | None) -> int:
    """Image tokens in a turn about this view."""
    return 0 if view is None else view.grid[0] * view.grid[1]


def _within(limit: int, turn: Turn, most: int) -> int:
    """So many tokens of a plan at most, that the turn has `most` with it.

    Raises:
        InputError: not even one.
    """
    count = len(turn.ids)
    if count >= most:
        raise InputError(
            f"the instruction and the photo take {count} tokens and leave no room for a plan (limit {most}); "
            "shorten the instruction, or plan on the shared view"
        )
    return min(limit, most - count)
