"""How nano was trained: steps, hours and learning curves of every lesson, from the logs in the recipe's folder.

The error of the painter is its squared error over the squared change that the edit asks for, on changed tokens: 1 is
doing nothing, 0 is perfect. The designer's is the share of a plan's tokens that it doesn't foresee; many are free
choices of the oracle's wording, so that 0 is out of reach.

    python benchmarks/learning_curves.py FOLDER
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from charts import Panel, Point, svg
from common import RESULTS, write_result

POINTS = 40
"""Of a curve; each is a mean of the lines around it."""


@dataclass(frozen=True)
class Lesson:
    """One lesson: where its log lies below the recipe's folder, and how its error is read from a line of it."""

    name: str
    log: str
    figure: str
    complement: bool = False

    def error(self, line: dict[str, float]) -> float:
        """The error, 0 to 1."""
        value = line[self.figure]
        return 1 - value if self.complement else value


LESSONS = (
    Lesson("designer: looking", "designer/look/log.jsonl", "designer/seen", complement=True),
    Lesson("designer: plans", "designer/plan/log.jsonl", "designer/tokens_right", complement=True),
    Lesson("designer: hard references", "designer/hard/log.jsonl", "designer/tokens_right", complement=True),
    Lesson("painter: drawing", "drawing/run/log.jsonl", "painter/relative_error"),
    Lesson("painter: editing", "editing/run/log.jsonl", "painter/relative_error"),
    Lesson("painter: practice", "editing/practice/log.jsonl", "painter/relative_error"),
)
CHARTS = {"designer": "tokens not foreseen", "painter": "relative error"}


def read(root: Path) -> dict[str, list[dict[str, float]]]:
    """The log of every lesson that has one, by name."""
    logs = {}
    for lesson in LESSONS:
        path = root / lesson.log
        if path.is_file() and path.stat().st_size:
            logs[lesson.name] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return logs


def curve(lesson: Lesson, lines: Sequence[dict[str, float]]) -> list[tuple[int, float]]:
    """Steps and errors, at most `POINTS` of them."""
    width = -(-len(lines) // POINTS)
    groups = [lines[start : start + width] for start in range(0, len(lines), width)]
    return [(int(group[-1]["step"]), round(fmean(map(lesson.error, group)), 4)) for group in groups]


def summary(lesson: Lesson, lines: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Steps, hours, and the curve. The hours are those of the machine as busy as it was."""
    before = [0.0, *(line["step"] for line in lines[:-1])]
    seconds = sum((line["step"] - last) * line["seconds_per_step"] for line, last in zip(lines, before, strict=True))
    return {
        "steps": int(lines[-1]["step"]),
        "hours": round(seconds / 3600, 2),
        "seconds_per_step": round(median(line["seconds_per_step"] for line in lines), 3),
        "curve": curve(lesson, lines),
    }


def chart(lessons: dict[str, dict[str, Any]]) -> str:
    """One panel a role, one line a lesson, over thousands of steps."""
    panels = []
    for role, error in CHARTS.items():
        lines: dict[str, Sequence[Point]] = {}
        for name, found in lessons.items():
            if name.startswith(role):
                last = found["curve"][-1][0]
                lines[name.partition(": ")[2]] = [
                    Point(step / 1000, value, value, value, f"{value:.0%}" if step == last else "")
                    for step, value in found["curve"]
                ]
        panels.append(Panel(f"{role}: {error}", lines))
    return svg(panels, "thousand steps", "error")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, record, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of `python -m dimrt.export.nano train`")
    parser.add_argument("--out", type=Path, default=RESULTS / "nano-training.json")
    parser.add_argument("--chart", type=Path, default=RESULTS / "images" / "nano-training.svg")
    args = parser.parse_args(arguments)
    logs = read(args.folder)
    if not logs:
        parser.error(f"{args.folder} holds no log of a lesson, such as {LESSONS[-1].log}")
    lessons = {lesson.name: summary(lesson, logs[lesson.name]) for lesson in LESSONS if lesson.name in logs}
    write_result("nano-training", {"points": POINTS}, {"lessons": lessons}, args.out)
    args.chart.parent.mkdir(parents=True, exist_ok=True)
    args.chart.write_text(chart(lessons), encoding="utf-8")
    for name, found in lessons.items():
        print(f"{name:<26}{found['steps']:>7} steps{found['hours']:>7.2f} h{found['curve'][-1][1]:>8.3f}")


if __name__ == "__main__":
    main()
