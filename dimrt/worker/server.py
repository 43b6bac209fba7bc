"""The worker's loop: requests in, jobs in the queue, answers out. `dimrt.worker.protocol` says what is spoken."""

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

from dimrt.editor import Editor
from dimrt.errors import Cancelled, DimrtError, InputError, ResourceError
from dimrt.jobs import Jobs, QueueFull
from dimrt.photo.write import FORMATS
from dimrt.version import __version__
from dimrt.wire import error_json, event_json
from dimrt.worker import protocol, tasks
from dimrt.worker.client import (
    MAX_HEADER,
    MAX_PAYLOAD,
    PROTOCOL,
    FramingError,
    HeaderError,
    Message,
    pack_message,
    read_message,
    write_message,
)
from dimrt.worker.requests import Pending, answer, check_destination, check_parts, work

MAX_SESSIONS = 8
"""Photos that may be open at once; each holds its pixels in memory."""
INBOX = 64
"""Messages read ahead of the loop."""
GRACE = 3.0
"""Seconds at the end for files that are just being written."""
FRAMING_LOST = 2


@dataclass(frozen=True)
class Loaded:
    """Said to the loop: the editor is there."""

    editor: Editor


@dataclass(frozen=True)
class Refused:
    """Said to the loop: the editor could not be loaded."""

    error: BaseException


class End:
    """Said to the loop: the program is gone."""


News = Message | HeaderError | FramingError | Loaded | Refused | End


