"""An editor whose edits do what their instruction says, and a worker around it: `python worker_standin.py`.

"invert" gives the negative; "turn" gives it upside down. "forever" paints until it's cancelled, "stall" works on one
unit for an hour, "crash" takes the process down, "print" writes to standard output, "wait FILE" goes on when that file
is there. Nothing of a model is loaded.
"""

import os
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

from dimrt.backends.base import Backend
from dimrt.blueprint import Blueprint
from dimrt.bundle import NANO, Bundle
from dimrt.editor import Editor
from dimrt.errors import InputError
from dimrt.events import Event, PhaseFinished, PhaseStarted, PlanReady, PlanText, Progress
from dimrt.options import EditOptions
from dimrt.request import resolve
from dimrt.result import EditResult
from dimrt.subject import Subject

DEFAULTS = EditOptions()
PLAN = "1. Edit Instruction: turn it\n2. Edited Image Imagination: it is turned"


class StandinBackend:
    """What an editor asks of a backend before its first edit."""

    name = "stand-in"
    target = None


class StandinEditor(Editor):
    """Does as it is told, step by step."""

    def __init__(self) -> None:
        super().__init__(Bundle.open(NANO, verify="layout"), cast(Backend, StandinBackend()))

    def events(
        self, image: Any, instruction: str, options: EditOptions = DEFAULTS
    ) -> Generator[Event, None, EditResult]:
        """Read, write a plan of two pieces, paint."""
        resolve(options, self.bundle.manifest)
        self._chain.check_task(image is not None)
        if not instruction:
            raise InputError("the instruction is empty")
        assert isinstance(image, Subject)
        yield PhaseStarted("plan", 2)
        for piece in (PLAN[:20], PLAN[20:]):
            yield PlanText(piece)
        yield PlanReady(Blueprint.parse(PLAN), "full")
        yield PhaseFinished("plan", 0.5)
        yield PhaseStarted("condition")
        yield PhaseStarted("paint", options.steps)
        yield from act(instruction)
        yield PhaseFinished("paint", 0.25)
        pixels = image.photo.pixels
        edited = 255 - pixels if "invert" in instruction else pixels[::-1].copy()
        return EditResult(
            image=edited,
            painted=edited,
            blueprint=Blueprint.parse(PLAN),
            plan_style="full",
            seed=options.seed or 0,
            steps=options.steps or 1,
            guidance_scale=1.0,
            composite="painted",
            timings={"paint": 0.25},
            bundle="stand-in",
            provider="stand-in",
        )


def act(instruction: str) -> Generator[Event, None, None]:
    """Units of painting."""
    word, _, rest = instruction.partition(" ")
    if word == "crash":
        os._exit(7)
    if word == "stall":
        time.sleep(3600)
    if word == "print":
        print("a library says hello")
        os.write(1, b"and a native one too\n")
        sys.stdout.flush()
    if word == "fail":
        raise ValueError("a bug of ours")
    number = 0
    while (word == "forever") or (word == "wait" and not Path(rest).exists()):
        yield Progress("paint", number)
        number += 1
        time.sleep(0.005)


def main() -> None:
    """A worker on stdio, as `dimrt worker` is one."""
    from dimrt.cli.worker import take_stdio
    from dimrt.worker.server import Server

    source, sink = take_stdio()
    os._exit(Server(source, sink, limit=4).run(StandinEditor))


if __name__ == "__main__":
    main()
