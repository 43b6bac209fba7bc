"""An evaluation's report as plain text."""

from dimrt.export.nano.evaluate import SETS, SLOTS, Part, PhotoRow, Report, SceneRow
from dimrt.export.nano.shares import Difference, Share

_MEANING = {
    "usual": "scenes of one to four items, instructions as in training",
    "direct": "scenes of two to four items, called by name or place",
    "reasoning": "scenes of two to four items, the instruction must be thought through",
}


def table(report: Report) -> str:
    """Everything in words and percent: conditions side by side, then each in detail."""
    lines = [f"seed {report.seed}; intervals are 95 % (Wilson; differences: Newcombe, paired)"]
    if len(report.conditions) > 1:
        lines += side_by_side(report)
    for name, condition in report.conditions.items():
        for drawn, part in condition.sets.items():
            lines += ["", f"{name}, {drawn}: {_MEANING[drawn]}", *_part(part, drawn)]
        if condition.photos:
            lines += ["", f"{name}, photographs at full size", *_photos(condition.photos)]
    return "\n".join(lines)


def side_by_side(report: Report) -> list[str]:
    """One table for each set: the conditions, their success, and the difference to the first."""
    lines: list[str] = []
    for drawn in SETS:
        if drawn not in report.differences:
            continue
        lines += [
            "",
            f"{drawn}: {_MEANING[drawn]}",
            f"{'condition':<34}{'n':>5}{'success':>9}{'95 %':>14}   {'to the first':<22}{'tokens':>8}{'seconds':>9}",
        ]
        for name, condition in report.conditions.items():
            row = condition.sets[drawn].all
            difference = report.differences[drawn].get(name)
            lines.append(
                f"{name:<34}{row.n:>5}{row.both.share:>9.1%}{_interval(row.both):>14}   "
                f"{_points(difference):<22}{row.tokens:>8.1f}{row.seconds:>9.3f}"
            )
    return lines


def _points(difference: Difference | None) -> str:
    if difference is None:
        return ""
    low, high = 100 * difference.low, 100 * difference.high
    return f"{100 * difference.difference:+.1f} [{low:+.1f}, {high:+.1f}]"


def _interval(share: Share) -> str:
    return f"{100 * share.low:.0f} to {100 * share.high:.0f} %"


def _part(part: Part, drawn: str) -> list[str]:
    slots = "  plan: " + " ".join(f"{name:>6}" for name in (*SLOTS, "all")) if part.all.slots else ""
    lines = [f"{'edit':<12}{'n':>5}{'done':>7}{'kept':>7}{'both':>7}{'95 %':>14}{slots}"]
    lines += [_line(name, row) for name, row in part.edits.items()]
    if drawn == "reasoning":
        lines += [_line(name, row) for name, row in part.references.items()]
    return [*lines, _line("all", part.all)]


def _line(name: str, row: SceneRow) -> str:
    shares = f"{row.done.share:>7.0%}{row.preserved.share:>7.0%}{row.both.share:>7.0%}{_interval(row.both):>14}"
    if not row.slots or row.right is None:
        return f"{name:<12}{row.n:>5}{shares}"
    cells = [f"{row.slots[slot].share:>6.0%}" if slot in row.slots else f"{'-':>6}" for slot in SLOTS]
    return f"{name:<12}{row.n:>5}{shares}        {' '.join(cells)} {row.right.share:>6.0%}"


def _photos(photos: dict[str, PhotoRow]) -> list[str]:
    lines = [f"{'photo edit':<12}{'n':>4}{'source':>10}{'edited':>10}{'lowest':>10}{'plan':>7}{'unseen words':>14}"]
    for name, row in photos.items():
        levels = f"{row.source:>7.1f} dB{row.output:>7.1f} dB{row.lowest:>7.1f} dB"
        lines.append(f"{name:<12}{row.n:>4}{levels}{row.plan:>7.0%}{row.plan_unseen:>14.0%}")
    return lines
