"""Events of one edit, in the order they happen. Every front end drains the same stream."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dimrt.blueprint import Blueprint

PHASES = ("read", "vision", "plan", "condition", "encode", "paint", "decode", "composite")
"""Phases of an edit. Before them come "build" when engines must be built first, and "load" when graphs aren't loaded
yet; both count graphs. Where one role's graphs are loaded at a time, "load" comes before "vision" and "encode"."""


@dataclass(frozen=True)
class PhaseStarted:
    """A phase began; `total` counts its `Progress` events when known in advance (plan: the token limit)."""

    phase: str
    total: int | None = None


@dataclass(frozen=True)
class Progress:
    """`done` units of the phase are finished (plan: tokens; paint: steps)."""

    phase: str
    done: int


@dataclass(frozen=True)
class PlanText:
    """A piece of the plan as it is written; the pieces concatenate to the raw plan."""

    text: str


@dataclass(frozen=True)
class PlanReady:
    """The finished plan, and the style that the designer was asked for; None when the plan was given."""

    blueprint: Blueprint
    style: str | None = None


@dataclass(frozen=True, eq=False)
class Preview:
    """The picture as it looks after `step` painter steps, roughly: uint8 [h, w, 3], some hundred pixels wide.

    Sent when the request asks for previews.
    """

    step: int
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class PhaseFinished:
    """A phase ended after `seconds` of wall-clock time."""

    phase: str
    seconds: float


Event = PhaseStarted | Progress | PlanText | PlanReady | Preview | PhaseFinished
