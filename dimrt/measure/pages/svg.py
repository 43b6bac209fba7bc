"""Drawing inline SVG: coordinates in CSS pixels, colours by class (the page's style sheet knows light and dark)."""

from collections.abc import Callable, Sequence
from html import escape
from math import ceil, floor, log10
from zlib import crc32

NARROW, WIDE = 330.0, 760.0
"""Widths that a chart is drawn in: one for phones, one for everything else; the style sheet shows one of them."""


class Canvas:
    """Shapes in the order they are drawn."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._shapes: list[str] = []

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
        """Words with their baseline at y; `anchor` is "start", "middle" or "end"."""
        where = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._shapes.append(f"<text{_class(kind)}{where} x='{_n(x)}' y='{_n(y)}'>{escape(words)}</text>")

    def rect(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """A filled rectangle, at least half a pixel wide so that it can be seen."""
        size = f"width='{_n(max(width, 0.5))}' height='{_n(height)}'"
        self._shapes.append(f"<rect{_class(kind)} x='{_n(x)}' y='{_n(y)}' {size}/>")

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """A line through points."""
        path = "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        self._shapes.append(f"<path{_class(f'stroke {kind}')} d='{path}'/>")

    def area(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """A filled polygon."""
        path = "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points) + "Z"
        self._shapes.append(f"<path{_class(kind)} d='{path}'/>")

    def dots(self, points: Sequence[tuple[float, float]], radius: float, kind: str) -> None:
        """Round dots, as one path of strokes without length: a thousand of them stay small."""
        path = "".join(f"M{_n(x)} {_n(y)}h0" for x, y in points)
        self._shapes.append(f"<path{_class(f'dots {kind}')} stroke-width='{_n(2 * radius)}' d='{path}'/>")

    def svg(self, kind: str, title: str, description: str) -> str:
        """The picture with its text alternative."""
        name = f"{crc32((kind + title).encode()):08x}"
        size = f"viewBox='0 0 {_n(self.width)} {_n(self.height)}' style='max-width:{_n(self.width * 1.2)}px'"
        return (
            f"<svg class='{kind}' role='img' aria-labelledby='t{name} d{name}' {size}>"
            f"<title id='t{name}'>{escape(title)}</title><desc id='d{name}'>{escape(description)}</desc>"
            f"{''.join(self._shapes)}</svg>"
        )


def both_widths(draw: Callable[[float], Canvas], title: str, description: str) -> str:
    """A chart drawn for phones and for wide windows."""
    return draw(WIDE).svg("wide", title, description) + draw(NARROW).svg("narrow", title, description)


class Axis:
    """A linear scale from numbers to pixels, with round ticks.

    Attributes:
        ticks: numbers to label.
    """

    def __init__(self, low: float, high: float, start: float, end: float, most: int = 6) -> None:
        """`low` to `high` becomes `start` to `end`; at most about `most` ticks."""
        if high <= low:
            high = low + (abs(low) or 1.0)
        self._low, self._start, self._scale = low, start, (end - start) / (high - low)
        self.ticks = ticks(low, high, most)

    def __call__(self, value: float) -> float:
        """Where a number lies."""
        return self._start + (value - self._low) * self._scale


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from `low` to `high`: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / max(most, 1)
    power = 10.0 ** floor(log10(rough))
    step = next(multiple * power for multiple in (1, 2, 5, 10) if multiple * power >= rough * 0.9)
    return [round(i * step, 10) for i in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _class(kind: str) -> str:
    return f" class='{kind}'" if kind else ""
