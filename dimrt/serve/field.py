"""One field of a request: how it's read from a form or from JSON, and how it's described."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from dimrt.serve.errors import HttpError

Kind = Literal["text", "whole", "number", "flag", "choice", "box", "pair"]
MOST_VALUES = 64
"""Of a field that may be given several times."""
LONGEST_NUMBER = 32
_SHARE = r"\d{1,9}(\.\d{1,9})?%?"
_LEVEL = r"\d{1,9}(\.\d{1,15})?"
PAIR_PATTERN = rf"^{_LEVEL},{_LEVEL}$"
BOX_PATTERN = rf"^{_SHARE},{_SHARE},{_SHARE},{_SHARE}$"
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Field:
    """One field of a request.

    Attributes:
        name, kind, help: what it is.
        low, high: limits of a number, and of a text's length in characters.
        choices: what a choice may be.
        pattern: what a text has to look like.
        many: whether it may be given several times (in JSON: a list).
        required: whether a request without it is refused.
        default: what its absence means, as told in the description.
    """

    name: str
    kind: Kind
    help: str
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()
    pattern: str = ""
    many: bool = False
    required: bool = False
    default: Any = None

    def read(self, value: Any, is_json: bool) -> Any:
        """One value, checked.

        Args:
            value: of JSON as it came; of a form a text.
            is_json: which of the two.

        Raises:
            HttpError: 400, naming the field and what it takes.
        """
        try:
            return _READERS[self.kind](self, value, is_json)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise self.refused(f"give {self._takes()}") from error

    def read_all(self, given: list[Any], is_json: bool) -> Any:
        """Everything that was given under this name: one value, or a list of those of a field that takes many.

        Raises:
            HttpError: 400, also for too many or none.
        """
        if not self.many:
            if len(given) != 1:
                raise self.refused("it is given more than once")
            return self.read(given[0], is_json)
        values = given[0] if is_json and isinstance(given[0], list) else given
        if not 1 <= len(values) <= MOST_VALUES:
            raise self.refused(f"give 1 to {MOST_VALUES} of them")
        return [self.read(value, is_json) for value in values]

    def refused(self, problem: str) -> HttpError:
        """The error that names this field."""
        return HttpError(400, f"{self.name}: {problem}", param=self.name, code="invalid_value")

    def schema(self) -> dict[str, Any]:
        """The JSON schema of what is given."""
        one = self._schema()
        if self.many:
            one = {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_VALUES}
        if self.default is not None:
            one["default"] = self.default
        return {**one, "description": self.help}

    def _schema(self) -> dict[str, Any]:
        match self.kind:
            case "text" if self.pattern:
                return {"type": "string", "pattern": self.pattern}
            case "text":
                return {"type": "string", "minLength": int(self.low), "maxLength": int(self.high)}
            case "whole":
                return {"type": "integer", "minimum": int(self.low), "maximum": int(self.high)}
            case "number":
                return {"type": "number", "minimum": self.low, "maximum": self.high}
            case "flag":
                return {"type": "boolean"}
            case "choice":
                return {"type": "string", "enum": list(self.choices)}
            case "box":
                return {"type": "string", "pattern": BOX_PATTERN}
            case "pair":
                return {"type": "string", "pattern": PAIR_PATTERN}

    def _takes(self) -> str:
        match self.kind:
            case "text" if self.pattern:
                return self.help[0].lower() + self.help[1:]
            case "text":
                return f"a text of {self.low:.0f} to {self.high:,.0f} characters"
            case "whole":
                return f"a whole number from {self.low:.0f} to {self.high:.0f}"
            case "number":
                return f"a number from {self.low:g} to {self.high:g}"
            case "flag":
                return "true or false"
            case "choice":
                return "one of " + ", ".join(self.choices)
            case "box":
                return "x,y,width,height in pixels of the photo, or each in percent of its sides"
            case "pair":
                return f"two numbers from {self.low:g} to {self.high:g} with a comma between them, the lower first"


def _text(field: Field, value: Any, _is_json: bool) -> str:
    if not isinstance(value, str):
        raise TypeError
    if not (re.search(field.pattern, value) if field.pattern else field.low <= len(value) <= field.high):
        raise ValueError
    value.encode()  # JSON can spell halves of characters, which nothing behind this takes
    return value


def _whole(field: Field, value: Any, is_json: bool) -> int:
    if is_json and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise TypeError
    if len(str(value)) > LONGEST_NUMBER or value != value:
        raise ValueError
    number = int(value)
    if (is_json and number != value) or not field.low <= number <= field.high:
        raise ValueError
    return number


def _number(field: Field, value: Any, is_json: bool) -> float:
    if is_json and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise TypeError
    number = float(value)
    if not math.isfinite(number) or not field.low <= number <= field.high:
        raise ValueError
    return number


def _flag(_field: Field, value: Any, is_json: bool) -> bool:
    if not is_json:
        return _FLAGS[value.lower()]
    if not isinstance(value, bool):
        raise TypeError
    return value


def _choice(field: Field, value: Any, _is_json: bool) -> str:
    if value not in field.choices:
        raise ValueError
    return str(value)


def _box(_field: Field, value: Any, is_json: bool) -> str:
    """Four numbers as a text; JSON may give a list."""
    text = ",".join(str(part) for part in value) if is_json and isinstance(value, list) else value
    if not isinstance(text, str):
        raise TypeError
    if re.search(BOX_PATTERN, text) is None:
        raise ValueError
    return text


def _pair(field: Field, value: Any, is_json: bool) -> tuple[float, float]:
    """Two numbers as a text; JSON may give a list."""
    text = ",".join(str(part) for part in value) if is_json and isinstance(value, list) else value
    if not isinstance(text, str):
        raise TypeError
    if re.search(PAIR_PATTERN, text) is None:
        raise ValueError
    low, high = (float(part) for part in text.split(","))
    if not field.low <= low <= high <= field.high:
        raise ValueError
    return low, high


_READERS: dict[Kind, Callable[[Field, Any, bool], Any]] = {
    "text": _text,
    "whole": _whole,
    "number": _number,
    "flag": _flag,
    "choice": _choice,
    "box": _box,
    "pair": _pair,
}
