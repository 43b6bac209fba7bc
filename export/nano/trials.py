"""What an evaluation runs: held-out cases by what they ask for, and the conditions under which each is edited."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dimrt.editor import Editor
from dimrt.errors import InputError
from dimrt.events import Event, Progress
from dimrt.export.nano.cases import PHOTO_LAYOUT, Case, generator, scene_case, style_plan
from dimrt.export.nano.edits import EDIT_TYPES, NEIGHBOURS
from dimrt.export.nano.filters import FILTERS, apply_filter
from dimrt.export.nano.photos import read_rgb
from dimrt.export.nano.plans import STYLES, Plan
from dimrt.export.nano.references import DIRECT, ONLY_REASONING, REASONING, Kinds
from dimrt.export.nano.wordings import word_look
from dimrt.options import EditOptions
from dimrt.prompt import Prompts

Picture = NDArray[np.uint8]
Planner = Literal["none", "designer", "oracle"]
ITEM_COUNTS = (0.4, 0.35, 0.15, 0.1)
SEVERAL = (0.0, 1.0, 1.0, 1.0)
"""Weights of scenes of 1, 2, 3 and 4 items where an item has to be told from others."""
REFERRING = ("add", "adjust", "extract", "replace", "remove", "compose", "action")
"""Edit types whose instruction refers to an item."""
_SINGLE = ("adjust", "extract", "replace", "remove", "action")
_STREAM = {"usual": 0, "reasoning": 2_000_000, "direct": 4_000_000}


@dataclass(frozen=True)
class Condition:
    """What the painter is conditioned on and how it paints.

    Attributes:
        planner: who plans: "none" hands the bare instruction to the painter, "oracle" the true plan.
        style: of the designer's or the oracle's plan.
        steps, guidance_scale: None for the bundle's own.
        schedule: of a distilled painter: its own few steps or its teacher's.
    """

    planner: Planner = "designer"
    style: str = "full"
    steps: int | None = None
    guidance_scale: float | None = None
    schedule: Literal["auto", "student", "teacher"] = "auto"

    @property
    def name(self) -> str:
        """For tables: "designer full", "none, 2 steps, no guidance"."""
        parts = ["no plan" if self.planner == "none" else f"{self.planner} {self.style}"]
        if self.schedule != "auto":
            parts.append(f"{self.schedule}'s steps")
        if self.steps is not None:
            parts.append(f"{self.steps} step" + "s" * (self.steps > 1))
        if self.guidance_scale is not None:
            parts.append("no guidance" if self.guidance_scale == 1 else f"guidance {self.guidance_scale:g}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Answer:
    """One edit's outcome: the picture (of the source's size), the plan that the painter read ("" without one), its
    tokens, and the seconds of each phase."""

    image: Picture
    plan: str
    tokens: int
    seconds: dict[str, float]


EditFunction = Callable[[Case, Condition], Answer]
"""An editor under test. It reads the case's source and instruction, and the true plan only for the oracle's."""


@dataclass(frozen=True)
class Trial:
    """A case and how its instruction refers to what it edits: a reference's kind, "neighbour" or "composed"."""

    case: Case
    reference: str


def edit_with(editor: Editor, seed: int | None = None) -> EditFunction:
    """An editor as an `EditFunction`; `seed` is of the start noise."""
    prompts = Prompts(editor.bundle.tokenizer_path, editor.bundle.manifest.designer)

    def edit(case: Case, condition: Condition) -> Answer:
        true_plan = case.plan.text(condition.style) if condition.planner == "oracle" else None
        written = 0

        def count_tokens(event: Event) -> None:
            nonlocal written
            if isinstance(event, Progress) and event.phase == "plan":
                written = event.done

        options = EditOptions(
            plan=true_plan,
            plan_style=condition.style if condition.planner == "designer" else None,
            think=condition.planner == "designer",
            steps=condition.steps,
            guidance_scale=condition.guidance_scale,
            schedule=condition.schedule,
            seed=seed,
        )
        result = editor.edit(case.source, case.instruction, options, on_event=count_tokens)
        plan = result.blueprint.text if result.blueprint else ""
        tokens = len(prompts.encode(plan)) if true_plan is not None else written
        return Answer(result.image, plan, tokens, result.timings)

    return edit


