"""The five-section plan as text."""

import re
from dataclasses import astuple, dataclass

TITLES = (
    "Edit Instruction",
    "Global Layout Perception",
    "Local Object Perception",
    "Edit Area Localization",
    "Edited Image Imagination",
)
HEADINGS = tuple(f"{number}. {title}:" for number, title in enumerate(TITLES, 1))
_PATTERN = re.compile(r"\n".join(rf"{re.escape(heading)} (.*)" for heading in HEADINGS))


@dataclass(frozen=True)
class Plan:
    """One line for each section: the verbatim instruction, the source, the resolved edit, where, and the result."""

    instruction: str
    layout: str
    edit: str
    area: str
    result: str

    def text(self) -> str:
        return "\n".join(f"{heading} {line}" for heading, line in zip(HEADINGS, astuple(self), strict=True))


def parse_plan(text: str) -> Plan | None:
    """The plan in `text`, or None when the text does not have exactly the five sections in order."""
    match = _PATTERN.fullmatch(text.strip())
    return Plan(*match.groups()) if match else None
