"""The five-section plan as text, and shorter styles of it."""

import re
from dataclasses import astuple, dataclass, fields

TITLES = (
    "Edit Instruction",
    "Global Layout Perception",
    "Local Object Perception",
    "Edit Area Localization",
    "Edited Image Imagination",
)
HEADINGS = tuple(f"{number}. {title}:" for number, title in enumerate(TITLES, 1))
STYLES: dict[str, tuple[int, ...]] = {"full": (0, 1, 2, 3, 4), "short": (1, 2, 3), "brief": (2, 3)}
"""Which sections a plan of each style has: all; what leads to the edit and the edit; the edit and its area alone."""


@dataclass(frozen=True)
class Plan:
    """One line for each section: the verbatim instruction, the source, the resolved edit, where, and the result."""

    instruction: str = ""
    layout: str = ""
    edit: str = ""
    area: str = ""
    result: str = ""

    def text(self, style: str = "full") -> str:
        """The plan in one of `STYLES`."""
        lines = astuple(self)
        return "\n".join(f"{HEADINGS[index]} {lines[index]}" for index in STYLES[style])


_PATTERNS = {
    style: re.compile(r"\n".join(rf"{re.escape(HEADINGS[index])} (.*)" for index in sections))
    for style, sections in STYLES.items()
}


def parse_plan(text: str, style: str = "full") -> Plan | None:
    """The plan in `text`, or None when the text does not have exactly the sections of the style, in order. Sections
    that the style leaves out are empty."""
    match = _PATTERNS[style].fullmatch(text.strip())
    if match is None:
        return None
    names = [field.name for field in fields(Plan)]
    return Plan(**{names[index]: line for index, line in zip(STYLES[style], match.groups(), strict=True)})
