"""What the worker's jobs do, each as a stream of events that ends in what is answered."""

from collections.abc import Generator
from dataclasses import dataclass, replace

from dimrt.editor import Editor
from dimrt.errors import InputError
from dimrt.events import Event, PhaseStarted, PlanReady
from dimrt.phases import Phases
from dimrt.photo.mask import read_mask
from dimrt.photo.read import Photo, read_photo
from dimrt.result import EditResult
from dimrt.session import Session
from dimrt.worker.protocol import Edit, Generate, Open, Plan


@dataclass
class Opened:
    """A photo that the program opened; `session` is there once the job that opens it has run."""

    name: str
    session: Session | None = None


@dataclass(frozen=True)
class Painted:
    """A finished picture, and the photo whose metadata it takes."""

    result: EditResult
    photo: Photo | None
    notes: tuple[str, ...] = ()


def edit(
    editor: Editor, request: Edit, parts: dict[str, bytes], opened: Opened | None
) -> Generator[Event, None, Painted]:
    """Read photo and mask, and edit."""
    phases = Phases()
    session = yield from _session(editor, request, parts, opened, phases)
    options, notes = request.options.resolve(), session.photo.notes
    source = request.mask if request.mask is not None else parts.get("mask")
    if source is not None:
        mask = read_mask(source, session.photo.size)
        options = replace(options, mask=mask)
        notes = (*notes, f"of the mask, {mask.reading}")
    result = yield from session.render(request.instructions, options)
    timings = {**phases.seconds, **result.timings}
    return Painted(replace(result, timings=timings), session.photo, notes)


def generate(editor: Editor, request: Generate) -> Generator[Event, None, Painted]:
    """Paint from the prompt."""
    result = yield from editor.events(None, request.prompt, request.options.resolve())
    return Painted(result, None)


def plan(
    editor: Editor, request: Plan, parts: dict[str, bytes], opened: Opened | None
) -> Generator[Event, None, PlanReady]:
    """Run the chain up to the finished plan."""
    session = yield from _session(editor, request, parts, opened, Phases())
    events = session.render(request.instructions, request.options.resolve())
    try:
        for event in events:
            if isinstance(event, PhaseStarted) and event.phase == "condition":
                break
            yield event
            if isinstance(event, PlanReady):
                return event
    finally:
        events.close()
    raise InputError("the designer wrote no plan for this instruction. Say more exactly what to change.")


def open_photo(editor: Editor, request: Open, parts: dict[str, bytes], opened: Opened) -> Generator[Event, None, Photo]:
    """Read the photo and keep it open."""
    session = yield from Phases().once("read", lambda: editor.open(_read(request.photo, parts)))
    opened.session = session
    return session.photo


def _session(
    editor: Editor, request: Edit | Plan, parts: dict[str, bytes], opened: Opened | None, phases: Phases
) -> Generator[Event, None, Session]:
    """The open photo, or the request's own, opened for it alone."""
    if opened is None:
        return (yield from phases.once("read", lambda: editor.open(_read(request.photo, parts))))
    if opened.session is None:
        raise InputError(f"session {opened.name!r}: its photo could not be opened; open it again")
    return opened.session


def _read(path: str | None, parts: dict[str, bytes]) -> Photo:
    """The photo of a path or a part; the part is not kept."""
    return read_photo(parts.pop("photo") if path is None else path)
