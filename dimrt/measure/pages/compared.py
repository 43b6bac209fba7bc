"""Two measurements side by side as one HTML file, made like the report of one."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dimrt.files import atomic_write
from dimrt.measure.comparing.compare import BETTER, NO_EVIDENCE, WORSE, Comparison, Finding, explanation
from dimrt.measure.comparing.quantities import amount, change, percent
from dimrt.measure.pages import charts, page
from dimrt.measure.pages.charts import Interval

KINDS = {BETTER: "good", WORSE: "bad", NO_EVIDENCE: "none"}
"""Class of the style sheet by verdict; the words say it too."""


def write_comparison(before: Mapping[str, Any], after: Mapping[str, Any], found: Comparison, path: str | Path) -> None:
    """Write the report of a comparison.

    Raises:
        InputError: `path` can't be written.
        ResourceError: the disk is full.
    """
    with atomic_write(path) as file:
        file.write(render_comparison(before, after, found).encode("utf-8"))


def render_comparison(before: Mapping[str, Any], after: Mapping[str, Any], found: Comparison) -> str:
    """The report of what `dimrt.measure.comparing.compare.compare` found of two documents, as HTML."""
    return page.page("dimrt bench: two measurements compared", _body(before, after, found))


def _body(before: Mapping[str, Any], after: Mapping[str, Any], found: Comparison) -> Iterator[str]:
    counts = {verdict: sum(each.verdict == verdict for each in found.findings) for verdict in KINDS}
    yield page.heading("Two measurements compared", 1)
    yield page.paragraph(f"{before['bundle']['name']}, {before['settings']['side']} px", "soft")
    yield page.figures(
        {
            "better": str(counts[BETTER]),
            "worse": str(counts[WORSE]),
            "no evidence of either": str(counts[NO_EVIDENCE]),
            **_edit(found),
        }
    )
    yield page.warnings("What else differs, and may be the reason", list(found.warnings))
    yield page.heading("Metric by metric")
    rows = [_row(each) for each in found.findings if each.ratio is not None]
    if rows:
        said = "; ".join(f"{row.name} {row.said}" for row in rows)
        yield page.figure(
            charts.intervals(rows, found.margin, ("How each metric changed", said + ".")),
            "After against before: a dot is the typical ratio of two samples, its line every ratio that the samples "
            f"don't refute (95 %). Shaded: the {percent(found.margin)} that don't count. Gray: no evidence.",
        )
    yield page.table(
        "Medians; p is corrected for the number of metrics",
        ("", "verdict", "before", "after", "change", "95 % interval", "p", "samples"),
        [_cells(each) for each in found.findings],
    )
    if found.singles:
        yield page.heading("Measured once")
        yield page.table(
            "Nothing can be said of chance here",
            ("", "before", "after", "change"),
            [
                (
                    each.name,
                    amount(each.before, each.unit),
                    amount(each.after, each.unit),
                    change(each.after / each.before - 1, 1) if each.before else "-",
                )
                for each in found.singles
            ],
        )
    yield page.heading("What this means")
    for text in explanation(found):
        yield page.paragraph(text)
    yield page.heading("The two")
    for name, document in (("before", before), ("after", after)):
        yield page.heading(name, 3)
        yield page.card(_who(document))


def _edit(found: Comparison) -> dict[str, str]:
    edit = next((each for each in found.findings if each.name == "edit" and each.ratio is not None), None)
    if edit is None or edit.ratio is None:
        return {}
    return {f"an edit: {amount(edit.before, 's')} before, {amount(edit.after, 's')} after": change(edit.ratio - 1, 1)}


def _row(found: Finding) -> Interval:
    ratio = found.ratio or 1.0
    said = change(ratio - 1, 1) + ("" if found.verdict == NO_EVIDENCE else f" {found.verdict}")
    return Interval(found.name, ratio, *found.interval, said, KINDS[found.verdict])


def _cells(found: Finding) -> tuple[page.Cell, ...]:
    low, high = found.interval
    interval = "-"
    if low is not None and high is not None:
        interval = f"{change(low - 1, 1).removesuffix(' %')} to {change(high - 1, 1)}"
    return (
        found.name,
        (found.verdict, KINDS[found.verdict]),
        amount(found.before, found.unit),
        amount(found.after, found.unit),
        "-" if found.ratio is None else change(found.ratio - 1, 1),
        interval,
        "-" if found.p is None else f"{found.p:.2g}" if found.p >= 0.001 else "< 0.001",
        f"{found.counts[0]}, {found.counts[1]}",
    )


def _who(document: Mapping[str, Any]) -> dict[str, str | None]:
    card, bundle, settings = document["card"], document["bundle"], document["settings"]
    return {
        "measured": f"{document['when'][:16].replace('T', ' ')} UTC with dimrt {document['dimrt']}",
        "device": card.get("board") or card.get("gpu") or card.get("processor"),
        "runs on": card.get("provider"),
        "power mode": card.get("power_mode"),
        "bundle": f"{bundle['name']}, {bundle.get('recipe')}",
        "settings": f"{settings['side']} px, steps {settings['steps']}, guidance {settings['guidance_scale']:g}",
    }
