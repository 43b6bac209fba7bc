"""A contact sheet: source, true result and output side by side, with the words and the verdict, to look at."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dimrt.export.nano.oracle import decibels, judge
from dimrt.export.nano.shapes import SIDE
from dimrt.export.nano.trials import (
    Condition,
    EditFunction,
    Picture,
    Trial,
    check_styles,
    photo_trials,
    reasoning_trials,
    usual_trials,
)

GAP, MARGIN, LINE, LABEL = 4, 12, 15, 96
"""Pixels between pictures, around a case, of a line of text, and of the edit type's name."""
TEXT = 12
LINES = 3
GOOD, BAD, INK, FAINT = "#1d7a35", "#b3261e", "black", "#777777"
PHOTO_DECIBELS = 28.0
"""At least so near the true edit counts as reached for a photograph."""


@dataclass(frozen=True)
class Shown:
    """One case: its pictures (uint8 [h,w,3]: source, truth, output), its words, and the verdict on it."""

    row: str
    pictures: tuple[Picture, Picture, Picture]
    words: str
    verdict: str
    good: bool


def trials_of(seed: int, cases: int, reasoning: int, photos: Path, photo_cases: int) -> list[Trial]:
    """The cases of a sheet, numbers as for an evaluation: so many for each edit type and each photographic edit."""
    drawn = [*usual_trials(seed, cases), *reasoning_trials(seed, reasoning)]
    return drawn + (list(photo_trials(photos, seed, photo_cases)) if photo_cases else [])


def run(
    edit: EditFunction,
    trials: list[Trial],
    condition: Condition,
    on_case: Callable[[int, int], None] = lambda done, total: None,
) -> list[Shown]:
    """Edit and judge the cases of a sheet.

    Raises:
        InputError: a style of plan that there is not.
    """
    check_styles((condition,))
    shown = []
    for number, trial in enumerate(trials, 1):
        case = trial.case
        output = edit(case, condition).image
        verdict, good = _verdict(trial, output)
        row = case.detail if case.origin == "photo" else case.kind
        if trial.reference not in ("usual", "seen", "unseen"):
            row, verdict = f"{row}*", f"{trial.reference}: {verdict}"
        shown.append(Shown(row, (case.source, case.target, output), case.instruction, verdict, good))
        on_case(number, len(trials))
    return shown


def _verdict(trial: Trial, output: Picture) -> tuple[str, bool]:
    case = trial.case
    if case.origin == "photo":
        level, before = decibels(output, case.target), decibels(case.source, case.target)
        return f"{level:.1f} dB (unedited {before:.1f})", bool(level >= PHOTO_DECIBELS)
    verdict = judge(case.source, case.target, output)
    words = f"{'done' if verdict.done else 'not done'}, rest {'kept' if verdict.preserved else 'not kept'}"
    return words, verdict.both


def draw(shown: Iterable[Shown]) -> Picture:
    """The sheet, uint8 [H, W, 3]: a row for each edit type; a star marks instructions that must be thought through."""
    rows: dict[str, list[Shown]] = {}
    for case in shown:
        rows.setdefault(case.row, []).append(case)
    width, height = 3 * SIDE + 2 * GAP + MARGIN, SIDE + (LINES + 1) * LINE + MARGIN
    across = max((len(cases) for cases in rows.values()), default=0)
    board = Image.new("RGB", (LABEL + across * width + MARGIN, 2 * LINE + len(rows) * height + MARGIN), "white")
    pen, font = ImageDraw.Draw(board), ImageFont.load_default(TEXT)
    for column in range(across):
        for index, name in enumerate(("source", "truth", "output")):
            pen.text((LABEL + column * width + index * (SIDE + GAP), LINE // 2), name, FAINT, font)
    for number, (name, cases) in enumerate(rows.items()):
        top = 2 * LINE + number * height
        pen.text((MARGIN, top + SIDE // 2), name, INK, font)
        for column, case in enumerate(cases):
            _cell(board, pen, font, case, LABEL + column * width, top)
    return np.asarray(board)


def _cell(
    board: Image.Image, pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, case: Shown, left: int, top: int
) -> None:
    """Three pictures, the instruction below them, and the verdict in green or red."""
    for index, picture in enumerate(case.pictures):
        image = Image.fromarray(picture)
        if image.size != (SIDE, SIDE):
            image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        board.paste(image, (left + index * (SIDE + GAP), top + (SIDE - image.height) // 2))
    lines = _wrapped(case.words, 3 * SIDE, font)
    for number, line in enumerate(lines):
        pen.text((left, top + SIDE + 3 + number * LINE), line, INK, font)
    pen.text((left, top + SIDE + 3 + len(lines) * LINE), case.verdict, GOOD if case.good else BAD, font)


def _wrapped(words: str, width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """At most `LINES` lines no wider than `width` pixels; what doesn't fit is cut."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        elif len(lines) < LINES:
            lines.append(word)
        else:
            lines[-1] += " …"
            break
    return lines