def check_styles(conditions: tuple[Condition, ...]) -> None:
    """Refuse a style of plan that nano's scenes have no true plan in.

    Raises:
        InputError: naming the styles there are.
    """
    for condition in conditions:
        if condition.style not in STYLES:
            raise InputError(f"there are no {condition.style!r} plans of nano's scenes; choose of {', '.join(STYLES)}")


def usual_trials(seed: int, cases: int) -> Iterator[Trial]:
    """`cases` scenes of each of the nine edit types, referring to items as in training."""
    for number, kind in enumerate(EDIT_TYPES):
        for index in range(cases):
            yield Trial(scene_case(generator("held-out", seed, number * 100_000 + index), kind, ITEM_COUNTS), "usual")


def reasoning_trials(seed: int, cases: int) -> Iterator[Trial]:
    """`cases` scenes of two to four items for each type that refers to one, so that the instruction must be thought
    through: the kinds of `REASONING` in turn, for "add" the neighbour's side, for "compose" any of them."""
    for number, kind in enumerate(REFERRING):
        for index in range(cases):
            rng = generator("held-out", seed, _STREAM["reasoning"] + number * 100_000 + index)
            name, kinds = _reasoning(kind, index + number)
            yield Trial(scene_case(rng, kind, SEVERAL, kinds), name)


def _reasoning(kind: str, index: int) -> tuple[str, Kinds]:
    if kind in _SINGLE:
        name = REASONING[index % len(REASONING)]
        return name, ((name, 1.0),)
    return ("neighbour" if kind == "add" else "composed"), ONLY_REASONING


def direct_trials(seed: int, cases: int) -> Iterator[Trial]:
    """As `reasoning_trials`, the items called by name or place: the instruction alone says all."""
    kinds: Kinds = tuple((name, 1.0) for name in DIRECT)
    for number, kind in enumerate(REFERRING):
        for index in range(cases):
            for attempt in itertools.count():
                place = _STREAM["direct"] + number * 100_000 + index + attempt * 10_000_000
                case = scene_case(generator("held-out", seed, place), kind, SEVERAL, kinds)
                if not any(f" {words} the " in case.instruction for words in NEIGHBOURS):
                    yield Trial(case, "direct")
                    break


def photo_cases(folder: Path, seed: int, count: int) -> Iterator[tuple[Picture, Picture, Plan, bool]]:
    """Held-out photographs under each filter: source and true result at full size, the plan, and whether the wording
    is one that training never used (every second case).

    Raises:
        InputError: the folder holds no JPEG.
    """
    files = sorted(folder.glob("*.jpg"))
    if not files:
        raise InputError(f"{folder} holds no .jpg photographs; give a folder of photographs with --photos")
    for number, name in enumerate(FILTERS):
        for index in range(count):
            rng = generator("held-out", seed, 1_000_000 + number * 1000 + index)
            source = _large_crop(rng, read_rgb(files[index % len(files)]))
            unseen = index // len(files) % 2 == 0
            plan = style_plan(word_look(rng, name, held_out=unseen), name, PHOTO_LAYOUT)
            yield source, apply_filter(name, source), plan, unseen


def photo_trials(folder: Path, seed: int, count: int) -> Iterator[Trial]:
    """`photo_cases` as trials; the reference says whether training used such words ("seen" or "unseen")."""
    for source, _, plan, unseen in photo_cases(folder, seed, count):
        name = plan.edit.removeprefix("style ")
        yield Trial(Case("style", name, "photo", plan, source), "unseen" if unseen else "seen")


def _large_crop(rng: np.random.Generator, photo: Picture) -> Picture:
    """A random part of a photograph, at least 70 % of each side."""
    height, width = (int(side * rng.uniform(0.7, 1.0)) for side in photo.shape[:2])
    top, left = (int(rng.integers(full - part + 1)) for full, part in zip(photo.shape, (height, width), strict=False))
    return np.ascontiguousarray(photo[top : top + height, left : left + width])