class Server:
    """One worker on a pair of byte streams."""

    def __init__(self, source: BinaryIO, sink: BinaryIO, limit: int = 16) -> None:
        """Nothing is read or written before `run`.

        Args:
            source, sink: where messages come from and go to.
            limit: how many jobs may wait.
        """
        self._source = source
        self._sink = sink
        self._limit = limit
        self._inbox: queue.Queue[News] = queue.Queue(INBOX)
        self._writing = threading.Lock()
        self._lock = threading.Lock()
        self._pending: dict[protocol.Id, Pending] = {}
        self._sessions: dict[str, tasks.Opened] = {}
        self._jobs: Jobs | None = None
        self._followers: set[threading.Thread] = set()
        self._gone = threading.Event()
        """Nobody reads any more."""

    def run(self, load: Callable[[], Editor]) -> int:
        """Serve until the program shuts the worker down or is gone.

        Args:
            load: opens the editor; called in a thread of its own, so that a program that leaves meanwhile is noticed.

        Returns:
            The status to exit with. Threads may still be at work on what nobody waits for: leave by `os._exit`.
        """
        self._send(_hello(self._limit))
        for name, task in (("dimrt-requests", self._read), ("dimrt-load", lambda: self._load(load))):
            threading.Thread(target=task, name=name, daemon=True).start()
        while True:
            status = self._take(self._inbox.get())
            if self._gone.is_set():
                status = 0
            if status is not None:
                self._finish()
                return status

    def _read(self) -> None:
        """The thread that reads requests."""
        while True:
            try:
                message = read_message(self._source)
            except HeaderError as error:
                self._inbox.put(error)
                continue
            except FramingError as error:
                self._inbox.put(error)
                return
            except MemoryError:
                self._inbox.put(FramingError("a message was too large for the memory that is left"))
                return
            except (OSError, ValueError):
                message = None
            if message is None:
                self._inbox.put(End())
                return
            self._inbox.put(message)

    def _load(self, load: Callable[[], Editor]) -> None:
        try:
            self._inbox.put(Loaded(load()))
        except Exception as error:  # whatever it is, the program hears of it and the process ends
            self._inbox.put(Refused(error))

    def _take(self, news: News) -> int | None:
        """Deal with one piece of news; the status to exit with when it was the last."""
        match news:
            case Message(header, parts):
                return self._request(header, parts)
            case HeaderError():
                self._error(None, InputError(f"a message was not understood: {news}"))
            case FramingError():
                self._send({"type": "error", "id": None, "fatal": True, **error_json(InputError(str(news)))})
                return FRAMING_LOST
            case Loaded(editor):
                self._begin(editor)
            case Refused(error):
                for pending in list(self._pending.values()):
                    self._forget(pending)
                    self._send({"type": "error", "id": pending.request.id, **error_json(error)})
                self._send({"type": "error", "id": None, "fatal": True, **error_json(error)})
                return error.exit_code if isinstance(error, DimrtError) else 1
            case End():
                return 0
        return None

    def _begin(self, editor: Editor) -> None:
        """The editor is there: say so, and start what was asked for meanwhile."""
        facts = editor.bundle.manifest
        self._jobs = Jobs(editor, self._limit + 1)
        ready = {"bundle": facts.name, "provider": editor.provider, "task": facts.painter.task}
        self._send({"type": "ready", **ready, "plan_styles": list(facts.designer.prompt.requests)})
        for pending in list(self._pending.values()):
            self._submit(pending)

    def _request(self, header: dict[str, Any], parts: dict[str, bytes]) -> int | None:
        try:
            request = protocol.parse_request(header)
            match request:
                case protocol.Shutdown():
                    self._send({"type": "bye"})
                    return 0
                case protocol.Ping(number):
                    self._send({"type": "pong", "id": number})
                case protocol.Cancel(number):
                    self._cancel(number)
                case protocol.Close(session):
                    self._sessions.pop(session, None)
                case _:
                    self._accept(request, parts)
        except (InputError, ResourceError) as error:
            self._error(protocol.request_id(header), error)
        return None

    def _accept(self, request: protocol.Job, parts: dict[str, bytes]) -> None:
        """Check a job's request as far as is possible now, and put it into the queue.

        Raises:
            InputError: it can't be carried out as it is.
            ResourceError: too much waits or is open already.
        """
        with self._lock:
            if request.id in self._pending:
                raise InputError(f"request {request.id!r} is not answered yet; give each request an id of its own")
            if len(self._pending) > self._limit:
                raise QueueFull(f"{self._limit} requests wait already, the most that may; try again later")
        check_parts(request, parts)
        if not isinstance(request, protocol.Open | protocol.Plan):
            check_destination(request.output)
        pending = Pending(request, parts, self._opened(request))
        with self._lock:
            self._pending[request.id] = pending
        if self._jobs is not None:
            self._submit(pending)

    def _opened(self, request: protocol.Job) -> tasks.Opened | None:
        """The open photo that the request is about."""
        if isinstance(request, protocol.Open):
            if request.session not in self._sessions and len(self._sessions) >= MAX_SESSIONS:
                raise ResourceError(f"{MAX_SESSIONS} photos are open, which is the limit; close one first")
            self._sessions[request.session] = tasks.Opened(request.session)
            return self._sessions[request.session]
        if isinstance(request, protocol.Generate) or request.session is None:
            return None
        if request.session not in self._sessions:
            raise InputError(f"session {request.session!r} is not open; send an open request first")
        return self._sessions[request.session]

    def _submit(self, pending: Pending) -> None:
        assert self._jobs is not None
        pending.job = self._jobs.submit(lambda editor: work(editor, pending))
        follower = threading.Thread(target=self._follow, args=(pending,), name="dimrt-answers", daemon=True)
        self._followers.add(follower)
        follower.start()

    def _cancel(self, number: protocol.Id) -> None:
        pending = self._pending.get(number)
        if pending is None:
            return
        pending.cancelled = True
        if pending.job is not None:
            pending.job.cancel()
        elif self._forget(pending):
            self._send({"type": "cancelled", "id": number})

    def _follow(self, pending: Pending) -> None:
        """A thread for each job: pass on its events and its answer. A picture is encoded while the next job runs."""
        request, job = pending.request, pending.job
        assert job is not None
        try:
            wanted = not isinstance(request, protocol.Open) and request.events
            for number, event in enumerate(job.events() if wanted else ()):
                self._send({"type": "event", "id": request.id, "number": number, "event": event_json(event)})
            header, parts = answer(pending, job.result())
        except Cancelled:
            header, parts = {"type": "cancelled"}, {}
        except Exception as error:  # whatever it is, the program has to hear of it
            header, parts = {"type": "error", **error_json(error)}, {}
        self._forget(pending)
        self._send({**header, "id": request.id}, parts)
        self._followers.discard(threading.current_thread())

    def _forget(self, pending: Pending) -> bool:
        """It is being answered: its id is free again, and a photo that could not be opened isn't open."""
        pending.job = None
        opened = pending.opened
        with self._lock:
            failed = isinstance(pending.request, protocol.Open) and opened is not None and opened.session is None
            if failed and opened is not None and self._sessions.get(opened.name) is opened:
                del self._sessions[opened.name]
            return self._pending.pop(pending.request.id, None) is not None

    def _error(self, number: protocol.Id | None, error: DimrtError) -> None:
        self._send({"type": "error", "id": number, **error_json(error)})

    def _send(self, header: dict[str, Any], parts: Mapping[str, bytes] | None = None) -> None:
        pieces = pack_message(header, parts)
        try:
            with self._writing:
                write_message(self._sink, pieces)
        except (OSError, ValueError):  # nobody reads any more, or the stream is closed
            self._gone.set()
            with suppress(queue.Full):  # then there is news enough to wake the loop
                self._inbox.put_nowait(End())

    def _finish(self) -> None:
        """Cancel everything, and give files that are being written the time to be whole or gone."""
        for pending in list(self._pending.values()):
            self._cancel(pending.request.id)
        end = time.monotonic() + GRACE
        if self._jobs is not None:
            self._jobs.close(timeout=GRACE)
        for follower in list(self._followers):
            follower.join(max(0.0, end - time.monotonic()))


def _hello(limit: int) -> dict[str, Any]:
    limits = {"header": MAX_HEADER, "payload": MAX_PAYLOAD, "waiting": limit, "sessions": MAX_SESSIONS}
    return {
        "type": "hello",
        "protocol": PROTOCOL,
        "dimrt": __version__,
        "requests": list(protocol.REQUESTS),
        "formats": sorted(set(FORMATS.values())),
        "limits": limits,
        "pid": os.getpid(),
    }
