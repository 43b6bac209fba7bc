"""The frame of a report: one HTML file that loads nothing and runs nothing."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from dimrt.measure.pages.style import STYLE

Cell = str | tuple[str, str]
"""Words of a cell; or words and the cell's class."""
ROW_HEAD = "th scope='row'"


def page(title: str, body: Iterable[str]) -> str:
    """The whole file."""
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<style>{STYLE}</style></head>\n<body><main>\n" + "\n".join(body) + "\n</main></body></html>\n"
    )


def heading(words: str, level: int = 2) -> str:
    """A heading."""
    return f"<h{level}>{escape(words)}</h{level}>"


def paragraph(words: str, kind: str = "") -> str:
    """A paragraph."""
    return f"<p{f' class={kind!r}' if kind else ''}>{escape(words)}</p>"


def figures(values: Mapping[str, str]) -> str:
    """The few numbers that matter most, large."""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in values.items())
    return f"<dl class='figures'>{rows}</dl>"


def card(values: Mapping[str, str | None]) -> str:
    """Names and values; those without a value are left out."""
    told = ((name, value) for name, value in values.items() if value)
    return (
        f"<dl class='card'>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in told)}</dl>"
    )


def table(caption: str, columns: Sequence[Cell], rows: Iterable[Sequence[Cell]]) -> str:
    """A table that scrolls by itself where it is wider than the page; the first cell of a row is its heading."""
    head = "".join(_tagged("th scope='col'", cell) for cell in columns)
    body = "".join(
        f"<tr>{_tagged(ROW_HEAD, row[0])}{''.join(_tagged('td', cell) for cell in row[1:])}</tr>" for row in rows
    )
    name = escape(caption or ", ".join(cell for cell in columns if cell and isinstance(cell, str)))
    return (
        f"{paragraph(caption, 'soft') if caption else ''}<div class='scroll' tabindex='0' role='region' "
        f"aria-label='{name}'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def figure(chart: str, caption: str) -> str:
    """A chart and what it shows."""
    return f"<figure>{chart}<figcaption>{escape(caption)}</figcaption></figure>"


def warnings(heading_words: str, items: Sequence[str]) -> str:
    """What makes numbers doubtful; nothing where there is nothing."""
    if not items:
        return ""
    rows = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<div class='warn' role='note'><strong>{escape(heading_words)}</strong><ul>{rows}</ul></div>"


def folded(summary: str, content: str) -> str:
    """Something for those who look for it."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def listing(words: str) -> str:
    """Text as it is."""
    return f"<pre>{escape(words)}</pre>"


def _tagged(tag: str, cell: Cell) -> str:
    words, kind = cell if isinstance(cell, tuple) else (cell, "")
    return f"<{tag}{f' class={kind!r}' if kind else ''}>{escape(words)}</{tag.partition(' ')[0]}>"
