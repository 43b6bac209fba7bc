"""The fields of requests: one table that reads them and that the OpenAPI description is made of."""

from collections.abc import Container, Iterable, Mapping
from typing import Any

from dimrt.request import CHOICES, MAX_FEATHER, MAX_GUIDANCE, MAX_SEED, MAX_STEPS, MAX_TILE
from dimrt.serve.errors import HttpError
from dimrt.serve.field import Field
from dimrt.serve.upload import Form

LONGEST_TEXT = 32_000
LONGEST_PLAN = 64 * 1024
MOST_IMAGES = 10
SIZE_PATTERN = r"^(auto|[1-9]\d{0,4}x[1-9]\d{0,4})$"

OPTIONS = (
    Field("seed", "whole", "Seed of the start noise. The same seed gives the same bytes.", 0, MAX_SEED),
    Field("steps", "whole", "Painter steps; the bundle's own where absent.", 1, MAX_STEPS),
    Field("guidance_scale", "number", "Classifier-free guidance; 1 is off.", 0, MAX_GUIDANCE),
    Field("guidance_interval", "pair", "Guide only steps at noise levels from,to: 0 is clean, 1 is noise.", 0, 1),
    Field("schedule", "choice", "Of a distilled painter: whose steps.", choices=CHOICES["schedule"], default="auto"),
    Field("plan", "text", "A ready plan in place of the designer's own.", 1, LONGEST_PLAN),
    Field("plan_style", "text", "Style of the plan, one that the bundle knows (see /health).", 1, 64),
    Field("think", "flag", "Whether the designer writes a plan.", default=True),
    Field("max_new_tokens", "whole", "Limit of the plan's length in tokens.", 1, 1 << 20),
    Field("plan_view", "choice", "What the designer sees.", choices=CHOICES["plan_view"], default="shared"),
    Field("frame", "choice", "Whole photo or its centre square.", choices=CHOICES["frame"], default="whole"),
    Field("composite", "choice", "How the change reaches full size.", choices=CHOICES["composite"], default="auto"),
    Field("region", "box", "Edit only within x,y,width,height: pixels of the upright photo, or each in percent."),
    Field("feather", "number", "Pixels over which an edit in a mask or region fades in.", 0, MAX_FEATHER),
    Field("closeup", "choice", "Paint once more on a crop.", choices=CHOICES["closeup"], default="auto"),
    Field("tile", "whole", "Side in pixels of the autoencoder's tiles, for less memory.", 1, MAX_TILE),
)  # fmt: skip
"""What `EditOptions` takes, by the same names. `mask` is a file; `previews` belongs to each endpoint."""

JOB = (
    Field("instructions", "text", "What to change. Several are done as one edit.", 1, LONGEST_TEXT,
          many=True, required=True),
    Field("base", "text", "Id of a finished job of this photo: its result is edited, not the photo itself.", 1, 64),
    Field("previews", "flag", "Whether small pictures come while it is painted.", default=True),
    *OPTIONS,
)  # fmt: skip

_SHARED_IMAGE = (
    Field("prompt", "text", "What to change, or what to paint.", 1, LONGEST_TEXT, required=True),
    Field("model", "text", "Accepted and not looked at: the bundle that the server loaded is what runs.", 0, 256),
    Field("n", "whole", "Pictures, with the seeds that follow the first one's.", 1, MOST_IMAGES, default=1),
    Field("size", "text", "auto, or WIDTHxHEIGHT: the picture is then made smaller to fit in it, never larger and "
          "never cropped. The answer says the size it has.", pattern=SIZE_PATTERN, default="auto"),
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


def read_fields(form: Form, fields: Iterable[Field], files: Container[str] = ()) -> dict[str, Any]:
    """Every field that was given, checked; required ones are there.

    Args:
        form: from `read_form`.
        fields: what may be given.
        files: names of files that may be given besides.

    Raises:
        HttpError: 400 for an unknown, missing, doubled or unusable field.
    """
    known = {field.name: field for field in fields}
    _check_names(form.texts, known, files, "send it as a file")
    _check_names(form.files, files, known, "send it as a text field")
    values = {name: known[name].read_all(given, form.is_json) for name, given in form.texts.items()}
    for name, field in known.items():
        if field.required and name not in values:
            raise HttpError(400, f"{name} is missing", param=name, code="missing_parameter")
    return values


def _check_names(given: Iterable[str], right: Container[str], wrong: Container[str], advice: str) -> None:
    for name in given:
        if name in right:
            continue
        short = name[:64]
        if name in wrong:
            raise HttpError(400, f"{short}: {advice}", param=short, code="invalid_value")
        raise HttpError(400, f"unknown field {short!a}", param=short, code="unknown_parameter")


def options_in(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that `EditOptions` takes."""
    return {name: value for name, value in values.items() if name in OPTION_NAMES}
