"""The charts of a report. Each takes plain numbers and returns inline SVG for a phone's width and a wide one."""

from collections.abc import Sequence
from dataclasses import dataclass

from dimrt.measure.comparing.quantities import amount, change, percent, tick
from dimrt.measure.pages.svg import Axis, Canvas, both_widths

ROW = 26.0
LABEL, VALUE, BESIDE, RIGHT = 118.0, 60.0, 28.0, 18.0
"""Pixels for names at the left, for numbers at the right, for a count beside them, and for half a label at an end."""
SPREAD = 6.0
"""Pixels that dots of a row are moved up or down at most, so that equal ones don't hide each other."""
NARROW_SAMPLES = 134
"""Samples of power that fit a phone one by one; of more, means are drawn with a band."""
BEYOND = 1.6
"""Times the median; samples beyond are drawn at the edge, and counted."""


@dataclass(frozen=True)
class Bar:
    """A row of a chart: its name, where it starts and how long it is, what is written beside it, and its colour."""

    name: str
    start: float
    length: float
    said: str
    kind: str = "one"


def waterfall(bars: Sequence[Bar], title: str, description: str) -> str:
    """Bars one after another on an axis of seconds."""
    end = max(bar.start + bar.length for bar in bars)

    def draw(width: float) -> Canvas:
        canvas = Canvas(width, len(bars) * ROW + 26)
        axis = Axis(0, end, LABEL, width - VALUE, 6 if width > 500 else 3)
        _time_axis(canvas, axis, len(bars) * ROW + 2)
        for i, bar in enumerate(bars):
            y = i * ROW + 4
            canvas.text(0, y + 13, bar.name)
            canvas.rect(axis(bar.start), y, axis(bar.length) - axis(0), ROW - 9, bar.kind)
            canvas.text(width, y + 13, bar.said, anchor="end")
        return canvas

    return both_widths(draw, title, description)


def shares(bars: Sequence[Bar], title: str, description: str) -> str:
    """Bars from 0 on an axis of percent that goes to 100 % at least."""
    end = max(1.0, *(bar.length for bar in bars))

    def draw(width: float) -> Canvas:
        canvas = Canvas(width, len(bars) * ROW + 26)
        axis = Axis(0, end, LABEL, width - VALUE, 5 if width > 500 else 2)
        bottom = len(bars) * ROW + 2
        for at in axis.ticks:
            canvas.line([(axis(at), 0), (axis(at), bottom)], "grid")
            canvas.text(axis(at), bottom + 16, percent(at), "small", "middle")
        for i, bar in enumerate(bars):
            y = i * ROW + 4
            canvas.text(0, y + 13, bar.name)
            canvas.rect(axis(0), y, axis(bar.length) - axis(0), ROW - 9, bar.kind)
            canvas.text(width, y + 13, bar.said, anchor="end")
        canvas.line([(axis(1), 0), (axis(1), bottom)], "")
        return canvas

    return both_widths(draw, title, description)


def spreads(rows: Sequence[tuple[str, Sequence[float]]], title: str, description: str) -> str:
    """Every sample as a dot, as a multiple of its row's median; a line at the median, a tick at the 90th percentile."""
    scaled = [(name, [each / nearest_rank(samples, 0.5) for each in samples], samples) for name, samples in rows]
    low = min(0.95, *(min(values) for _, values, _ in scaled))
    high = min(BEYOND, max(1.05, *(max(values) for _, values, _ in scaled)))

    def draw(width: float) -> Canvas:
        canvas = Canvas(width, len(rows) * ROW + 26)
        axis = Axis(low, high, LABEL, width - VALUE - BESIDE, 6 if width > 500 else 3)
        bottom = len(rows) * ROW + 2
        for at in axis.ticks:
            canvas.line([(axis(at), 0), (axis(at), bottom)], "grid")
            canvas.text(axis(at), bottom + 16, change(at - 1), "small", "middle")
        for i, (name, values, samples) in enumerate(scaled):
            y = i * ROW + ROW / 2
            canvas.text(0, y + 4, name)
            inside = [value for value in values if value <= high]
            canvas.dots([(axis(each), y + _aside(k)) for k, each in enumerate(inside)], 1.8, "")
            canvas.line([(axis(1), y - 9), (axis(1), y + 9)], "mark")
            late = nearest_rank(values, 0.9)
            if len(values) >= 10 and late <= high:
                canvas.line([(axis(late), y - 9), (axis(late), y + 9)], "mark other")
            if len(inside) < len(values):
                canvas.text(axis(high) + 4, y + 4, f"+{len(values) - len(inside)}", "small")
            canvas.text(width, y + 4, amount(nearest_rank(samples, 0.5), "s"), anchor="end")
        return canvas

    return both_widths(draw, title, description)


def scatter(
    points: Sequence[tuple[float, float]], levels: Sequence[tuple[float, float, float]], words: tuple[str, str]
) -> str:
    """Seconds of each edit over the time it began; `levels` are (from, to, seconds) of lines."""
    longest = max(each for _, each in points) * 1.08

    def draw(width: float) -> Canvas:
        canvas = Canvas(width, 190)
        across = Axis(0, max(at for at, _ in points), 52, width - RIGHT, 8 if width > 500 else 4)
        up = Axis(0, longest, 160, 8, 5)
        _frame(canvas, across, up, "s")
        canvas.dots([(across(at), up(each)) for at, each in points], 2.5, "")
        for start, end, level in levels:
            canvas.line([(across(start), up(level)), (across(end), up(level))], "mark other")
        return canvas

    return both_widths(draw, *words)


