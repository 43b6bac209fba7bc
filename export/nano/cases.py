"""Training and test cases: a picture, an instruction, the plan and the true result, fixed by (stream, seed, index)."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dimrt.export.nano.edits import EDIT_TYPES, Change, change_scene, changes_enough
from dimrt.export.nano.filters import FILTERS, apply_filter
from dimrt.export.nano.photos import photo_crop, texture
from dimrt.export.nano.plans import Plan
from dimrt.export.nano.references import USUAL, Kinds
from dimrt.export.nano.scenes import Rng, Scene, pick, render, sample_scene
from dimrt.export.nano.wordings import polite, word_look

PHOTO_LAYOUT = "a photo"
Stream = Literal["training", "held-out"]
_STREAMS: dict[Stream, int] = {"training": 1, "held-out": 2}


@dataclass(frozen=True)
class Case:
    """One edit. `kind` is one of `EDIT_TYPES` or `many`; `detail` says more (the filter, `colour` or `size`, …).
    `before` and `scene` are what source and result show, where they are scenes."""

    kind: str
    detail: str
    origin: Literal["scene", "photo", "texture"]
    plan: Plan
    source: NDArray[np.uint8]
    before: Scene | None = None
    scene: Scene | None = None

    @property
    def instruction(self) -> str:
        return self.plan.instruction

    @cached_property
    def target(self) -> NDArray[np.uint8]:
        """The true result, uint8 [128,128,3]."""
        if self.kind == "style":
            return apply_filter(self.detail, self.source)
        assert self.scene is not None
        return render(self.scene)


@dataclass(frozen=True)
class Mixture:
    """How often what is drawn. `kinds` weighs the scene edits, `items` the scenes of 1, 2, 3, … items, `references` how
    instructions refer to an item."""

    photos: float = 0.25
    textures: float = 0.15
    kinds: tuple[tuple[str, float], ...] = tuple((kind, 1.0) for kind in EDIT_TYPES)
    items: tuple[float, float, float, float] = (0.4, 0.35, 0.15, 0.1)
    references: Kinds = USUAL


def generator(stream: Stream, seed: int, index: int) -> Rng:
    """The random numbers of one case. Training and held-out streams share none."""
    return np.random.default_rng((_STREAMS[stream], seed, index))


def draw_case(stream: Stream, seed: int, index: int, mixture: Mixture | None = None) -> Case:
    """The case number `index` of a seed: always the same for the same arguments."""
    mixture = mixture or Mixture()
    rng = generator(stream, seed, index)
    chance = rng.random()
    if chance < mixture.photos:
        return style_case(rng, photo_crop(rng), "photo")
    if chance < mixture.photos + mixture.textures:
        return style_case(rng, texture(rng), "texture")
    weights = np.array([weight for _, weight in mixture.kinds])
    kind = mixture.kinds[int(rng.choice(len(weights), p=weights / weights.sum()))][0]
    return scene_case(rng, kind, mixture.items, mixture.references)


def style_case(
    rng: Rng, source: NDArray[np.uint8], origin: Literal["photo", "texture"], *, name: str = "", held_out: bool = False
) -> Case:
    """A photographic edit of a picture; `name` picks the filter, `held_out` takes words that training never draws."""
    name = name or pick(rng, FILTERS)
    plan = style_plan(word_look(rng, name, held_out=held_out), name, PHOTO_LAYOUT)
    return Case("style", name, origin, plan, source)


def style_plan(instruction: str, name: str, layout: str) -> Plan:
    """The plan of a photographic edit."""
    return Plan(instruction, layout, f"style {name}", "whole picture", f"{name} picture")


def scene_case(rng: Rng, kind: str, items: tuple[float, ...], references: Kinds = USUAL) -> Case:
    """An edit of type `kind` on a fresh scene.

    `items` weighs the number of items, from one up; `references` how the instruction refers to an item.
    """
    weights = np.array(items) / sum(items)
    while True:
        scene = sample_scene(rng, 1 + int(rng.choice(len(weights), p=weights)))
        source = render(scene)
        if kind == "style":
            name = pick(rng, FILTERS)
            return Case(kind, name, "scene", style_plan(word_look(rng, name), name, scene.layout()), source, scene)
        change = change_scene(rng, scene, kind, references)
        if change is not None:
            case = Case(kind, change.detail, "scene", _scene_plan(rng, scene, change), source, scene, change.scene)
            if changes_enough(source, case.target):
                return case


def _scene_plan(rng: Rng, scene: Scene, change: Change) -> Plan:
    instruction = polite(rng, change.instruction)
    return Plan(instruction, scene.layout(), change.edit, change.area, change.scene.layout())


def with_instruction(case: Case, instruction: str) -> Case:
    """The same case under other words."""
    return replace(case, plan=replace(case.plan, instruction=instruction))
