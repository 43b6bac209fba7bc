"""One request, checked: what a caller asked for, completed with the bundle's defaults."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from dimrt.blueprint import Blueprint
from dimrt.errors import InputError
from dimrt.manifest import Manifest
from dimrt.options import EditOptions

MAX_STEPS = 1000
MAX_GUIDANCE = 100.0
MAX_SEED = 2**63 - 1
CHOICES: dict[str, tuple[str, ...]] = {
    "plan_view": ("shared", "native"),
    "frame": ("whole", "crop"),
    "composite": ("auto", "tone", "local", "none"),
}


@dataclass(frozen=True)
class Request:
    """Options with every default filled in; see `dimrt.options.EditOptions`. `plan` is a ready plan."""

    steps: int
    guidance_scale: float
    seed: int
    plan: Blueprint | None
    think: bool
    max_new_tokens: int
    plan_view: Literal["shared", "native"]
    frame: Literal["whole", "crop"]
    composite: Literal["auto", "tone", "local", "none"]


def resolve(options: EditOptions, manifest: Manifest) -> Request:
    """Check the options and fill in the bundle's defaults.

    Raises:
        InputError: an option is out of range; the message names it and its limits.
    """
    schedule, decoding = manifest.schedule, manifest.designer.decoding
    for name, choices in CHOICES.items():
        if getattr(options, name) not in choices:
            raise InputError(f"{name} is {getattr(options, name)!r}; choose one of {', '.join(choices)}")
    if options.frame == "crop" and options.composite in ("tone", "local"):
        raise InputError(
            f"composite {options.composite!r} needs the whole photo and frame is 'crop', which returns the painted "
            "square; leave composite at 'auto' or set frame to 'whole'"
        )
    guidance = schedule.guidance_scale if options.guidance_scale is None else options.guidance_scale
    if isinstance(guidance, bool) or not math.isfinite(guidance) or not 0 <= guidance <= MAX_GUIDANCE:
        raise InputError(f"guidance_scale is {guidance}; give 0 to {MAX_GUIDANCE:g} (1 turns guidance off)")
    return Request(
        steps=_whole("steps", options.steps, schedule.steps, 1, MAX_STEPS),
        guidance_scale=float(guidance),
        seed=_whole("seed", options.seed, schedule.seed, 0, MAX_SEED),
        plan=_ready_plan(options.plan),
        think=options.think,
        max_new_tokens=_whole(
            "max_new_tokens",
            options.max_new_tokens,
            decoding.max_new_tokens,
            1,
            manifest.designer.language.max_positions,
        ),
        plan_view=options.plan_view,
        frame=options.frame,
        composite=options.composite,
    )


def _whole(name: str, value: Any, default: int, lowest: int, highest: int) -> int:
    """The value or its default, when it is a whole number in range."""
    chosen = default if value is None else value
    if isinstance(chosen, bool) or not hasattr(chosen, "__index__") or not lowest <= chosen <= highest:
        raise InputError(f"{name} is {chosen!r}; give a whole number from {lowest} to {highest}")
    return int(chosen)


def _ready_plan(plan: Blueprint | str | None) -> Blueprint | None:
    if plan is None:
        return None
    blueprint = Blueprint.parse(plan) if isinstance(plan, str) else plan
    if not blueprint.text:
        raise InputError("the given plan is empty; give its text, or leave it out to have the designer write one")
    return blueprint