@dataclass(frozen=True)
class Stretch:
    """A part of the time axis: from, to, its name, and whether it is shaded."""

    start: float
    end: float
    name: str
    shaded: bool


def power_line(
    watts: Sequence[tuple[float, float]], stretches: Sequence[Stretch], idle: float | None, words: tuple[str, str]
) -> str:
    """Watts over seconds; where there are more samples than pixels, their mean and a band from least to most."""
    begin, end = watts[0][0], watts[-1][0]
    highest = max(each for _, each in watts) * 1.1

    def draw(width: float) -> Canvas:
        named = any(stretch.name for stretch in stretches)
        top = 22.0 if named else 8.0
        canvas = Canvas(width, 220)
        across = Axis(begin, end, 52, width - RIGHT, 8 if width > 500 else 4)
        up = Axis(0, highest, 190, top, 5)
        for stretch in stretches:
            left, right = across(max(stretch.start, begin)), across(min(stretch.end, end))
            if stretch.shaded and right > left:
                canvas.rect(left, top, right - left, 190 - top, "wash")
            if len(stretch.name) * 6.5 < right - left:
                canvas.text((left + right) / 2, 14, stretch.name, "small", "middle")
        _frame(canvas, across, up, "W")
        buckets = _buckets(watts, int((width - 62) / 2))
        if len(buckets) < len(watts):
            upper = [(across(at), up(most)) for at, _, _, most in buckets]
            lower = [(across(at), up(least)) for at, least, _, _ in reversed(buckets)]
            canvas.area([*upper, *lower], "pale")
        canvas.line([(across(at), up(mean)) for at, _, mean, _ in buckets], "thin")
        if idle is not None:
            canvas.line([(across(begin), up(idle)), (across(end), up(idle))], "other dashed")
            canvas.text(across(end), up(idle) - 5, f"idle {amount(idle, 'W')}", "small", "end")
        return canvas

    return both_widths(draw, *words)


@dataclass(frozen=True)
class Interval:
    """A row of `intervals`: its name, the ratio, its interval (None: open), what is said of it, and its class."""

    name: str
    ratio: float
    low: float | None
    high: float | None
    said: str
    kind: str


def intervals(rows: Sequence[Interval], margin: float, words: tuple[str, str]) -> str:
    """Ratios with their intervals on one axis around 1; the margin is shaded."""
    told = [each for row in rows for each in (row.ratio, row.low, row.high) if each is not None]
    low, high = min(0.9, max(0.5, *[min(told)])), max(1.1, min(2.0, max(told)))

    def draw(width: float) -> Canvas:
        canvas = Canvas(width, len(rows) * ROW + 26)
        axis = Axis(low, high, LABEL + 12, width - VALUE - BESIDE - 12, 6 if width > 500 else 3)
        bottom = len(rows) * ROW + 2
        canvas.rect(axis(1 - margin), 0, axis(1 + margin) - axis(1 - margin), bottom, "wash")
        for at in axis.ticks:
            canvas.line([(axis(at), 0), (axis(at), bottom)], "grid")
            canvas.text(axis(at), bottom + 16, change(at - 1), "small", "middle")
        canvas.line([(axis(1), 0), (axis(1), bottom)], "")
        for i, row in enumerate(rows):
            y = i * ROW + ROW / 2
            ends = [axis(min(max(each, low), high)) for each in (row.low or low, row.high or high)]
            canvas.text(0, y + 4, row.name)
            canvas.line([(ends[0], y), (ends[1], y)], f"mark {row.kind}")
            canvas.dots([(axis(min(max(row.ratio, low), high)), y)], 4, f"solid {row.kind}")
            canvas.text(width, y + 4, row.said, row.kind, "end")
        return canvas

    return both_widths(draw, *words)


def nearest_rank(samples: Sequence[float], share: float) -> float:
    """As `dimrt.measure.samples.percentile`, however few samples there are."""
    return sorted(samples)[min(int(len(samples) * share), len(samples) - 1)]


def _aside(number: int) -> float:
    """Where the n-th dot of a row lies from its middle: multiples of the golden ratio scatter evenly."""
    return SPREAD * (2 * (number * 0.618034 % 1) - 1)


def _buckets(watts: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float, float, float]]:
    """(time, least, mean, most) of neighbouring samples, in `most` groups or fewer."""
    size = max(1, -(-len(watts) // most))
    groups = [watts[i : i + size] for i in range(0, len(watts), size)]
    return [
        (
            sum(at for at, _ in group) / len(group),
            min(each for _, each in group),
            sum(each for _, each in group) / len(group),
            max(each for _, each in group),
        )
        for group in groups
    ]


def _time_axis(canvas: Canvas, axis: Axis, bottom: float) -> None:
    for at in axis.ticks:
        canvas.line([(axis(at), 0), (axis(at), bottom)], "grid")
        canvas.text(axis(at), bottom + 16, tick(at, "s"), "small", "middle")


def _frame(canvas: Canvas, across: Axis, up: Axis, unit: str) -> None:
    for at in up.ticks:
        canvas.line([(52, up(at)), (canvas.width - RIGHT, up(at))], "grid")
        canvas.text(46, up(at) + 4, tick(at, unit), "small", "end")
    for at in across.ticks:
        canvas.text(across(at), up(0) + 17, tick(at, "s"), "small", "middle")
