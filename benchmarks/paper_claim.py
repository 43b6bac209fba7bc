"""The paper's claim at nano scale: does a plan help where an instruction must be thought through?

Every case is edited three times by the same painter: from the bare instruction, from the plan of nano's own designer,
and from the oracle's, the true plan. "reasoning" instructions single an item out by a relation, an order, a
superlative, the odd one or a side among twins, in scenes of two to four items; "direct" ones call it by name or place.
Success is the oracle's verdict: the edit is done and the rest preserved.

    python benchmarks/paper_claim.py --bundle BUNDLE --cases 60
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import RESULTS, write_result
from reading import kept, percent, points, recorded, sentence

from dimrt import Editor
from dimrt.export.nano.evaluate import Amount, Part, Report, evaluate
from dimrt.export.nano.judging import progress
from dimrt.export.nano.shares import Difference, contrast_of, difference_of
from dimrt.export.nano.trials import Condition, EditFunction, edit_with

SETS = ("direct", "reasoning")
PAIRS = (("designer", "none"), ("oracle", "none"), ("designer", "oracle"))
NAMES = {"none": "no plan", "designer": "the designer's plan", "oracle": "the oracle's plan"}
CAVEATS = (
    "Toy scenes of at most four shapes and a painter of a few million parameters: what can carry over is the "
    "direction, not the size.",
    "The painter learned from plans more often than from bare instructions, so a part of any gain may be practice; a "
    "plan adds nothing that the words of a direct edit lack, so the gain on direct edits says how much.",
)


def conditions(style: str, steps: int | None) -> dict[str, Condition]:
    """The three ways to condition the painter."""
    return {planner: Condition(planner, style if planner != "none" else "full", steps) for planner in NAMES}


def compare(report: Report, ways: dict[str, Condition]) -> dict[str, dict[str, Difference]]:
    """Paired differences of success for each set: "designer-none" and the other pairs."""
    return {
        name: {
            f"{one}-{other}": difference_of(outcomes[ways[one].name], outcomes[ways[other].name])
            for one, other in PAIRS
        }
        for name, outcomes in report.outcomes.items()
    }


def read(report: Report, ways: dict[str, Condition], differences: dict[str, dict[str, Difference]]) -> list[str]:
    """The result in sentences."""
    lines = []
    for name in SETS:
        for one, other in PAIRS:
            what = f"{NAMES[one]} against {NAMES[other]}"
            lines.append(sentence(f"On {name} edits", what, differences[name][f"{one}-{other}"]))
    for one in ("designer", "oracle"):
        more = contrast_of(*(differences[name][f"{one}-none"] for name in ("reasoning", "direct")))
        shown = "evidence" if more.low > 0 else ("evidence of the contrary" if more.high < 0 else "no evidence")
        lines.append(
            f"{NAMES[one].capitalize()} gains {points(more)} more on reasoning edits than on direct ones: {shown} that "
            "a plan matters more where one must think."
        )
    slots = {name: report.conditions[ways["designer"].name].sets[name].all.slots["edit"] for name in SETS}
    lines.append(
        f"The designer resolves the edit word for word in {percent(slots['reasoning'])} of the reasoning cases and in "
        f"{percent(slots['direct'])} of the direct ones; where it is wrong its plan can't help."
    )
    return [*lines, *CAVEATS]


def table(report: Report, ways: dict[str, Condition]) -> str:
    """Success in percent: sets and kinds of reasoning down, the three conditions across."""
    heads = "".join(f"{NAMES[planner]:>34}" for planner in ways)
    lines = [f"{'success, % (95 %)':<18}{'n':>5}{heads}{'plans right':>13}"]
    parts = {name: {way: report.conditions[c.name].sets[name] for way, c in ways.items()} for name in SETS}
    for name, part in parts.items():
        lines.append(_line(name, {way: row.all for way, row in part.items()}))
        if name == "reasoning":
            for kind in part["none"].references:
                lines.append(_line(f"  {kind}", {way: row.references[kind] for way, row in part.items()}))
        for kind in part["none"].edits:
            lines.append(_line(f"  {kind}", {way: row.edits[kind] for way, row in part.items()}))
    return "\n".join(lines)


def _line(name: str, rows: dict[str, Any]) -> str:
    right = rows["designer"].slots["edit"].share
    return (
        f"{name:<18}{rows['none'].n:>5}"
        + "".join(f"{percent(row.both):>34}" for row in rows.values())
        + f"{right:>13.0%}"
    )


def measure(edit: EditFunction, seed: int, cases: int, style: str, steps: int | None) -> tuple[Report, dict[str, Any]]:
    """The report of all cases, and what is recorded of it."""
    ways = conditions(style, steps)
    report = evaluate(edit, seed, Amount(usual=0, reasoning=cases), list(ways.values()), on_case=progress)
    differences = compare(report, ways)
    document = {
        "percent": {
            name: {way: _part(report.conditions[condition.name].sets[name]) for way, condition in ways.items()}
            for name in SETS
        },
        "points": {name: {pair: kept(d) for pair, d in found.items()} for name, found in differences.items()},
        "reading": read(report, ways, differences),
    }
    return report, document


def _part(part: Part) -> dict[str, Any]:
    groups = {"edits": part.edits, "references": part.references}
    return {"all": recorded(part.all)} | {
        group: {name: recorded(row) for name, row in rows.items()} for group, rows in groups.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, record, print the table and its reading."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="a nano bundle; default: the one that `dimrt edit` takes")
    parser.add_argument("--cases", type=int, default=60, help="for each of the seven edit types, direct and reasoning")
    parser.add_argument("--style", default="full", help="of the plans (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="painter steps (default: the bundle's own)")
    parser.add_argument("--seed", type=int, default=41, help="of the cases")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one case of each: does it still work? Nothing is kept")
    parser.add_argument("--out", type=Path, default=RESULTS / "paper-claim.json")
    args = parser.parse_args(arguments)
    cases = 1 if args.quick else args.cases
    editor = Editor.load(args.bundle, threads=args.threads)
    report, document = measure(edit_with(editor), args.seed, cases, args.style, args.steps)
    settings = {name: getattr(args, name) for name in ("style", "steps", "seed", "threads")} | {
        "cases": cases,
        "bundle": editor.bundle.manifest.name,
        "digest": editor.bundle.digest,
    }
    with tempfile.TemporaryDirectory() as temporary:
        write_result("paper-claim", settings, document, Path(temporary) / "quick.json" if args.quick else args.out)
    print(table(report, conditions(args.style, args.steps)))
    print("\n".join(["", *(f"- {line}" for line in document["reading"])]))


if __name__ == "__main__":
    main()
