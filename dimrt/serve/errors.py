"""Errors as the OpenAI API words them: {"error": {"message", "type", "param", "code"}}."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from dimrt.errors import BundleError, Cancelled, DimrtError, InputError, ResourceError
from dimrt.jobs import QueueFull

RETRY_AFTER = 5
"""Seconds after which a full queue is worth another try."""


class HttpError(Exception):
    """A request that is refused.

    Args:
        status: HTTP status.
        message: what was wrong and what to do.
        param: the field that was wrong.
        code: a word for programs.
        headers: further ones of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        kind = KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """The answer, in ASCII: what it quotes of a request may not be proper text."""
        return Response(json.dumps(self.document()), self.status, self.headers, "application/json")


def busy(message: str) -> HttpError:
    """Too much is waiting: worth another try."""
    return HttpError(429, message, code="queue_full", headers={"retry-after": str(RETRY_AFTER)})


KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def as_http(error: BaseException) -> HttpError:
    """What a caller is told of an error of the editor."""
    match error:
        case HttpError():
            return error
        case QueueFull():
            return busy(str(error))
        case InputError():
            return HttpError(400, str(error), code="invalid_input")
        case BundleError():
            return HttpError(400, str(error), code="wrong_bundle")
        case Cancelled():
            return HttpError(409, "the edit was cancelled", code="cancelled")
        case ResourceError():
            return HttpError(503, str(error), code="out_of_resources")
        case DimrtError():
            return HttpError(400, str(error), code="failed")
        case _:
            return HttpError(500, f"the edit failed: {type(error).__name__}", code="internal_error")
