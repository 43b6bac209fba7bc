"""Held-out evaluation: fresh cases from any seed run through an editor under several conditions, judged against the
true results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from dimrt.export.nano.edits import EDIT_TYPES
from dimrt.export.nano.filters import FILTERS
from dimrt.export.nano.oracle import decibels, judge
from dimrt.export.nano.plans import STYLES, Plan, parse_plan
from dimrt.export.nano.shares import Difference, Share, difference_of, share_of
from dimrt.export.nano.trials import (
    REFERRING,
    Answer,
    Condition,
    EditFunction,
    Trial,
    check_styles,
    direct_trials,
    photo_trials,
    reasoning_trials,
    usual_trials,
)

SLOTS = ("layout", "edit", "area", "result")
SETS = ("usual", "direct", "reasoning")


@dataclass(frozen=True)
class Amount:
    """How many cases to draw: `usual` scenes for each of the nine edit types; `reasoning` scenes that must be thought
    through, and as many direct ones, for each edit type that refers to an item; `photos` for each filter."""

    usual: int = 20
    reasoning: int = 0
    photos: int = 0

    @property
    def total(self) -> int:
        return self.usual * len(EDIT_TYPES) + 2 * self.reasoning * len(REFERRING) + self.photos * len(FILTERS)


@dataclass(frozen=True)
class SceneRow:
    """Some scenes: the edit was done, the rest preserved, both. `slots` are the sections of the designer's plan that
    were exactly right, `right` all of them at once, both over the sections that the style has (empty and None where the
    designer wrote none). `tokens` and the seconds are means; the plan's seconds are in those of the edit."""

    n: int
    done: Share
    preserved: Share
    both: Share
    slots: dict[str, Share]
    right: Share | None
    tokens: float
    plan_seconds: float
    seconds: float


@dataclass(frozen=True)
class PhotoRow:
    """One photographic edit at full size, means over `n` photographs, in dB against the true edit.

    `source` is how near the unedited photo already was, `lowest` the worst photograph. `plan` is the share of plans
    that name the right edit, `plan_unseen` the same over wordings that training never used.
    """

    n: int
    source: float
    output: float
    lowest: float
    plan: float
    plan_unseen: float


@dataclass(frozen=True)
class Part:
    """One condition on one set of scenes: all of them, by edit type, and by how the instruction refers to the item."""

    all: SceneRow
    edits: dict[str, SceneRow]
    references: dict[str, SceneRow]


@dataclass(frozen=True)
class ConditionReport:
    """One condition on everything; `sets` holds those of `SETS` that were drawn."""

    condition: Condition
    sets: dict[str, Part]
    photos: dict[str, PhotoRow]


@dataclass(frozen=True)
class Report:
    """All conditions by name. For each set: whether each case succeeded (done and the rest preserved) under each
    condition, in the same order, and the paired difference of every later condition to the first."""

    seed: int
    conditions: dict[str, ConditionReport]
    outcomes: dict[str, dict[str, list[bool]]]
    differences: dict[str, dict[str, Difference]]


@dataclass(frozen=True)
class _Outcome:
    """One trial judged."""

    trial: Trial
    answer: Answer
    done: bool
    preserved: bool
    slots: dict[str, bool]

    @property
    def both(self) -> bool:
        return self.done and self.preserved


