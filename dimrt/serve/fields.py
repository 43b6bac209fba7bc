"""The fields of requests: one table that reads them and that the OpenAPI description is made of."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dimrt.photo.read import MAX_PIXELS
from dimrt.request import CHOICES, MAX_GUIDANCE, MAX_SEED, MAX_STEPS
from dimrt.serve.errors import HttpError
from dimrt.serve.upload import Form

Kind = Literal["text", "whole", "number", "flag", "choice", "box"]
LONGEST_TEXT = 32_000
LONGEST_PLAN = 64 * 1024
MOST_IMAGES = 10
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Field:
    """One field of a request.

    Attributes:
        name, kind, help: what it is.
        low, high: limits of a number, and of a text's length in characters.
        choices: what a choice may be.
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
    many: bool = False
    required: bool = False
    default: Any = None

    def read(self, value: Any, is_json: bool) -> Any:
        """One value, checked.

        Args:
            value: of JSON as it came; of a form a text.
            is_json: which of the two.

        Raises:
            HttpError: 400, naming the field, what it was given and what it takes.
        """
        try:
            return _READERS[self.kind](self, value, is_json)
        except (ValueError, TypeError, OverflowError) as error:
            raise HttpError(400, f"{self.name}: give {self._takes()}", param=self.name, code="invalid_value") from error

    def schema(self) -> dict[str, Any]:
        """The JSON schema of its value."""
        kinds: dict[Kind, dict[str, Any]] = {
            "text": {"type": "string", "minLength": int(self.low), "maxLength": int(self.high)},
            "whole": {"type": "integer", "minimum": int(self.low), "maximum": int(self.high)},
            "number": {"type": "number", "minimum": self.low, "maximum": self.high},
            "flag": {"type": "boolean"},
            "choice": {"type": "string", "enum": list(self.choices)},
            "box": {"type": "string", "pattern": r"^\d{1,9},\d{1,9},\d{1,9},\d{1,9}$"},
        }
        one = kinds[self.kind]
        if self.many:
            one = {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_INSTRUCTIONS}
        if self.default is not None:
            one["default"] = self.default
        return {**one, "description": self.help}

    def _takes(self) -> str:
        match self.kind:
            case "text":
                return f"a text of {self.low:g} to {self.high:,.0f} characters"
            case "whole":
                return f"a whole number from {self.low:.0f} to {self.high:.0f}"
            case "number":
                return f"a number from {self.low:g} to {self.high:g}"
            case "flag":
                return "true or false"
            case "choice":
                return "one of " + ", ".join(self.choices)
            case "box":
                return "x,y,width,height in pixels of the photo"


def _text(field: Field, value: Any, _is_json: bool) -> str:
    if not isinstance(value, str) or not field.low <= len(value) <= field.high:
        raise ValueError
    value.encode()  # JSON can spell halves of characters, which nothing behind this takes
    return value


def _whole(field: Field, value: Any, is_json: bool) -> int:
    number = _number(field, value, is_json)
    if number != int(number):
        raise ValueError
    return int(value)


def _number(field: Field, value: Any, is_json: bool) -> float:
    if is_json and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise TypeError
    number = value if is_json else float(value) if field.kind == "number" else int(value)
    if not math.isfinite(number) or not field.low <= number <= field.high:
        raise ValueError
    return number


def _flag(_field: Field, value: Any, is_json: bool) -> bool:
    if is_json and not isinstance(value, bool):
        raise TypeError
    return value if is_json else _FLAGS[str(value).lower()] if str(value).lower() in _FLAGS else _no()


def _no() -> bool:
    raise ValueError


def _choice(field: Field, value: Any, _is_json: bool) -> str:
    if value not in field.choices:
        raise ValueError
    return str(value)


