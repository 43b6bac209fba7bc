"""What is said between `dimrt worker` and the program that embeds it. Version 1.

**Messages.** Both directions of a pair of byte streams (the worker's stdin and stdout, or two named pipes) carry
messages, one after the other, nothing between them:

    4 bytes   H, length of the header      big endian, 2 to 1,048,576
    8 bytes   P, length of the parts       big endian, 0 to 1,073,741,824
    H bytes   the header: a JSON object in UTF-8
    P bytes   the parts: binary data, one piece after the other

A header with parts names them in order: `"parts": [["photo", 348122], ["mask", 2210]]`. Every other field is given
below. A request with a field that isn't is refused; a reader of answers should pass over fields and types it doesn't
know.

**From the program.** `id` is a whole number or a string of up to 64 characters, unused among the requests that are not
yet answered. A picture is either a field with the path of a file (`"photo": "C:/a.jpg"`; relative paths are relative to
the worker's folder) or a part of that name with a file's bytes.

| type | fields | answered by |
|---|---|---|
| `edit` | `id`, `instructions` (a list, carried out as one), the photo as `photo` or as `session`, maybe `mask`, \
`options`, `output`, `events` | `result` |
| `generate` | `id`, `prompt`, maybe `options`, `output`, `events` | `result` |
| `plan` | `id`, `instructions`, the photo as for `edit`, maybe `options`, `events` | `result` with `plan` |
| `open` | `id`, `session` (a name of the program's choice), `photo` | `opened` |
| `close` | `session` | nothing: the photo is forgotten |
| `cancel` | `id` of the request to stop | nothing: the request itself is answered |
| `ping` | `id` | `pong` |
| `shutdown` | | `bye`, then the worker ends |

- `options`: of `dimrt.EditOptions`, by name, without `mask`; `region` is [left, top, width, height].
- `output`: `{"format": "PNG", "quality": 95}` sends the picture as the part `image`; `{"path": "C:/b.png", "quality":
  95}` has the worker write it, in the format of the suffix, with the photo's metadata, whole or not at all.
- `events`: whether `event` messages are wanted.
- Jobs (`edit`, `generate`, `plan`, `open`) run one at a time in their order. An open photo serves any number of edits,
  each from the original, and a request may name it as soon as `open` was sent.

**From the worker.**

| type | fields |
|---|---|
| `hello` | first of all: `protocol` (1), `dimrt` (version), `requests` (the types it takes), `formats` (of `output`), \
`limits` (`header`, `payload`, `waiting` jobs, open `sessions`), `pid` |
| `ready` | the bundle and its graphs are loaded: `bundle`, `provider`, `task` ("edit" or "generate"), `plan_styles`. \
Requests may come before |
| `event` | `id`, `number` (from 0), `event` as `dimrt.wire.event_json` says |
| `result` | `id`; of a picture `result` as `dimrt.wire.result_json` says, `notes` for the user, and the part `image` \
with its `format`, or `path`; of a plan `plan` (`text`, `style`, `sections`) |
| `opened` | `id`, `photo` (`width`, `height`, `depth`, `notes`) |
| `cancelled` | `id`: the request was cancelled and has no result |
| `error` | `id` (null when it belongs to no request), `error` (`type`, `message`), maybe `fatal` |
| `pong`, `bye` | `id` of the ping; nothing |

Each request is answered exactly once, whatever happens: `result`, `opened` or `pong`; `cancelled`; or `error`.

**When something is wrong.** A header that isn't JSON, a request of an unknown type, an unknown option: an `error`, and
the next message is read. Lengths over the limits, or a stream that ends inside a message: the place where the next
message begins is lost, an `error` with `fatal` is sent and the worker ends with status 2. A bundle that can't be
loaded: the same, with the status of `dimrt edit`. The end of the worker's input (its parent died) cancels everything,
and the worker ends with status 0.
"""

from dataclasses import fields
from typing import Any, Literal

import msgspec