def evaluate(
    edit: EditFunction,
    seed: int,
    amount: Amount,
    conditions: Sequence[Condition] = (Condition(),),
    *,
    sets: Sequence[str] = SETS,
    photos: Path | None = None,
    on_case: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Judge an editor.

    Args:
        edit: the editor.
        seed: any number; each gives other cases, none of them used in training.
        amount: how many cases of each set.
        conditions: each runs every case, so that they are compared case by case.
        sets: which of `SETS` to draw.
        photos: folder of held-out photographs (.jpg), needed when `amount` asks for some.
        on_case: told how many edits are done, of how many.

    Raises:
        InputError: no photographs, or a style of plan that there is not.
    """
    check_styles(tuple(conditions))
    draw = {"usual": usual_trials, "direct": direct_trials, "reasoning": reasoning_trials}
    counts = {"usual": amount.usual, "direct": amount.reasoning, "reasoning": amount.reasoning}
    drawn = {name: list(draw[name](seed, counts[name])) for name in sets}
    pictures = list(photo_trials(photos, seed, amount.photos)) if photos is not None and amount.photos else []
    done, total = 0, (sum(map(len, drawn.values())) + len(pictures)) * len(conditions)
    reports: dict[str, ConditionReport] = {}
    both: dict[str, dict[str, list[bool]]] = {name: {} for name in sets}
    for condition in conditions:
        parts: dict[str, Part] = {}
        for name in sets:
            judged = []
            for trial in drawn[name]:
                judged.append(_run(edit, trial, condition))
                done += 1
                on_case(done, total)
            if judged:
                parts[name] = _part(judged)
                both[name][condition.name] = [outcome.both for outcome in judged]
        rows = []
        for trial in pictures:
            rows.append((trial, *_levels(edit, trial, condition)))
            done += 1
            on_case(done, total)
        reports[condition.name] = ConditionReport(condition, parts, _photo_rows(rows))
    outcomes = {name: shares for name, shares in both.items() if shares}
    return Report(seed, reports, outcomes, {name: _differences(shares) for name, shares in outcomes.items()})


def _run(edit: EditFunction, trial: Trial, condition: Condition) -> _Outcome:
    case = trial.case
    answer = edit(case, condition)
    verdict = judge(case.source, case.target, answer.image)
    slots = right_slots(answer.plan, case.plan, condition.style) if condition.planner == "designer" else {}
    return _Outcome(trial, answer, verdict.done, verdict.preserved, slots)


def right_slots(text: str, truth: Plan, style: str) -> dict[str, bool]:
    """Which sections of the style, but for the instruction itself, a written plan has exactly right."""
    written = parse_plan(text, style)
    names = [SLOTS[index - 1] for index in STYLES[style] if index > 0]
    return {name: written is not None and getattr(written, name) == getattr(truth, name) for name in names}


def _part(outcomes: Sequence[_Outcome]) -> Part:
    def rows(key: Callable[[_Outcome], str]) -> dict[str, SceneRow]:
        names = dict.fromkeys(map(key, outcomes))
        return {name: _row([outcome for outcome in outcomes if key(outcome) == name]) for name in names}

    return Part(_row(outcomes), rows(lambda outcome: outcome.trial.case.kind), rows(lambda o: o.trial.reference))


def _row(outcomes: Sequence[_Outcome]) -> SceneRow:
    slots = {name: share_of([outcome.slots[name] for outcome in outcomes]) for name in outcomes[0].slots}
    return SceneRow(
        n=len(outcomes),
        done=share_of([outcome.done for outcome in outcomes]),
        preserved=share_of([outcome.preserved for outcome in outcomes]),
        both=share_of([outcome.both for outcome in outcomes]),
        slots=slots,
        right=share_of([all(outcome.slots.values()) for outcome in outcomes]) if slots else None,
        tokens=fmean(outcome.answer.tokens for outcome in outcomes),
        plan_seconds=fmean(outcome.answer.seconds.get("plan", 0.0) for outcome in outcomes),
        seconds=fmean(sum(outcome.answer.seconds.values()) for outcome in outcomes),
    )


def _differences(both: dict[str, list[bool]]) -> dict[str, Difference]:
    (_, base), *others = both.items()
    return {name: difference_of(outcomes, base) for name, outcomes in others}


def _levels(edit: EditFunction, trial: Trial, condition: Condition) -> tuple[float, float, bool]:
    """Decibels of the source and of the edit, and whether the plan names the right edit."""
    case = trial.case
    answer, target = edit(case, condition), case.target
    written = parse_plan(answer.plan, condition.style)
    named = written is not None and written.edit == case.plan.edit
    return decibels(case.source, target), decibels(answer.image, target), named


def _photo_rows(rows: Sequence[tuple[Trial, float, float, bool]]) -> dict[str, PhotoRow]:
    found: dict[str, PhotoRow] = {}
    for name in dict.fromkeys(trial.case.detail for trial, *_ in rows):
        own = [row for row in rows if row[0].case.detail == name]
        unseen = [named for trial, _, _, named in own if trial.reference == "unseen"]
        sources, outputs, names = ([row[column] for row in own] for column in (1, 2, 3))
        found[name] = PhotoRow(
            n=len(own),
            source=fmean(sources),
            output=fmean(outputs),
            lowest=min(outputs),
            plan=fmean(names),
            plan_unseen=fmean(unseen),
        )
    return found
