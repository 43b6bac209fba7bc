"""The process around the application: the port, the signals, the end."""

import asyncio
import errno
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dimrt.editor import Editor
from dimrt.errors import ResourceError
from dimrt.serve.app import make_app
from dimrt.serve.service import Service
from dimrt.serve.settings import Settings

MOST_CONNECTIONS = 64
QUOTING_LOGGERS = ("uvicorn.access", "python_multipart.multipart")
"""They log queries, and pieces of damaged forms; the guard has a log of its own."""
LAST_SECONDS = 3
"""How long answers may take to end when the server stops."""


def open_port(host: str, port: int) -> socket.socket:
    """A listening socket, taken before anything long is done.

    Args:
        host: name or address of an interface of this machine.
        port: 0 takes a free one.

    Raises:
        ResourceError: the port is taken or not allowed, or there is no such interface.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ResourceError(f"--host {host}: there is no such name or address ({error.strerror})") from error
    listener = socket.socket(family, kind, protocol)
    try:
        if sys.platform == "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # a port that is only bound may be bound by somebody else too
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ResourceError(
                f"port {port} of {host} is taken, perhaps by another dimrt serve; stop that one, or give another "
                "--port (0 takes a free one)"
            ) from error
        raise ResourceError(f"can't listen on {host} port {port}: {error.strerror or error}") from error
    return listener


class Server(uvicorn.Server):
    """Serves one editor until a signal comes or `stop` is called.

    Attributes:
        service: what runs, once it does.
        idle: whether nothing runs on the editor any longer; after the end it may be closed then, and only then.
    """

    def __init__(self, editor: Editor, settings: Settings, on_ready: Callable[[], None]) -> None:
        """Nothing is started yet: see `serve_on`.

        Args:
            editor: runs the edits; it stays the caller's to close.
            settings: limits.
            on_ready: called when requests are answered.
        """
        self._editor = editor
        self._settings = settings
        self._on_ready = on_ready
        self.service: Service | None = None
        self.idle = True
        super().__init__(
            uvicorn.Config(
                self._application,
                http=PatientProtocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=MOST_CONNECTIONS,
                timeout_keep_alive=int(settings.read_timeout),
                timeout_graceful_shutdown=LAST_SECONDS,
            )
        )

    def serve_on(self, listener: socket.socket) -> None:
        """Serve on a socket from `open_port` until the end."""
        for name in QUOTING_LOGGERS:
            logging.getLogger(name).disabled = True
        self.run(sockets=[listener])

    def stop(self) -> None:
        """Stop from any thread: running edits are cancelled, their callers are told."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Make the application in this loop, then listen."""
        self.service = Service(self._editor, self._settings)
        self._app = make_app(self.service)
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cancel the edits first: the streams that uvicorn waits for end with them."""
        assert self.service is not None
        closing = asyncio.ensure_future(asyncio.to_thread(self.service.jobs.close, timeout=LAST_SECONDS))
        await super().shutdown(sockets)
        self.idle = await closing

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at the first signal, and at once at the second; a stop that was asked for is a good end."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self.force_exit = self.should_exit
            self.should_exit = True

        names = ("SIGINT", "SIGTERM", "SIGBREAK")
        before: dict[int, Any] = {}
        with suppress(ValueError):  # signals come to the main thread only
            for name in names:
                number = getattr(signal, name, None)
                if number is not None:
                    before[number] = signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class PatientProtocol(H11Protocol):
    """HTTP with a limit on how long a client may take for the head of a request; bodies have their own."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        timer, self.timeout_keep_alive_task = self.timeout_keep_alive_task, None
        super().data_received(data)
        if timer is None:
            return
        head_is_there = self.cycle is not None and not self.cycle.response_complete
        if head_is_there or self.timeout_keep_alive_task is not None or self.transport.is_closing():
            timer.cancel()
        else:
            self.timeout_keep_alive_task = timer  # still the same head: its time goes on
