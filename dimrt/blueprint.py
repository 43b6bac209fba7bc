"""The five-section plan that the designer writes and the painter reads: parse and render."""

import re
from dataclasses import dataclass

TITLES = {
    "edit_instruction": "Edit Instruction",
    "global_layout": "Global Layout Perception",
    "local_objects": "Local Object Perception",
    "edit_area": "Edit Area Localization",
    "edited_image": "Edited Image Imagination",
}
"""Field name to section title, in order."""
_WHOLE = re.compile(
    r"\b(whole|entire|full|complete)\s+(picture|image|photo|photograph|scene|frame|shot|canvas)\b|\beverywhere\b",
    re.IGNORECASE,
)
_EXCEPT = re.compile(r"\b(except|excluding|apart from|other than|but|not|without|outside)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Blueprint:
    """A plan. A section that the text lacks is empty; `raw` is the text as it was written.

    Build one by hand with the five sections alone: `raw` may stay empty.
    """

    edit_instruction: str = ""
    global_layout: str = ""
    local_objects: str = ""
    edit_area: str = ""
    edited_image: str = ""
    raw: str = ""

    @classmethod
    def parse(cls, text: str) -> "Blueprint":
        """Read a plan, whatever its numbering, bold marks, heading marks and blank lines.

        A section starts at a line that opens with its title (first such line after the section before) and runs to
        the next section. Text before the first title belongs to no section. Nothing is an error: see `missing`.
        """
        headings: list[tuple[str, re.Match[str]]] = []
        start = 0
        for field, title in TITLES.items():
            heading = _heading(title).search(text, start)
            if heading is not None:
                headings.append((field, heading))
                start = heading.end()
        sections = {}
        for index, (field, heading) in enumerate(headings):
            end = headings[index + 1][1].start() if index + 1 < len(headings) else len(text)
            sections[field] = text[heading.end() : end].strip()
        return cls(**sections, raw=text)

    @property
    def sections(self) -> dict[str, str]:
        """Title to text, in order."""
        return {title: str(getattr(self, field)) for field, title in TITLES.items()}

    @property
    def edits_everything(self) -> bool:
        """Whether the plan's edit area is said to be the whole picture, without exception."""
        return bool(_WHOLE.search(self.edit_area)) and not _EXCEPT.search(self.edit_area)

    @property
    def missing(self) -> tuple[str, ...]:
        """Titles of the sections that are empty."""
        return tuple(title for title, text in self.sections.items() if not text)

    @property
    def text(self) -> str:
        """What the painter is conditioned on: the written text without surrounding white space, else `render()`."""
        return self.raw.strip() or self.render()

    def render(self) -> str:
        """The canonical form, one numbered line a section; sections that are empty are left out."""
        lines = (f"{number}. {title}: {text}" for number, (title, text) in enumerate(self.sections.items(), 1) if text)
        return "\n".join(lines)


def _heading(title: str) -> re.Pattern[str]:
    """A line's start: optional heading, bold or list marks and number, the title, a colon, optional bold marks."""
    words = r"\s+".join(title.split())
    marks = r"(?:[#>*_-]+[ \t]*)*(?:\(?\d+[.):]?[ \t]*)?[*_]*"
    return re.compile(rf"^[ \t]*{marks}{words}[*_ \t]*[:\uff1a][*_]*", re.IGNORECASE | re.MULTILINE)
