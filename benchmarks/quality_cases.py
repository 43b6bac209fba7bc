"""Held-out cases of the nano model, edited by any editor, and how two editors' outcomes compare."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from metrics import Picture, compare_plans, decibels, distance, squared_error, summary

from dimrt import EditOptions, Editor
from dimrt.blueprint import Blueprint
from dimrt.export.nano.cases import generator, scene_case
from dimrt.export.nano.edits import EDIT_TYPES
from dimrt.export.nano.oracle import judge
from dimrt.export.nano.trials import ITEM_COUNTS, photo_cases

PHOTOS = Path(__file__).parent / "photos"
PHOTO = "photo"


@dataclass(frozen=True)
class Case:
    """`kind` is an edit type on a scene, or `PHOTO`; `target` is the true result."""

    kind: str
    source: Picture
    target: Picture
    instruction: str


@dataclass(frozen=True)
class Outcome:
    """One edit: the painter's picture, the delivered one, and the plan."""

    painted: Picture
    image: Picture
    plan: Blueprint | None

    @property
    def text(self) -> str:
        return self.plan.text if self.plan else ""


def painted(outcome: Outcome) -> Picture:
    """The picture at model resolution."""
    return outcome.painted


def image(outcome: Outcome) -> Picture:
    """The picture at full size."""
    return outcome.image


def draw_cases(scenes: int, photos: int, seed: int) -> list[Case]:
    """Held-out cases: `scenes` of each edit type, and `photos` photographs under each filter."""
    drawn = []
    for number, kind in enumerate(EDIT_TYPES):
        for index in range(scenes):
            case = scene_case(generator("held-out", seed, number * 100_000 + index), kind, ITEM_COUNTS)
            drawn.append(Case(kind, case.source, case.target, case.instruction))
    for source, target, plan, _ in photo_cases(PHOTOS, seed, photos):
        drawn.append(Case(PHOTO, source, target, plan.instruction))
    return drawn


def part_of(cases: Sequence[Case], scenes: int, photos: int) -> list[int]:
    """Indices of the first `scenes` cases of each edit type and every so many photographs, `photos` in all."""
    indices = [index for kind in EDIT_TYPES for index in _of_kind(cases, kind)[:scenes]]
    pictures = _of_kind(cases, PHOTO)
    return indices + pictures[:: -(-len(pictures) // photos)] if photos else indices


def _of_kind(cases: Sequence[Case], kind: str) -> list[int]:
    return [index for index, case in enumerate(cases) if case.kind == kind]


def edit(
    editor: Editor, case: Case, seed: int, composite: Literal["auto", "none"], like: Outcome | None = None
) -> Outcome:
    """One edit with the editor's own plan, or with the plan of `like`."""
    options = EditOptions(seed=seed, composite=composite)
    if like is not None:
        options = EditOptions(seed=seed, composite=composite, plan=like.plan, think=False)
    result = editor.edit(case.source, case.instruction, options)
    return Outcome(result.painted, result.image, result.blueprint)


def compare(
    editor: Editor,
    cases: Sequence[Case],
    base: Sequence[Outcome],
    seed: int,
    composite: Literal["auto", "none"],
    writes: bool = True,
) -> tuple[list[Outcome], list[Outcome]]:
    """Outcomes with the own plan and with the base's. Equal plans give equal pictures, to the bit: painted once.

    Args:
        writes: False when the editor's own plan is known to be the base's.
    """
    own, given = [], []
    for case, reference in zip(cases, base, strict=True):
        outcome = edit(editor, case, seed, composite, None if writes else reference)
        own.append(outcome)
        same = not writes or outcome.text == reference.text
        given.append(outcome if same else edit(editor, case, seed, composite, reference))
    return own, given


def pictures(
    given: Sequence[Outcome], own: Sequence[Outcome], base: Sequence[Outcome], of: Callable[[Outcome], Picture]
) -> dict[str, Any]:
    """Summaries of the distances of one kind of picture; an outcome that serves both ways is measured once."""
    distances = [distance(of(outcome), of(reference)) for outcome, reference in zip(given, base, strict=True)]
    owns = [
        known if mine is its else distance(of(mine), of(reference))
        for known, its, mine, reference in zip(distances, given, own, base, strict=True)
    ]
    return {"given_plan": summary(distances), "own_plan": summary(owns)}


def plans(own: Sequence[Outcome], base: Sequence[Outcome]) -> dict[str, Any]:
    """Agreement of the plans."""
    return compare_plans((a.plan, b.plan) for a, b in zip(own, base, strict=True))


def success(
    cases: Sequence[Case], own: Sequence[Outcome], base: Sequence[Outcome], of: Callable[[Outcome], Picture]
) -> dict[str, Any]:
    """The oracle on the scenes: percent of edits done with the rest preserved, against the base on the same cases.

    `lost` and `gained` count the cases on which the two differ: with few of either, a difference in percent is luck.
    """
    verdicts = [
        (case.kind, judge(case.source, case.target, of(mine)).both, judge(case.source, case.target, of(its)).both)
        for case, mine, its in zip(cases, own, base, strict=True)
        if case.kind != PHOTO
    ]
    mine, its = (np.array(column) for column in list(zip(*verdicts, strict=True))[1:])
    return {
        "scenes": len(verdicts),
        "percent": round(100 * float(mine.mean()), 2),
        "fp32_percent": round(100 * float(its.mean()), 2),
        "difference_points": round(100 * float(mine.mean() - its.mean()), 2),
        "lost": int((its & ~mine).sum()),
        "gained": int((mine & ~its).sum()),
        "by_edit_percent": {
            kind: [round(100 * float(np.mean([row[side] for row in verdicts if row[0] == kind])), 1) for side in (1, 2)]
            for kind in EDIT_TYPES
        },
    }


def photo_truth(cases: Sequence[Case], own: Sequence[Outcome], base: Sequence[Outcome]) -> dict[str, float]:
    """Mean decibels of the full-size photographs against the true edit, of this bundle and of the base."""
    chosen = _of_kind(cases, PHOTO)
    rows = [[decibels(squared_error(o[i].image, cases[i].target)) for i in chosen] for o in (own, base)]
    return {
        "photos": len(chosen),
        "db": round(float(np.mean(rows[0])), 2),
        "fp32_db": round(float(np.mean(rows[1])), 2),
    }
