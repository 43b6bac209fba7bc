"""Two documents of `dimrt bench`, metric by metric: better, worse, or no evidence of either."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median
from textwrap import wrap
from typing import Any

from dimrt.measure.comparing import comparable
from dimrt.measure.comparing.metrics import Metric, Single, both, singles
from dimrt.measure.comparing.quantities import amount, percent
from dimrt.measure.comparing.statistics import ALPHA, Shift, holm, shift

MARGIN = 0.02
"""Differences up to this share don't count: runs of the same program on the same machine differ by that much."""
BETTER, WORSE, NO_EVIDENCE = "better", "worse", "no evidence"
WIDTH = 80
SIGNS = {BETTER: "+", WORSE: "-", NO_EVIDENCE: "."}


@dataclass(frozen=True)
class Finding:
    """What is known of a metric's difference.

    Attributes:
        name, unit, higher: as `Metric`.
        before, after: medians.
        counts: samples of both.
        ratio: of a sample after to one before, typically; None where it can't be told.
        interval: ratios that aren't refuted at 5 %, without the correction; an end of None is open.
        p: chance of such data were there no difference beyond the margin, corrected for the number of metrics.
        verdict: "better", "worse" or "no evidence".
        why: what limits the verdict; "" where nothing does.
    """

    name: str
    unit: str
    higher: bool
    before: float
    after: float
    counts: tuple[int, int]
    ratio: float | None
    interval: tuple[float | None, float | None]
    p: float | None
    verdict: str
    why: str


@dataclass(frozen=True)
class Comparison:
    """All of it.

    Attributes:
        findings: of metrics with samples.
        singles: of the others.
        warnings: what else differs and may explain a difference.
        margin, alpha: of the verdicts.
    """

    findings: tuple[Finding, ...]
    singles: tuple[Single, ...]
    warnings: tuple[str, ...]
    margin: float
    alpha: float


def compare(before: Mapping[str, Any], after: Mapping[str, Any], margin: float = MARGIN) -> Comparison:
    """Say of each metric of both documents whether `after` is better, worse, or neither can be told.

    A verdict needs evidence that the difference is beyond the margin: a permutation test of blocks in time, at 5 % for
    all metrics together (Holm). The samples of one document are of one process; what changes from process to process
    is for the margin to cover, or for several documents.

    Raises:
        InputError: the documents aren't of the same format, bundle and settings.
    """
    comparable.refuse(before, after)
    metrics = list(both(before, after))
    shifts = [shift(metric.before, metric.after, margin) for metric in metrics]
    chances = [2 * min(found.p_less, found.p_greater) for found in shifts if found]
    adjusted = iter(holm(chances))
    return Comparison(
        findings=tuple(
            _finding(metric, found, next(adjusted) if found else None, len(chances))
            for metric, found in zip(metrics, shifts, strict=True)
        ),
        singles=tuple(singles(before, after)),
        warnings=tuple(comparable.warnings(before, after)),
        margin=margin,
        alpha=ALPHA,
    )


def describe(found: Comparison) -> dict[str, Any]:
    """As JSON."""
    return asdict(found)


def _finding(metric: Metric, found: Shift | None, p: float | None, metrics: int) -> Finding:
    verdict, why = NO_EVIDENCE, ""
    if found is None or p is None:
        why = "fewer than two samples"
    elif p <= ALPHA:
        smaller = found.p_less < found.p_greater
        verdict = BETTER if smaller != metric.higher else WORSE
    elif found.least_p * metrics > ALPHA:
        why = f"too few (independent) samples to tell anything among {metrics} metrics; measure longer"
    return Finding(
        name=metric.name,
        unit=metric.unit,
        higher=metric.higher,
        before=median(metric.before),
        after=median(metric.after),
        counts=(len(metric.before), len(metric.after)),
        ratio=found.ratio if found else None,
        interval=_ends(found),
        p=p,
        verdict=verdict,
        why=why,
    )


def _ends(found: Shift | None) -> tuple[float | None, float | None]:
    if found is None:
        return None, None
    low, high = found.interval
    return low if low > 0 else None, high if high < float("inf") else None


def table(found: Comparison) -> list[str]:
    """Lines for a terminal of 80 columns: metrics with a verdict first."""
    lines = [line for text in found.warnings for line in wrap(f"! {text}", WIDTH, subsequent_indent="  ")]
    lines += [""] if lines else []
    lines.append(f"{'':<22}{'before':>11}{'after':>12}{'ratio':>7} {'95 % interval':<14}verdict")
    for finding in found.findings:
        ratio = "-" if finding.ratio is None else f"{finding.ratio:.3f}"
        cells = _cells(finding.name, finding.before, finding.after, finding.unit)
        lines.append(f"{SIGNS[finding.verdict]} {cells}{ratio:>7} {interval_text(finding):<14}{finding.verdict}")
    for single in found.singles:
        ratio = f"{single.after / single.before:.3f}" if single.before else "-"
        cells = _cells(single.name, single.before, single.after, single.unit)
        lines.append(f"  {cells}{ratio:>7} measured once")
    return [*lines, "", *(line for text in explanation(found) for line in wrap(text, WIDTH))]


def _cells(name: str, before: float, after: float, unit: str) -> str:
    return f"{name[:20]:<20}{amount(before, unit):>11}{amount(after, unit):>12}"


def explanation(found: Comparison) -> list[str]:
    """What the verdicts mean, and what stands in their way."""
    lines = [
        f"Verdicts: differences beyond {percent(found.margin)} of the value, at {percent(found.alpha)} for all metrics "
        "together (permutations of blocks in time, Holm).",
        "Both sides are one process each; measure again before you rely on a small difference.",
    ]
    limits: dict[str, list[str]] = {}
    for finding in found.findings:
        if finding.why:
            limits.setdefault(finding.why, []).append(finding.name)
    return [*(f"{', '.join(names)}: {why}" for why, names in limits.items()), *lines]


def interval_text(finding: Finding) -> str:
    """Like "0.812..0.853"; "" where nothing is known."""
    low, high = finding.interval
    if low is None and high is None:
        return ""
    return f"{'0' if low is None else f'{low:.3f}'}..{'any' if high is None else f'{high:.3f}'}"