from dimrt.errors import InputError
from dimrt.options import EditOptions

Id = int | str
MAX_ID = 64
"""Characters of a request's id."""


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a picture goes: into the answer, or to a file."""

    path: str | None = None
    format: str = "PNG"
    quality: int = 95


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`dimrt.EditOptions` as JSON; the mask comes as a picture."""

    steps: int | None = None
    guidance_scale: float | None = None
    guidance_interval: tuple[float, float] | None = None
    schedule: Literal["auto", "student", "teacher"] = "auto"
    seed: int | None = None
    plan: str | None = None
    plan_style: str | None = None
    think: bool = True
    max_new_tokens: int | None = None
    plan_view: Literal["shared", "native"] = "shared"
    frame: Literal["whole", "crop"] = "whole"
    composite: Literal["auto", "tone", "local", "painted", "none"] = "auto"
    region: tuple[int, int, int, int] | None = None
    feather: int | None = None
    closeup: Literal["auto", "never", "always"] = "auto"
    tile: int | None = None
    previews: bool = False

    def resolve(self) -> EditOptions:
        """As the editor takes them, without a mask."""
        names = (field.name for field in fields(EditOptions) if field.name != "mask")
        return EditOptions(**{name: getattr(self, name) for name in names})


class Edit(msgspec.Struct, tag="edit", frozen=True, forbid_unknown_fields=True):
    """Edit a photo."""

    id: Id
    instructions: tuple[str, ...]
    photo: str | None = None
    session: str | None = None
    mask: str | None = None
    options: Options = Options()
    output: Output = Output()
    events: bool = False


class Generate(msgspec.Struct, tag="generate", frozen=True, forbid_unknown_fields=True):
    """Paint from a prompt."""

    id: Id
    prompt: str
    options: Options = Options()
    output: Output = Output()
    events: bool = False


class Plan(msgspec.Struct, tag="plan", frozen=True, forbid_unknown_fields=True):
    """Write the plan of an edit."""

    id: Id
    instructions: tuple[str, ...]
    photo: str | None = None
    session: str | None = None
    options: Options = Options()
    events: bool = False


class Open(msgspec.Struct, tag="open", frozen=True, forbid_unknown_fields=True):
    """Keep a photo."""

    id: Id
    session: str
    photo: str | None = None


class Close(msgspec.Struct, tag="close", frozen=True, forbid_unknown_fields=True):
    """Forget a photo."""

    session: str
    id: Id | None = None


class Cancel(msgspec.Struct, tag="cancel", frozen=True, forbid_unknown_fields=True):
    """Stop a request."""

    id: Id


class Ping(msgspec.Struct, tag="ping", frozen=True, forbid_unknown_fields=True):
    """Say something."""

    id: Id


class Shutdown(msgspec.Struct, tag="shutdown", frozen=True, forbid_unknown_fields=True):
    """End."""


Job = Edit | Generate | Plan | Open
Request = Job | Close | Cancel | Ping | Shutdown
REQUESTS = ("edit", "generate", "plan", "open", "close", "cancel", "ping", "shutdown")


def request_id(header: dict[str, Any]) -> Id | None:
    """The id of a request that may be wrong otherwise; None when the id is what is wrong."""
    found = header.get("id")
    if isinstance(found, str):
        return found if len(found) <= MAX_ID else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def parse_request(header: dict[str, Any]) -> Request:
    """Check a header.

    Raises:
        InputError: it is no request; the message names the field.
    """
    kind = header.get("type")
    if kind not in REQUESTS:
        raise InputError(f"unknown request {kind!r}; send one of {', '.join(REQUESTS)}")
    try:
        request: Request = msgspec.convert(header, type=Request)
    except msgspec.ValidationError as error:
        raise InputError(f"request `{kind}`: {error}") from None
    if "id" in header and request_id(header) is None:
        raise InputError(f"request `{kind}`: the id is too long; give a number or up to {MAX_ID} characters")
    return request