def _box(_field: Field, value: Any, _is_json: bool) -> tuple[int, ...]:
    """Four numbers "x,y,width,height"; JSON may give a list."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or len(parts) != 4:
        raise ValueError
    if not all(isinstance(part, str) or (isinstance(part, int) and not isinstance(part, bool)) for part in parts):
        raise TypeError
    numbers = tuple(int(part) for part in parts)
    if not all(0 <= number <= MAX_PIXELS for number in numbers):
        raise ValueError
    return numbers


_READERS: dict[Kind, Callable[[Field, Any, bool], Any]] = {
    "text": _text,
    "whole": _whole,
    "number": _number,
    "flag": _flag,
    "choice": _choice,
    "box": _box,
}

MOST_INSTRUCTIONS = 64

OPTIONS = (
    Field("seed", "whole", "Seed of the start noise. The same seed gives the same bytes.", 0, MAX_SEED),
    Field("steps", "whole", "Painter steps; the bundle's own where absent.", 1, MAX_STEPS),
    Field("guidance_scale", "number", "Classifier-free guidance; 1 is off.", 0, MAX_GUIDANCE),
    Field("schedule", "choice", "Of a distilled painter: whose steps.", choices=CHOICES["schedule"], default="auto"),
    Field("plan", "text", "A ready plan in place of the designer's own.", 1, LONGEST_PLAN),
    Field("plan_style", "text", "Style of the plan, one that the bundle knows (see /health).", 1, 64),
    Field("think", "flag", "Whether the designer writes a plan.", default=True),
    Field("max_new_tokens", "whole", "Limit of the plan's length in tokens.", 1, 1 << 20),
    Field("plan_view", "choice", "What the designer sees.", choices=CHOICES["plan_view"], default="shared"),
    Field("frame", "choice", "Whole photo or its centre square.", choices=CHOICES["frame"], default="whole"),
    Field("composite", "choice", "How the change reaches full size.", choices=CHOICES["composite"], default="auto"),
    Field("region", "box", "Edit only within x,y,width,height, in pixels of the upright photo."),
    Field("feather", "whole", "Pixels over which an edit in a mask or region fades in.", 0, 4096),
    Field("closeup", "choice", "Paint once more on a crop.", choices=("auto", "never", "always"), default="auto"),
)  # fmt: skip
"""What `EditOptions` takes, by the same names. `mask` is a file; `previews` belongs to each endpoint."""

JOB = (
    Field("instructions", "text", "What to change. Several are done as one edit.", 1, LONGEST_TEXT,
          many=True, required=True),
    Field("previews", "flag", "Whether small pictures come while it is painted.", default=True),
    *OPTIONS,
)  # fmt: skip

_SHARED_IMAGE = (
    Field("prompt", "text", "What to change, or what to paint.", 1, LONGEST_TEXT, required=True),
    Field("model", "text", "Accepted and not looked at: the bundle that the server loaded is what runs.", 0, 256),
    Field("n", "whole", "Pictures, with the seeds that follow the first one's.", 1, MOST_IMAGES, default=1),
    Field("size", "text", "auto, or WIDTHxHEIGHT: the picture is then made smaller to fit in it, never larger and "
          "never cropped. The answer says the size it has.", 1, 32, default="auto"),
    Field("output_format", "choice", "Of the picture.", choices=("png", "jpeg", "webp"), default="png"),
    Field("output_compression", "whole", "Quality of JPEG and WebP.", 0, 100, default=95),
    Field("response_format", "choice", "Pictures come in the answer.", choices=("b64_json",), default="b64_json"),
    Field("stream", "flag", "Answer with server-sent events.", default=False),
    Field("partial_images", "whole", "With stream: how many unfinished pictures, at most.", 0, 3, default=0),
    Field("background", "choice", "The photo's own.", choices=("auto",), default="auto"),
    Field("quality", "choice", "Accepted without effect; see steps.",
          choices=("auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"), default="auto"),
    Field("user", "text", "Accepted and dropped.", 0, 1024),
    Field("safety_identifier", "text", "Accepted and dropped.", 0, 1024),
)  # fmt: skip

_NOT_WITHOUT_PHOTO = {"frame", "composite", "region", "feather", "closeup", "plan_view"}

IMAGE_EDIT = (
    *_SHARED_IMAGE,
    Field("input_fidelity", "choice", "Accepted without effect: it is always high.", choices=("high", "low")),
    *OPTIONS,
)  # fmt: skip
IMAGE_GENERATE = (
    *_SHARED_IMAGE,
    Field("moderation", "choice", "Accepted without effect.", choices=("auto", "low")),
    *(field for field in OPTIONS if field.name not in _NOT_WITHOUT_PHOTO),
)
OPTION_NAMES = frozenset(field.name for field in OPTIONS)


def read_fields(form: Form, fields: Iterable[Field], files: Iterable[str] = ()) -> dict[str, Any]:
    """Every field that was given, checked; required ones are there.

    Args:
        form: from `read_form`.
        fields: what may be given.
        files: names of files that may be given besides.

    Raises:
        HttpError: 400 for an unknown, missing, doubled or unusable field.
    """
    known = {field.name: field for field in fields}
    for name in (*form.texts, *form.files):
        if name not in known and name not in files:
            raise HttpError(400, f"unknown field {name[:64]!r}", param=name[:64], code="unknown_parameter")
    for name in form.files:
        if name not in files:
            raise HttpError(400, f"{name} is no file; send it as a text field", param=name, code="invalid_value")
    values = {name: _read(known[name], given, form.is_json) for name, given in form.texts.items() if name in known}
    for name, field in known.items():
        if field.required and name not in values:
            raise HttpError(400, f"{name} is missing", param=name, code="missing_parameter")
    return values


def _read(field: Field, given: list[Any], is_json: bool) -> Any:
    if not field.many:
        if len(given) != 1:
            raise HttpError(400, f"{field.name} is given more than once", param=field.name, code="invalid_value")
        return field.read(given[0], is_json)
    if is_json:
        given = given[0] if isinstance(given[0], list) else given
    if not 1 <= len(given) <= MOST_INSTRUCTIONS:
        raise HttpError(
            400, f"{field.name}: give 1 to {MOST_INSTRUCTIONS} of them", param=field.name, code="invalid_value"
        )
    return [field.read(value, is_json) for value in given]


def options_in(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that `EditOptions` takes."""
    return {name: value for name, value in values.items() if name in OPTION_NAMES}
