"""A small line chart as SVG text: shares in percent with their intervals over some amount."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 380, 300
LEFT, RIGHT, TOP, BOTTOM = 48, 16, 34, 66
COLOURS = ("#1f6fb4", "#c0562b", "#3b8a45", "#7d4fa0")


Place = Callable[[float, float], tuple[float, float]]
"""Amount and share to pixels."""


@dataclass(frozen=True)
class Point:
    """`y` and its interval are shares, 0 to 1."""

    x: float
    y: float
    low: float
    high: float
    label: str


@dataclass(frozen=True)
class Panel:
    """One chart: a title and lines by name."""

    title: str
    lines: dict[str, Sequence[Point]]


def svg(panels: Sequence[Panel], across: str, up: str) -> str:
    """Panels side by side with common axes; `across` and `up` name the axes."""
    longest = max([point.x for panel in panels for line in panel.lines.values() for point in line], default=1) or 1
    parts = [_panel(panel, index * WIDTH, longest * 1.08, across, up) for index, panel in enumerate(panels)]
    whole = WIDTH * len(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="{HEIGHT}" viewBox="0 0 {whole} {HEIGHT}" '
        f'font-family="sans-serif" font-size="11">\n<rect width="{whole}" height="{HEIGHT}" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _panel(panel: Panel, offset: int, longest: float, across: str, up: str) -> str:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + x / longest * (right - LEFT), bottom - y * (bottom - TOP)

    parts = [f'<g transform="translate({offset},0)">', _text(WIDTH / 2, 18, panel.title, "middle", "13")]
    for share in (0, 0.25, 0.5, 0.75, 1):
        _, y = place(0, share)
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{share:.0%}", "end"))
    for tick in _ticks(longest):
        x, _ = place(tick, 0)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}" stroke="#555"/>')
        parts.append(_text(x, bottom + 16, f"{tick:g}", "middle"))
    parts.append(_text((LEFT + right) / 2, bottom + 32, across, "middle"))
    parts.append(
        f'<text transform="translate(12,{(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">{escape(up)}</text>'
    )
    for number, (name, line) in enumerate(panel.lines.items()):
        parts += _line(line, COLOURS[number % len(COLOURS)], place)
        key = LEFT + number * 130
        parts.append(
            f'<rect x="{key}" y="{HEIGHT - 20}" width="12" height="4" fill="{COLOURS[number % len(COLOURS)]}"/>'
        )
        parts.append(_text(key + 17, HEIGHT - 14, name, "start"))
    return "\n".join([*parts, "</g>"])


def _line(line: Sequence[Point], colour: str, place: Place) -> list[str]:
    ordered = sorted(line, key=lambda point: point.x)
    path = " ".join("{:.1f},{:.1f}".format(*place(point.x, point.y)) for point in ordered)
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>']
    for point in ordered:
        x, y = place(point.x, point.y)
        (_, low), (_, high) = place(point.x, point.low), place(point.x, point.high)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{colour}"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
        parts.append(_text(x + 6, y - 6, point.label, "start"))
    return parts


def _ticks(longest: float) -> list[float]:
    step = next(step for step in (1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000, longest) if longest / step <= 6)
    return [step * index for index in range(int(longest / step) + 1)]


def _text(x: float, y: float, words: str, anchor: str, size: str = "11") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'
