"""A stand-in for the editor: its events and results without any graph, and a place to hold a job in any phase."""

import threading
import time
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from dimrt.blueprint import Blueprint
from dimrt.bundle import Bundle, find_bundle
from dimrt.errors import DimrtError
from dimrt.events import Event, PhaseFinished, PhaseStarted, PlanReady, PlanText, Preview, Progress
from dimrt.options import EditOptions
from dimrt.photo.read import Photo
from dimrt.request import resolve
from dimrt.result import EditResult

PHASES = ("vision", "plan", "condition", "encode", "paint", "decode", "composite")
STEPS = 4


class StandInEditor:
    """What the server uses of an editor, with the facts of the packaged bundle.

    Attributes:
        hold: the phase in which jobs wait until they are cancelled or `release` is set.
        reached: set when a job waits there.
        deaf: until it's set, a job that waits is one long unit of work, which no cancel can stop.
        fail: what jobs raise while painting.
        started, ended: how many jobs began, and how many came to an end of any kind.
        seen: the options of each job that began.
    """

    provider = "stand-in"

    def __init__(self) -> None:
        self.bundle = Bundle.open(find_bundle(None)[0], verify="layout")
        self.reset()

    def reset(self) -> None:
        """As new."""
        self.hold: str | None = None
        self.reached = threading.Event()
        self.release = threading.Event()
        self.deaf: threading.Event | None = None
        self.fail: DimrtError | Exception | None = None
        self.started = 0
        self.ended = 0
        self.seen: list[EditOptions] = []

    def open(self, photo: Photo) -> "StandInSession":
        """A session of a photo."""
        return StandInSession(self, photo)

    def events(self, image: Any, instruction: str, options: EditOptions) -> Generator[Event, None, EditResult]:
        """Every kind of event; the photo comes back as its negative, or a gray picture for none."""
        self.started += 1
        self.seen.append(options)
        request = resolve(options, self.bundle.manifest)
        text = f"1. Edit Instruction: {instruction}"
        try:
            for phase in PHASES:
                yield PhaseStarted(phase, {"plan": 2, "paint": STEPS}.get(phase))
                yield from self._waiting(phase)
                if phase == "plan":
                    yield from (PlanText(text[:9]), Progress("plan", 1), PlanText(text[9:]), Progress("plan", 2))
                    yield PlanReady(Blueprint.parse(text), "full")
                if phase == "paint":
                    yield from self._painting(options)
                yield PhaseFinished(phase, 0.25)
        finally:
            self.ended += 1
        pixels = np.full((32, 32, 3), 128, np.uint8) if image is None else np.invert(image.pixels)
        if image is not None and image.alpha is not None:
            pixels = np.dstack([pixels, image.alpha])
        return EditResult(
            image=pixels,
            painted=np.full((32, 32, 3), request.seed % 256, np.uint8),
            blueprint=Blueprint.parse(text),
            plan_style="full",
            seed=request.seed,
            steps=request.steps,
            guidance_scale=request.guidance_scale,
            composite="tone",
            timings=dict.fromkeys(PHASES, 0.25),
            bundle=self.bundle.manifest.name,
            provider=self.provider,
        )

    def _waiting(self, phase: str) -> Generator[Event, None, None]:
        done = 0
        while self.hold == phase and not self.release.is_set():
            self.reached.set()
            if self.deaf is not None:
                self.deaf.wait()
            time.sleep(0.002)
            done += 1
            if done % 50 == 0:
                yield Progress(phase, 0)

    def _painting(self, options: EditOptions) -> Generator[Event, None, None]:
        if self.fail is not None:
            raise self.fail
        for step in range(1, STEPS + 1):
            yield Progress("paint", step)
            if options.previews:
                yield Preview(step, np.full((16, 24, 3), 40 * step, np.uint8))


class StandInSession:
    """A session of the stand-in."""

    def __init__(self, editor: StandInEditor, photo: Photo) -> None:
        self._editor = editor
        self._photo = photo

    def render(
        self, instructions: Sequence[str], options: EditOptions, base: EditResult | None = None
    ) -> Generator[Event, None, EditResult]:
        """The photo, or a result of it, edited."""
        image = self._photo if base is None else Photo(base.image[..., :3])
        return self._editor.events(image, " and ".join(instructions), options)
