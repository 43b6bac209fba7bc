"""Held-out evaluation: fresh cases from any seed run through an editor and judged against the true results."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dimrt.errors import InputError
from dimrt.export.nano.cases import PHOTO_LAYOUT, Case, generator, scene_case, style_plan
from dimrt.export.nano.edits import EDIT_TYPES
from dimrt.export.nano.filters import FILTERS, apply_filter
from dimrt.export.nano.oracle import decibels, judge
from dimrt.export.nano.photos import read_rgb
from dimrt.export.nano.plans import Plan, parse_plan
from dimrt.export.nano.wordings import word_look

Picture = NDArray[np.uint8]
EditFunction = Callable[[Picture, str], tuple[Picture, str]]
"""An editor under test: a picture and an instruction in, the edited picture (same size) and the plan's text out."""

ITEM_COUNTS = (0.4, 0.35, 0.15, 0.1)
SLOTS = ("layout", "edit", "area", "result")


@dataclass(frozen=True)
class SceneRow:
    """One edit type: shares (0 to 1) of `n` cases. `slots` are the plan's sections that were exactly right."""

    n: int
    done: float
    preserved: float
    both: float
    slots: dict[str, float]


@dataclass(frozen=True)
class PhotoRow:
    """One photographic edit at full size, means over `n` photographs, in dB against the true edit.

    `source` is how near the unedited photo already was. `plan` is the share of plans that name the right edit,
    `plan_unseen` the same over wordings that training never used.
    """

    n: int
    source: float
    output: float
    plan: float
    plan_unseen: float


@dataclass(frozen=True)
class Report:
    seed: int
    edits: dict[str, SceneRow]
    photos: dict[str, PhotoRow]


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


def _large_crop(rng: np.random.Generator, photo: Picture) -> Picture:
    """A random part of a photograph, at least 70 % of each side."""
    height, width = (int(side * rng.uniform(0.7, 1.0)) for side in photo.shape[:2])
    top, left = (int(rng.integers(full - part + 1)) for full, part in zip(photo.shape, (height, width), strict=False))
    return np.ascontiguousarray(photo[top : top + height, left : left + width])


def evaluate(
    edit: EditFunction,
    seed: int,
    *,
    cases: int,
    photos: Path,
    photo_count: int,
    on_case: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Judge an editor.

    Args:
        edit: the editor.
        seed: any number; each gives other cases, none of them used in training.
        cases: scenes for each edit type.
        photos: folder of held-out photographs (.jpg).
        photo_count: photographs for each photographic edit.
        on_case: told how many cases are done, of how many.
    """
    total = cases * len(EDIT_TYPES) + photo_count * len(FILTERS)
    done = 0
    edits: dict[str, SceneRow] = {}
    for number, kind in enumerate(EDIT_TYPES):
        outcomes = []
        for index in range(cases):
            case = scene_case(generator("held-out", seed, number * 100_000 + index), kind, ITEM_COUNTS)
            outcomes.append(_scene_outcome(edit, case))
            done += 1
            on_case(done, total)
        edits[kind] = _scene_row(outcomes)
    rows: dict[str, list[tuple[float, float, bool, bool]]] = {name: [] for name in FILTERS}
    for source, target, plan, unseen in photo_cases(photos, seed, photo_count):
        output, text = edit(source, plan.instruction)
        written = parse_plan(text)
        named = written is not None and written.edit == plan.edit
        rows[plan.edit.removeprefix("style ")].append(
            (decibels(source, target), decibels(output, target), named, unseen)
        )
        done += 1
        on_case(done, total)
    return Report(seed, edits, {name: _photo_row(row) for name, row in rows.items() if row})


def _scene_outcome(edit: EditFunction, case: Case) -> dict[str, bool]:
    output, text = edit(case.source, case.instruction)
    verdict = judge(case.source, case.target, output)
    written = parse_plan(text)
    slots = {name: written is not None and getattr(written, name) == getattr(case.plan, name) for name in SLOTS}
    return {"done": verdict.done, "preserved": verdict.preserved, "both": verdict.both, **slots}


def _scene_row(outcomes: list[dict[str, bool]]) -> SceneRow:
    shares = {name: float(np.mean([outcome[name] for outcome in outcomes])) for name in outcomes[0]}
    slots = {name: shares[name] for name in SLOTS}
    return SceneRow(len(outcomes), shares["done"], shares["preserved"], shares["both"], slots)


def _photo_row(outcomes: list[tuple[float, float, bool, bool]]) -> PhotoRow:
    source, output, plan, _ = (float(np.mean(column)) for column in zip(*outcomes, strict=True))
    unseen = [named for _, _, named, is_unseen in outcomes if is_unseen]
    return PhotoRow(len(outcomes), source, output, plan, float(np.mean(unseen)))


def table(report: Report) -> str:
    """The report as two plain-text tables; shares in percent."""
    lines = [
        f"seed {report.seed}",
        "",
        f"{'edit':<12}{'n':>4}{'done':>7}{'kept':>7}{'both':>7}   plan: " + " ".join(SLOTS),
    ]
    for kind, row in report.edits.items():
        slots = " ".join(f"{share:>{max(len(name), 4)}.0%}" for name, share in row.slots.items())
        lines.append(f"{kind:<12}{row.n:>4}{row.done:>7.0%}{row.preserved:>7.0%}{row.both:>7.0%}         {slots}")
    lines += ["", f"{'photo edit':<12}{'n':>4}{'source':>10}{'edited':>10}{'plan':>7}{'unseen words':>14}"]
    for name, photo in report.photos.items():
        levels = f"{photo.source:>7.1f} dB{photo.output:>7.1f} dB"
        lines.append(f"{name:<12}{photo.n:>4}{levels}{photo.plan:>7.0%}{photo.plan_unseen:>14.0%}")
    return "\n".join(lines)
