"""What every request passes first: the right Host, the right Origin, the token; and what every answer carries.

The token alone keeps other people out. Host and Origin keep pages of other sites out, which run in the browser of
somebody who has the token: a name that is pointed at this machine (DNS rebinding) shows in Host, a form or a script
elsewhere shows in Origin.
"""

import asyncio
import hmac
import ipaddress
import logging
import time
import traceback
from contextlib import suppress
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dimrt.serve.errors import HttpError
from dimrt.serve.settings import Settings

access = logging.getLogger("dimrt.serve.access")
errors = logging.getLogger("dimrt.serve.error")

OPEN_PATHS = {"/", "/health", "/openapi.json", "/favicon.ico"}
"""What needs no token: it says nothing of anybody's photos."""
PAGE_PATH = "/page/"
DRAIN_BYTES = 16 << 20
DRAIN_SECONDS = 2.0
"""How much of a body that nobody reads is thrown away, and for how long, before the connection is closed."""

SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._token = settings.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on; write one line of the access log: no query, no body, no header."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        exchange = _Exchange(scope, receive, send)
        try:
            self._check(scope)
            await self._app(scope, exchange.receive, exchange.send)
        except HttpError as refusal:
            await refusal.response()(scope, exchange.receive, exchange.send)
        except Exception as error:  # the last one who could: the server goes on, and no request's content is logged
            frames = "".join(traceback.format_tb(error.__traceback__))
            errors.error("%s in %s\n%s", type(error).__name__, _path(scope), frames)
            if exchange.status == 0:
                broken = HttpError(500, "an error inside the server", code="internal_error")
                await broken.response()(scope, exchange.receive, exchange.send)
        finally:
            seconds = time.perf_counter() - start
            access.info("%s %s %d %.3fs", scope["method"], _path(scope), exchange.status, seconds)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._host_allowed(host):
            raise HttpError(
                403,
                "this server doesn't answer to the name in the Host header; use the address that it printed, or start "
                "it with --allow-host NAME",
                code="wrong_host",
            )
        origins = headers.getlist("origin")
        if origins and origins not in ([f"http://{host}"], [f"https://{host}"]):
            raise HttpError(403, "requests of other sites' pages are refused (Origin)", code="wrong_origin")
        path = scope["path"]
        if path not in OPEN_PATHS and not path.startswith(PAGE_PATH) and not self._knows_token(headers):
            raise HttpError(
                401,
                "the token is missing or wrong; send the one that the server printed: `Authorization: Bearer TOKEN`",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )

    def _host_allowed(self, host: str) -> bool:
        """Whether the Host header names this server. The port is not looked at: it may be forwarded."""
        name = _name(host)
        if name is None:
            return False
        if name == "localhost" or name in self._settings.hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._settings.public or address.is_loopback

    def _knows_token(self, headers: Headers) -> bool:
        given = headers.getlist("authorization")
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(" ")
        right = hmac.compare_digest(token.strip().encode("latin-1"), self._token)
        return right and scheme.lower() == "bearer"


class _Exchange:
    """The two channels of one request: adds the headers that every answer carries, and ends unread bodies.

    When an answer comes before the body was read (a refusal), the connection is closed after it, for nobody will read
    the rest. It's not closed at once: the client's system would drop the answer together with what it couldn't send.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._send = send
        self._unread = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self.status = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in SECURITY.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
            if self._unread:
                headers["connection"] = "close"
        elif self._unread and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._drain(), DRAIN_SECONDS)
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _drain(self) -> None:
        dropped = 0
        while self._unread and dropped < DRAIN_BYTES:
            dropped += len((await self.receive()).get("body", b""))


def _name(host: str) -> str | None:
    """The name in a Host header, in small letters and without the port; None for what can't be one."""
    text = host.strip().lower()
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        if not bracket:
            return None
    else:
        name, colon, port = text.partition(":")
        rest = colon + port
    if rest and not (rest.startswith(":") and rest[1:].isdigit()):
        return None
    return name.rstrip(".") or None


def _path(scope: Scope) -> str:
    return quote(scope["path"][:200], safe="/._-~")
