"""Edits while somebody holds the watch: what runs, and the seconds and phases of each."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dimrt.backends.base import Backend
from dimrt.backends.choose import DeviceName, open_backend
from dimrt.bundle import Bundle
from dimrt.editor import Editor
from dimrt.measure import scene
from dimrt.options import EditOptions
from dimrt.phases import drain
from dimrt.result import EditResult, Writing


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        bundle: its folder.
        device, target, threads: as `dimrt.backends.choose.open_backend` takes them.
        steps, guidance: of the painter; None for the schedule's own.
        schedule: a distilled painter's own ("student", "auto") or its teacher's.
        plan_tokens: a plan's exact length; None leaves the end to the model.
    """

    bundle: str
    device: DeviceName = "auto"
    target: str | None = None
    threads: int | None = None
    steps: int | None = None
    guidance: float | None = None
    schedule: Literal["auto", "student", "teacher"] = "auto"
    plan_tokens: int | None = None

    def open(self, verify: Any = "full") -> Bundle:
        """The checked bundle; where the plan's length is given, its designer doesn't stop by itself."""
        bundle = Bundle.open(self.bundle, verify=verify)
        return bundle if self.plan_tokens is None else scene.unending(bundle)

    def backend(self, bundle: Bundle) -> Backend:
        """The device's backend for the bundle."""
        return open_backend(bundle, self.device, target=self.target, threads=self.threads)

    @property
    def options(self) -> EditOptions:
        """Of each edit."""
        return EditOptions(
            steps=self.steps,
            guidance_scale=self.guidance,
            schedule=self.schedule,
            max_new_tokens=self.plan_tokens,
            seed=0,
        )

    def as_json(self) -> dict[str, Any]:
        """All of it, for a process of its own."""
        return asdict(self)


@dataclass(frozen=True)
class Edit:
    """One edit that was timed.

    Attributes:
        seconds: from the bytes of the photo's file (of a second edit: from the instruction) to the picture's pixels.
        phases: seconds of each phase.
        writing: what the plan took; None where none was written.
    """

    seconds: float
    phases: dict[str, float]
    writing: Writing | None


@dataclass
class Edits:
    """Edits in the order they ran. `at` are the seconds since the beginning when each first edit began."""

    first: list[Edit] = field(default_factory=list)
    second: list[Edit] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    def phases(self) -> dict[str, list[float]]:
        """Seconds of each phase of every first edit."""
        names = dict.fromkeys(name for edit in self.first for name in edit.phases)
        return {name: [round(edit.phases.get(name, 0.0), 7) for edit in self.first] for name in names}


def edit_photo(editor: Editor, case: Case, number: int, again: bool = True) -> Iterator[Edit]:
    """A photo edited, and (`again`) once more with another instruction; or a picture painted from a prompt."""
    if editor.bundle.manifest.painter.task == "generate":
        start = time.perf_counter()
        yield _edit(start, editor.generate(scene.PROMPT, case.options), {})
        return
    photo = scene.photo(number)
    first, second = scene.instructions(number)
    start = time.perf_counter()
    session = editor.open(photo)
    read = {"read": time.perf_counter() - start}
    yield _edit(start, drain(session.render([first], case.options), None, None), read)
    if again:
        start = time.perf_counter()
        yield _edit(start, drain(session.render([second], case.options), None, None), {})


def _edit(start: float, result: EditResult, before: dict[str, float]) -> Edit:
    return Edit(time.perf_counter() - start, before | result.timings, result.writing)


def run_edits(editor: Editor, case: Case, turns: Iterator[int], *, again: bool = True) -> Edits:
    """A photo a turn, each another one."""
    edits = Edits()
    begin = time.perf_counter()
    for number in turns:
        began = time.perf_counter() - begin
        first, *second = edit_photo(editor, case, number, again)
        edits.first.append(first)
        edits.second.extend(second)
        edits.at.append(round(began, 4))
    return edits
