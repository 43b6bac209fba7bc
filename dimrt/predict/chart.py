"""Targets and recipes drawn as one SVG file: how long an edit takes, on a logarithmic axis, and what takes the time.

The file holds its own style, for light and for dark surroundings, and nothing is loaded from elsewhere.
"""

import math
from collections.abc import Sequence
from html import escape

from dimrt.predict.compare import Outlook
from dimrt.predict.edit import Prediction
from dimrt.predict.words import seconds

WIDTH, ROW, GAP, TOP, BOTTOM = 900, 24, 12, 74, 66
LABEL, RECIPE = 16, 170
AXIS, AXIS_END = 250, 556
TIME, SHARES, SHARES_END = 566, 656, 884
TICKS = (1, 2, 5)
MANY_TICKS = 9
PHASES = ("vision", "plan", "condition", "encode", "paint", "decode", "composite")
STYLE = """
text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.title { font-size: 15px; font-weight: 600; }
.soft { fill: var(--soft); }
.grid { stroke: var(--grid); }
.range { stroke: var(--mark); stroke-width: 5; stroke-linecap: round; opacity: 0.35; }
.dot { fill: var(--mark); }
.big .dot, .big .range { opacity: 0.25; }
svg { --ink: #1d2126; --soft: #636b75; --grid: #e3e6ea; --mark: #2563a8; --paper: #ffffff;
  --vision: #7a9cc6; --plan: #2563a8; --condition: #9fb8d6; --encode: #e3b778; --paint: #c9702a; --decode: #f0d3a8;
  --composite: #f8ead4; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e8eaed; --soft: #a2aab4; --grid: #343a42; --mark: #77aee8; --paper: #16191d;
    --vision: #52779f; --plan: #77aee8; --condition: #3d5a7a; --encode: #9a7440; --paint: #e29350; --decode: #6d5433;
    --composite: #4a3b28; }
}
"""


def chart(found: Sequence[Outlook], model: str) -> str:
    """One row a target and recipe; those that can't be told are written out in words.

    Args:
        found: from `dimrt.predict.compare.compare`.
        model: what is run, for the title.
    """
    low, high = _span([each.prediction for each in found if each.prediction is not None])
    rows, y = [], float(TOP)
    for index, each in enumerate(found):
        new = index == 0 or found[index - 1].place.name != each.place.name
        y += GAP if new and index and len(found) > len({other.place.name for other in found}) else 0
        rows.append(_row(each, y + ROW / 2, low, high, new))
        y += ROW
    height = round(y) + BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(_title(model))}">\n<style>{STYLE}</style>\n'
        f'<rect width="{WIDTH}" height="{height}" style="fill:var(--paper)"/>\n'
        + "\n".join([*_heading(model), *_axis(low, high, height), *rows, *_legend(found, height)])
        + "\n</svg>\n"
    )


def _title(model: str) -> str:
    return f"Predicted time of one edit with {model}"


def _heading(model: str) -> list[str]:
    return [
        _text(LABEL, 26, _title(model), "title"),
        _text(AXIS, 52, "seconds: expected, and likely", "soft"),
        _text(SHARES, 52, "what takes the time", "soft"),
    ]


def _span(predictions: Sequence[Prediction]) -> tuple[float, float]:
    """The ticks around every range."""
    if not predictions:
        return 0.1, 1.0
    least, most = min(each.least for each in predictions), max(each.most for each in predictions)
    ticks = _ticks(10.0 ** math.floor(math.log10(least)), 10.0 ** (math.floor(math.log10(most)) + 1))
    return max(tick for tick in ticks if tick <= least), min(tick for tick in ticks if tick >= most)


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times each power of ten from a power of ten up to another."""
    decades = round(math.log10(high / low))
    return [low * 10**decade * step for decade in range(decades) for step in TICKS] + [high]


def _place(value: float, low: float, high: float) -> float:
    return AXIS + (AXIS_END - AXIS) * math.log(value / low) / math.log(high / low)


def _axis(low: float, high: float, height: int) -> list[str]:
    """A line and a number at every tick, at powers of ten alone where there are many."""
    whole = _ticks(10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high)))
    ticks = [tick for tick in whole if low * 0.999 <= tick <= high * 1.001]
    if len(ticks) > MANY_TICKS:
        ticks = [tick for tick in ticks if math.isclose(math.log10(tick), round(math.log10(tick)))]
    parts = []
    for tick in ticks:
        x = _place(tick, low, high)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{height - BOTTOM + 4}"/>')
        parts.append(_text(x, height - BOTTOM + 20, f"{tick:g}", "soft", "middle"))
    return parts


def _row(each: Outlook, y: float, low: float, high: float, named: bool) -> str:
    parts = [_text(LABEL, y + 4, each.place.name)] if named else []
    parts.append(_text(RECIPE, y + 4, each.recipe, "soft"))
    time = each.prediction
    if time is None:
        parts.append(_text(AXIS, y + 4, "not on this device" if each.why_not else "rates not known", "soft"))
        return f"<g>{''.join(parts)}</g>"
    least, middle, most = (_place(value, low, high) for value in (time.least, time.seconds, time.most))
    parts.append(f'<line class="range" x1="{least:.1f}" x2="{most:.1f}" y1="{y}" y2="{y}"/>')
    parts.append(f'<circle class="dot" cx="{middle:.1f}" cy="{y}" r="5"/>')
    parts.append(_text(TIME, y + 4, seconds(time.seconds)))
    if not each.estimate.fits:
        parts.append(_text(TIME + 44, y + 4, "too big", "soft", size=10))
    parts += _shares(time, y)
    note = f"{each.place.name}, {each.recipe}: {seconds(time.seconds)}, "
    note += f"{seconds(time.least)} to {seconds(time.most)}"
    kind = "" if each.estimate.fits else ' class="big"'
    return f"<g{kind}><title>{escape(note)}</title>{''.join(parts)}</g>"


def _shares(time: Prediction, y: float) -> list[str]:
    x, parts = float(SHARES), []
    for phase in time.phases:
        width = (SHARES_END - SHARES) * phase.time.seconds / (time.seconds or 1.0)
        parts.append(
            f'<rect x="{x:.1f}" y="{y - 7}" width="{width:.1f}" height="14" style="fill:var(--{phase.name})">'
            f"<title>{phase.name}: {seconds(phase.time.seconds)}</title></rect>"
        )
        x += width
    return parts


def _legend(found: Sequence[Outlook], height: int) -> list[str]:
    """Colours of the phases, and what was assumed."""
    parts, x, y = [], float(SHARES), height - BOTTOM + 14
    for index, name in enumerate(PHASES):
        left = x + index % 3 * 80
        line = y + index // 3 * 18
        parts.append(f'<rect x="{left}" y="{line - 9}" width="10" height="10" style="fill:var(--{name})"/>')
        parts.append(_text(left + 15, line, name, "soft"))
    first = next((each.prediction for each in found if each.prediction is not None), None)
    if first is not None:
        steps = "1 step" if first.steps == 1 else f"{first.steps} steps"
        told = (
            f"{first.plan_tokens} tokens of plan, {first.tokens_per_run:g} a run; {steps}; the photo's file not counted"
        )
        parts.append(_text(LABEL, height - 14, told, "soft"))
    return parts


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start", size: int | None = None) -> str:
    style = f' style="font-size:{size}px"' if size else ""
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}{style}>{escape(text)}</text>'
