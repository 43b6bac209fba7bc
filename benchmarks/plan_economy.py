"""What a plan costs and what it brings: success against plan tokens, over the styles of plan that a bundle knows.

The same held-out cases are edited without a plan, with the designer's plan in each of its styles, and with the true
plan in every style (the oracle costs no decoding; its tokens are those that the painter reads). Beside success stand
the tokens and which share of an edit's time the designer took to write them.

    python benchmarks/plan_economy.py --bundle BUNDLE --cases 30
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from charts import Panel, Point, svg
from common import RESULTS, write_result
from reading import percent, points, recorded, verdict

from dimrt import Editor
from dimrt.export.nano.evaluate import Amount, Report, evaluate
from dimrt.export.nano.judging import progress
from dimrt.export.nano.plans import STYLES
from dimrt.export.nano.shares import difference_of
from dimrt.export.nano.trials import Condition, EditFunction, edit_with

SETS = ("usual", "reasoning")
LINES = {"designer": "designer's plan", "oracle": "true plan"}


def conditions(known: Sequence[str], steps: int | None) -> list[Condition]:
    """No plan, the designer's in the styles it knows, and the true plan in all."""
    return [
        Condition("none", steps=steps),
        *(Condition("designer", style, steps) for style in STYLES if style in known),
        *(Condition("oracle", style, steps) for style in STYLES),
    ]


def curve(report: Report, drawn: str) -> list[dict[str, Any]]:
    """One row a condition: success, tokens, and the plan's share of the time."""
    rows = []
    for condition in report.conditions.values():
        row = condition.sets[drawn].all
        rows.append(
            {
                "planner": condition.condition.planner,
                "style": None if condition.condition.planner == "none" else condition.condition.style,
                **recorded(row),
                "plan_share_of_time": round(row.plan_seconds / row.seconds, 4) if row.seconds else 0.0,
            }
        )
    return rows


def read(report: Report) -> list[str]:
    """Every shorter style against the full plan, in sentences."""
    lines = []
    for drawn in SETS:
        outcomes = report.outcomes[drawn]
        for planner in LINES:
            found = [c for c in report.conditions.values() if c.condition.planner == planner]
            full = next(c for c in found if c.condition.style == "full")
            base = full.sets[drawn].all
            for other in (c for c in found if c is not full):
                row = other.sets[drawn].all
                difference = difference_of(outcomes[other.condition.name], outcomes[full.condition.name])
                time = f", {_saved(row.seconds, base.seconds)} of the edit's time" if planner == "designer" else ""
                lines.append(
                    f"On {drawn} edits the {LINES[planner]} in {other.condition.style} form has "
                    f"{_saved(row.tokens, base.tokens)} of the tokens{time}, and success changes by "
                    f"{points(difference)}: {verdict(difference)}."
                )
    return lines


def _saved(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "none"


def chart(report: Report) -> str:
    """Success over plan tokens as SVG."""
    panels = []
    for drawn in SETS:
        lines: dict[str, list[Point]] = {name: [] for name in LINES.values()}
        for condition in report.conditions.values():
            row, asked = condition.sets[drawn].all, condition.condition
            names = list(LINES.values()) if asked.planner == "none" else [LINES[asked.planner]]
            label = "none" if asked.planner == "none" else asked.style
            for name in names:
                lines[name].append(Point(row.tokens, row.both.share, row.both.low, row.both.high, label))
        panels.append(Panel(f"{drawn} edits", lines))
    return svg(panels, "tokens of the plan", "success")


def table(report: Report) -> str:
    """The curve as plain text."""
    lines = []
    for drawn in SETS:
        heads = f"{'tokens':>8}{'success, % (95 %)':>24}{'plan right':>12}{'plan s':>9}{'edit s':>9}{'plan share':>12}"
        lines.append(f"{drawn + ' edits':<18}{heads}")
        for name, condition in report.conditions.items():
            row = condition.sets[drawn].all
            right = f"{row.right.share:.0%}" if row.right else "-"
            share = row.plan_seconds / row.seconds if row.seconds else 0.0
            lines.append(
                f"{name.split(',')[0]:<18}{row.tokens:>8.1f}{percent(row.both):>24}{right:>12}"
                f"{row.plan_seconds:>9.3f}{row.seconds:>9.3f}{share:>12.0%}"
            )
        lines.append("")
    return "\n".join(lines)


def measure(edit: EditFunction, known: Sequence[str], seed: int, cases: int, steps: int | None) -> Report:
    """All conditions on the same cases."""
    amount = Amount(usual=cases, reasoning=cases)
    return evaluate(edit, seed, amount, conditions(known, steps), sets=SETS, on_case=progress)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, record, draw, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="a nano bundle; default: the one that `dimrt edit` takes")
    parser.add_argument("--cases", type=int, default=30, help="for each edit type, usual and reasoning")
    parser.add_argument("--steps", type=int, help="painter steps (default: the bundle's own)")
    parser.add_argument("--seed", type=int, default=43, help="of the cases")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one case of each: does it still work? Nothing is kept")
    parser.add_argument("--out", type=Path, default=RESULTS / "plan-economy.json")
    parser.add_argument("--chart", type=Path, default=RESULTS / "images" / "plan-economy.svg")
    args = parser.parse_args(arguments)
    cases = 1 if args.quick else args.cases
    editor = Editor.load(args.bundle, threads=args.threads)
    known = tuple(editor.bundle.manifest.designer.prompt.requests)
    report = measure(edit_with(editor), known, args.seed, cases, args.steps)
    settings = {name: getattr(args, name) for name in ("steps", "seed", "threads")} | {
        "cases": cases,
        "styles": list(known),
        "bundle": editor.bundle.manifest.name,
        "digest": editor.bundle.digest,
    }
    document = {"curves": {drawn: curve(report, drawn) for drawn in SETS}, "reading": read(report)}
    with tempfile.TemporaryDirectory() as temporary:
        out, picture = (Path(temporary) / name for name in ("quick.json", "quick.svg"))
        if not args.quick:
            out, picture = args.out, args.chart
        write_result("plan-economy", settings, document, out)
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(chart(report), encoding="utf-8")
    print(table(report))
    print("\n".join(f"- {line}" for line in document["reading"]))


if __name__ == "__main__":
    main()
