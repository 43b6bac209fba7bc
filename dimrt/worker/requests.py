"""A request's way through the worker: checked when it comes, turned into work, answered when that is over."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dimrt.editor import Editor
from dimrt.errors import Cancelled, InputError
from dimrt.events import Event, PlanReady
from dimrt.jobs import Job
from dimrt.photo.photo import Photo
from dimrt.photo.write import FORMATS, check_output, encode_photo, write_photo
from dimrt.wire import plan_json, result_json
from dimrt.worker import protocol, tasks
from dimrt.worker.client import MAX_PAYLOAD

Answer = tuple[dict[str, Any], dict[str, bytes]]
"""Header and parts."""


@dataclass
class Pending:
    """A job's request that isn't answered yet; `job` is None until the editor is loaded."""

    request: protocol.Job
    parts: dict[str, bytes]
    opened: tasks.Opened | None
    job: Job[Any] | None = None
    cancelled: bool = False


def check_parts(request: protocol.Job, parts: Mapping[str, bytes]) -> None:
    """Whether the pictures that belong to a request came with it, once each.

    Raises:
        InputError: one is missing, given twice, or unknown.
    """
    known = {"photo", "mask"} if isinstance(request, protocol.Edit) else {"photo"}
    if isinstance(request, protocol.Generate):
        known = set()
    if not known.issuperset(parts):
        took = ", ".join(sorted(known)) or "none"
        raise InputError(f"a request came with the parts {', '.join(sorted(parts))}; it takes {took}")
    if isinstance(request, protocol.Generate):
        return
    session = None if isinstance(request, protocol.Open) else request.session
    if (request.photo is not None) + ("photo" in parts) + (session is not None) != 1:
        raise InputError("a request is about one photo: a path in `photo`, a part `photo`, or the name of a `session`")
    if isinstance(request, protocol.Edit) and request.mask is not None and "mask" in parts:
        raise InputError("the mask was given twice, as a path and as a part; give it once")


def check_destination(output: protocol.Output) -> None:
    """Refuse an output that could not be made at the end.

    Raises:
        InputError: an unknown format, a missing folder, a quality outside 1 to 100.
    """
    if output.path is not None:
        check_output(output.path, output.quality)
        return
    formats = sorted(set(FORMATS.values()))
    if output.format not in formats:
        raise InputError(f"output format {output.format!r} is unknown; choose one of {', '.join(formats)}")
    if not 1 <= output.quality <= 100:
        raise InputError(f"quality {output.quality} is not from 1 to 100")


def work(editor: Editor, pending: Pending) -> Generator[Event, None, Any]:
    """The stream of events of a request."""
    request, parts, opened = pending.request, pending.parts, pending.opened
    match request:
        case protocol.Edit():
            return tasks.edit(editor, request, parts, opened)
        case protocol.Plan():
            return tasks.plan(editor, request, parts, opened)
        case protocol.Generate():
            return tasks.generate(editor, request)
        case protocol.Open():
            assert opened is not None
            return tasks.open_photo(editor, request, parts, opened)


def answer(pending: Pending, outcome: tasks.Painted | PlanReady | Photo) -> Answer:
    """The message that a job ends in.

    Raises:
        Cancelled: it was cancelled before its file was written.
        DimrtError: the picture can't be encoded or written.
    """
    if isinstance(outcome, PlanReady):
        return {"type": "result", "plan": plan_json(outcome.blueprint, outcome.style)}, {}
    if isinstance(outcome, Photo):
        width, height = outcome.size
        facts = {"width": width, "height": height, "depth": outcome.depth, "notes": list(outcome.notes)}
        return {"type": "opened", "photo": facts}, {}
    request = pending.request
    assert isinstance(request, protocol.Edit | protocol.Generate)
    if pending.cancelled:
        raise Cancelled
    output, image = request.output, outcome.result.image
    header = {"type": "result", "result": result_json(outcome.result)}
    if output.path is not None:
        notes = write_photo(output.path, image, outcome.photo, output.quality)
        return {**header, "notes": [*outcome.notes, *notes], "path": str(Path(output.path))}, {}
    encoded, notes = encode_photo(output.format, image, outcome.photo, output.quality)
    if len(encoded) > MAX_PAYLOAD:
        raise InputError(f"the picture has {len(encoded):,} bytes, over {MAX_PAYLOAD:,}; give `output` a path")
    return {**header, "notes": [*outcome.notes, *notes], "format": output.format}, {"image": encoded}
