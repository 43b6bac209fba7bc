"""Bodies of requests: read piece by piece, within the caps and the time allowed.

What goes beyond a cap is neither held nor written: reading stops at the piece that would pass it. Nothing is written to
disk, and file names that a client sends are not looked at.
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from dimrt.serve.errors import HttpError
from dimrt.serve.settings import Settings

MAX_JSON = 1 << 20
MAX_TEXT = 1 << 20
"""Bytes of all text fields of a form."""
MAX_PARTS = 64
MAX_FILES = 16


@dataclass
class Form:
    """A body taken apart.

    Attributes:
        texts: values of each field; those of JSON are as they came, a form's are text.
        files: contents of each file field.
        is_json: whether the values have JSON's types.
    """

    texts: dict[str, list[Any]] = field(default_factory=dict)
    files: dict[str, list[bytes]] = field(default_factory=dict)
    is_json: bool = False


async def read_form(request: Request, settings: Settings) -> Form:
    """The fields of a request, from multipart/form-data or a JSON object.

    Raises:
        HttpError: 400 broken, 408 too slow, 413 too large, 415 of another type.
    """
    kind, details = parse_options_header(request.headers.get("content-type"))
    if kind == b"application/json":
        return await _read_json(request, settings)
    if kind == b"multipart/form-data":
        return await _read_multipart(request, details.get(b"boundary", b""), settings)
    raise HttpError(
        415, "send multipart/form-data or application/json, and say so in Content-Type", code="unsupported_media_type"
    )


async def _read_json(request: Request, settings: Settings) -> Form:
    body = bytearray()
    async for piece in _pieces(request, MAX_JSON, "of a JSON body", settings):
        body += piece
    try:
        values = json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # JSON's and UTF-8's errors are ValueErrors
        raise HttpError(400, "the body isn't valid JSON in UTF-8", code="invalid_json") from error
    if not isinstance(values, dict):
        raise HttpError(400, "the body has to be a JSON object", code="invalid_json")
    return Form({name: [value] for name, value in values.items() if value is not None}, is_json=True)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


async def _read_multipart(request: Request, boundary: bytes, settings: Settings) -> Form:
    if not boundary:
        raise HttpError(400, "Content-Type names no boundary", code="invalid_multipart")
    parts = _Parts()
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        async for piece in _pieces(request, settings.max_upload, "(--max-upload)", settings):
            parser.write(piece)
        parser.finalize()
    except FormParserError as error:
        raise HttpError(400, "the body is not what multipart/form-data looks like", code="invalid_multipart") from error
    if not parts.complete:
        raise HttpError(400, "the body ends before its last boundary", code="invalid_multipart")
    return parts.form


async def _pieces(request: Request, cap: int, what: str, settings: Settings) -> AsyncIterator[bytes]:
    """The body as it comes in, at most `cap` bytes of it; `what` says in an error which limit that is.

    Raises:
        HttpError: 413 beyond the cap (already when Content-Length says so), 408 too slow.
    """
    too_large = HttpError(413, f"the body is larger than the limit of {cap:,} bytes {what}", code="too_large")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > cap:
        raise too_large
    received = 0
    stream = request.stream()
    deadline = asyncio.get_running_loop().time() + settings.body_timeout
    while True:
        left = min(settings.read_timeout, deadline - asyncio.get_running_loop().time())
        try:
            piece = await asyncio.wait_for(anext(stream, None), max(left, 0))
        except asyncio.TimeoutError as error:
            raise HttpError(408, "the body came too slowly", code="timeout") from error
        if piece is None:
            return
        received += len(piece)
        if received > cap:
            raise too_large
        yield piece


class _Parts:
    """Collects the parts of a form as the parser reports them."""

    def __init__(self) -> None:
        self.form = Form()
        self.complete = False
        self._count = 0
        self._text = 0
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._name = ""
        self._is_file = False
        self._content = io.BytesIO()

    def callbacks(self) -> Any:
        """What `MultipartParser` calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._start_content,
            "on_part_data": self._add,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._count += 1
        if self._count > MAX_PARTS:
            raise HttpError(400, f"the form has more than {MAX_PARTS} parts", code="invalid_multipart")
        self._disposition = b""
        self._content = io.BytesIO()

    def _end_header(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _start_content(self) -> None:
        kind, details = parse_options_header(self._disposition)
        if kind != b"form-data" or b"name" not in details:
            raise HttpError(400, "a part of the form has no name", code="invalid_multipart")
        # Clients write lists as `name[]`.
        self._name = details[b"name"].decode(errors="replace").removesuffix("[]")
        self._is_file = b"filename" in details
        if self._is_file and sum(map(len, self.form.files.values())) >= MAX_FILES:
            raise HttpError(400, f"the form has more than {MAX_FILES} files", code="invalid_multipart")

    def _add(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self._text += end - start
            if self._text > MAX_TEXT:
                raise HttpError(413, f"the form has more than {MAX_TEXT:,} bytes of text", code="too_large")
        self._content.write(memoryview(data)[start:end])

    def _end(self) -> None:
        content = self._content.getvalue()
        self._content = io.BytesIO()
        if self._is_file:
            self.form.files.setdefault(self._name, []).append(content)
            return
        try:
            self.form.texts.setdefault(self._name, []).append(content.decode())
        except UnicodeDecodeError as error:
            raise HttpError(400, "a text field isn't UTF-8", param=self._name, code="invalid_text") from error

    def _finish(self) -> None:
        self.complete = True
