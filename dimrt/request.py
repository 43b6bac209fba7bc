"""One request, checked: what a caller asked for, completed with the bundle's defaults."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from dimrt.blueprint import Blueprint
from dimrt.errors import InputError
from dimrt.manifest import FULL, Manifest, Schedule
from dimrt.options import EditOptions
from dimrt.photo.bounds import Bounds, mask_bounds, region_bounds
from dimrt.photo.mask import Mask, read_mask, region_box
from dimrt.schedule import Interval
from dimrt.tiles import LEAST

MAX_STEPS = 1000
MAX_GUIDANCE = 100.0
MAX_SEED = 2**63 - 1
MAX_FEATHER = 10_000
MAX_TILE = 1 << 16
CHOICES: dict[str, tuple[str, ...]] = {
    "schedule": ("auto", "student", "teacher"),
    "plan_view": ("shared", "native"),
    "frame": ("whole", "crop"),
    "composite": ("auto", "tone", "local", "painted", "none"),
    "closeup": ("auto", "never", "always"),
}


@dataclass(frozen=True)
class Request:
    """Options with every default filled in; see `dimrt.options.EditOptions`. `plan` is a ready plan."""

    steps: int
    guidance_scale: float
    guidance_interval: Interval | None
    schedule: Literal["student", "teacher"]
    seed: int
    plan: Blueprint | None
    plan_style: str
    think: bool
    max_new_tokens: int
    plan_view: Literal["shared", "native"]
    frame: Literal["whole", "crop"]
    composite: Literal["auto", "tone", "local", "painted", "none"]
    mask: Mask | NDArray[Any] | None
    region: tuple[int, int, int, int] | None
    feather: float | None
    closeup: Literal["auto", "never", "always"]
    tile: int | None
    previews: bool

    @property
    def as_painted(self) -> bool:
        """Whether the painted picture itself is the result."""
        return self.composite == "none" or self.frame == "crop"

    def bounds(self, size: tuple[int, int]) -> Bounds | None:
        """What may change of an upright photo of (width, height); None for all of it.

        Raises:
            InputError: the mask or the region doesn't fit the photo.
        """
        if self.mask is not None:
            return mask_bounds(read_mask(self.mask, size).share, self.feather)
        if self.region is not None:
            return region_bounds(size, region_box(self.region, size), self.feather)
        return None


def resolve(options: EditOptions, manifest: Manifest) -> Request:
    """Check the options and fill in the bundle's defaults.

    Raises:
        InputError: an option is out of range; the message names it and its limits.
    """
    schedule, decoding = manifest.schedule, manifest.designer.decoding
    for name, choices in CHOICES.items():
        if getattr(options, name) not in choices:
            raise InputError(f"{name} is {getattr(options, name)!r}; choose one of {', '.join(choices)}")
    if options.frame == "crop" and options.composite in ("tone", "local", "painted"):
        raise InputError(
            f"composite {options.composite!r} needs the whole photo and frame is 'crop', which returns the painted "
            "square; leave composite at 'auto' or set frame to 'whole'"
        )
    _check_place(options)
    whose = _whose(options.schedule, schedule)
    guidance = _guidance(options.guidance_scale, schedule, whose)
    return Request(
        steps=_steps(options.steps, schedule, whose),
        guidance_scale=guidance,
        guidance_interval=_interval(options.guidance_interval, guidance, whose),
        schedule=whose,
        seed=_whole("seed", options.seed, schedule.seed, 0, MAX_SEED),
        plan=_ready_plan(options.plan),
        plan_style=_style(options.plan_style, manifest),
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
        mask=options.mask,
        region=options.region,
        feather=options.feather,
        closeup=options.closeup,
        tile=_tile(options.tile, manifest),
        previews=options.previews,
    )


def _check_place(options: EditOptions) -> None:
    """Refuse what can't be meant by a mask, a region, a feather or a close-up."""
    bounded = options.mask is not None or options.region is not None
    if options.mask is not None and options.region is not None:
        raise InputError("mask and region both say where to edit; give one of them")
    whole = "frame 'crop'" if options.frame == "crop" else "composite 'none'" if options.composite == "none" else None
    if whole is not None and (bounded or options.closeup == "always"):
        what = "a mask" if options.mask is not None else "a region" if bounded else "closeup 'always'"
        raise InputError(
            f"{what} needs the change carried to the photo, and {whole} returns the painted picture itself"
        )
    region = options.region
    if region is not None and (len(region) != 4 or not all(hasattr(value, "__index__") for value in region)):
        raise InputError(f"region is {region!r}; give x, y, width and height in whole pixels")
    if options.feather is None:
        return
    if not bounded:
        raise InputError(
            "feather softens the edge of a mask or a region, and neither is given; give one, or leave it out"
        )
    if isinstance(options.feather, bool) or not 0 <= options.feather <= MAX_FEATHER:
        raise InputError(f"feather is {options.feather}; give 0 to {MAX_FEATHER} pixels")


