"""Targets and recipes side by side: does it fit, and how long does an edit take?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dimrt.backends.base import Device, Flavour, Residency
from dimrt.bundle import Bundle
from dimrt.errors import InputError
from dimrt.memory.count import Estimate
from dimrt.memory.fits import estimate
from dimrt.memory.setting import PLAN_TOKENS
from dimrt.predict.edit import USUAL_PLAN, Prediction, predict
from dimrt.predict.measured import Held, MeasuredEdit, hold, predict_measured
from dimrt.predict.models import bundle_in
from dimrt.predict.rates import Rates


@dataclass(frozen=True)
class Machine:
    """A machine that was measured: ONNX Runtime takes any shape there. `memory_bytes` is all it has, if known."""

    name: str
    memory_bytes: int | None
    flavour: Flavour = "onnxruntime"
    residency: Residency = "all"
    shapes: Mapping[str, Mapping[str, tuple[int, int, int]]] = field(default_factory=dict)
    pinned: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where an edit would run: what bounds its memory, its rates, the recipe that suits it, edits measured there."""

    name: str
    device: Device | None
    rates: Rates | None
    recipe: str | None = None
    edit: MeasuredEdit | None = None


@dataclass(frozen=True)
class Wish:
    """What is asked for; None: what the bundle or the target says."""

    size: tuple[int, int] | None = None
    plan_tokens: int | None = None
    steps: int | None = None
    tokens_per_run: float = 1.0
    guided: bool | None = None
    residency: Residency | None = None


@dataclass(frozen=True)
class Outlook:
    """One target and one recipe: memory for the longest plan, time for a usual one.

    `prediction` is None where the device's rates aren't known, or (then `why_not` says which) it lacks a number format.
    `held`: edits of this bundle that were measured in this place, against a prediction of just those.
    """

    place: Place
    recipe: str
    estimate: Estimate
    prediction: Prediction | None
    why_not: str | None = None
    held: Held | None = None


def look(bundle: Bundle, place: Place, wish: Wish, recipe: str | None = None, *, strict: bool = True) -> Outlook:
    """Memory and time of an edit in one place.

    Args:
        bundle: or a model's outline.
        recipe: another than the bundle's.
        strict: whether a number format that the device lacks is an error; else it is noted.

    Raises:
        BundleError: the bundle was exported before activations or work were recorded.
        InputError: the size doesn't fit the bundle, its recipe can't be told, or (strict) the device can't run it.
    """
    held = bundle_in(bundle, recipe)
    guided = held.manifest.schedule.guidance_scale != 1 if wish.guided is None else wish.guided
    longest = PLAN_TOKENS if wish.plan_tokens is None else wish.plan_tokens
    found = estimate(held, place.device, size=wish.size, plan_tokens=longest, guided=guided, residency=wish.residency)
    if place.rates is None:
        return Outlook(place, held.manifest.recipe, found, None)
    usual = USUAL_PLAN if wish.plan_tokens is None else wish.plan_tokens
    setting = replace(found.setting, plan_tokens=usual)
    try:
        time = predict(held, place.rates, setting, steps=wish.steps, tokens_per_run=wish.tokens_per_run)
    except InputError as error:
        if strict:
            raise
        return Outlook(place, held.manifest.recipe, found, None, str(error))
    edit = place.edit if place.edit is not None and place.edit.digest == held.digest else None
    check = None if edit is None else hold(predict_measured(held, place.rates, edit), edit)
    return Outlook(place, held.manifest.recipe, found, time, held=check)


def compare(
    bundle: Bundle,
    places: Sequence[Place],
    recipes: Sequence[str],
    wish: Wish,
    suits: Callable[[Place], str | None],
) -> list[Outlook]:
    """Every place with every recipe, or (no recipes) with the one that suits it."""
    found = []
    for place in places:
        asked: Sequence[str | None] = recipes or [suits(place)]
        found += [look(bundle, place, wish, recipe, strict=False) for recipe in asked]
    return found