def _whose(asked: Literal["auto", "student", "teacher"], facts: Schedule) -> Literal["student", "teacher"]:
    if asked == "student" and facts.distilled is None:
        raise InputError("schedule is 'student', and this bundle's painter was not distilled; leave schedule at 'auto'")
    return "teacher" if asked == "teacher" or facts.distilled is None else "student"


def _steps(value: Any, facts: Schedule, whose: Literal["student", "teacher"]) -> int:
    """The number of steps; a student's has to be one that it was distilled for."""
    few = facts.distilled
    if few is None or whose == "student":
        steps = _whole("steps", value, facts.steps, 1, MAX_STEPS)
    else:
        steps = _whole("steps", value, few.teacher_steps, 1, MAX_STEPS)
    if few is not None and whose == "student" and few.timesteps:
        counts = sorted(len(row) for row in few.timesteps)
        if steps not in counts:
            raise InputError(
                f"steps is {steps}; this bundle's painter was distilled for {', '.join(map(str, counts))}: give one of "
                "them, or choose the schedule 'teacher'"
            )
    return steps


def _guidance(value: Any, facts: Schedule, whose: Literal["student", "teacher"]) -> float:
    """The guidance scale; a student has its teacher's built in."""
    guidance = facts.guidance_scale if value is None else value
    if isinstance(guidance, bool) or not math.isfinite(guidance) or not 0 <= guidance <= MAX_GUIDANCE:
        raise InputError(f"guidance_scale is {guidance}; give 0 to {MAX_GUIDANCE:g} (1 turns guidance off)")
    if facts.distilled is not None and whose == "student" and guidance != 1:
        raise InputError(
            f"guidance_scale is {guidance:g}; this bundle's painter was distilled with guidance "
            f"{facts.distilled.guidance_scale:g} and takes none: leave it out, or choose the schedule 'teacher'"
        )
    return float(guidance)


def _interval(value: Any, guidance: float, whose: Literal["student", "teacher"]) -> Interval | None:
    """The noise levels that are guided; None for all of them."""
    if value is None:
        return None
    try:
        low, high = (float(level) for level in value)
    except (TypeError, ValueError):
        raise InputError(f"guidance_interval is {value!r}; give the lowest and the highest noise level") from None
    if not 0 <= low <= high <= 1:
        raise InputError(
            f"guidance_interval is {low:g} to {high:g}; give two noise levels from 0 (clean) to 1 (noise), the lower "
            "first"
        )
    if guidance == 1:
        why = "this bundle's painter was distilled and takes none" if whose == "student" else "guidance_scale is 1"
        raise InputError(f"guidance_interval says where there is guidance, and {why}; leave it out")
    return low, high


def _tile(value: Any, manifest: Manifest) -> int | None:
    """The side of the autoencoder's tiles."""
    if value is None:
        return None
    factor = manifest.resolution.latent_factor
    sides = [side for side in manifest.graphs["decode"].inputs[0].shape[2:] if isinstance(side, int)]
    if sides:
        raise InputError(
            f"tile is {value!r}; this bundle's autoencoder takes pictures of {sides[1] * factor} x {sides[0] * factor} "
            "and no others: leave it out"
        )
    tile = _whole("tile", value, 0, LEAST * factor, MAX_TILE)
    if tile % factor:
        raise InputError(f"tile is {tile}; give a multiple of {factor} pixels")
    return tile


def _whole(name: str, value: Any, default: int, lowest: int, highest: int) -> int:
    """The value or its default, when it is a whole number in range."""
    chosen = default if value is None else value
    if isinstance(chosen, bool) or not hasattr(chosen, "__index__") or not lowest <= chosen <= highest:
        raise InputError(f"{name} is {chosen!r}; give a whole number from {lowest} to {highest}")
    return int(chosen)


def _style(style: str | None, manifest: Manifest) -> str:
    known = tuple(manifest.designer.prompt.requests)
    chosen = FULL if style is None else style
    if chosen not in known:
        raise InputError(
            f"plan_style is {chosen!r}; {manifest.name} was not made to write such plans, choose one of its own: "
            + ", ".join(known)
        )
    return chosen


def _ready_plan(plan: Blueprint | str | None) -> Blueprint | None:
    if plan is None:
        return None
    blueprint = Blueprint.parse(plan) if isinstance(plan, str) else plan
    if not blueprint.text:
        raise InputError("the given plan is empty; give its text, or leave it out to have the designer write one")
    return blueprint
