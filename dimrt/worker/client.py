"""A client of `dimrt worker`, for programs whose Python can't hold dimrt's packages or that must outlive its crashes.

Copy this one file into your plug-in: Python 3.8 or newer, standard library only, Linux, Windows and macOS.

    with Client(["dimrt", "worker"]) as client:
        result = client.edit("photo.jpg", "make it warmer", on_event=print)
        open("warmer.png", "wb").write(result.image)

The worker starts with the first request and ends with `close`, or when this process does, however that comes about.
When it dies, what it was doing fails with `WorkerDied`, and the next request starts a new one. Everything may be called
from any thread; callbacks come from a thread of the client's own.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import queue
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Union, cast

PROTOCOL = 1
"""Version of the messages, told in the worker's first one."""
MAX_HEADER = 1 << 20
MAX_PAYLOAD = 1 << 30
"""Bytes of a message's header and of its parts together."""
POLL = 0.05
"""Seconds between two looks at a `cancel` while waiting."""
LAST_WORDS = 20
"""Lines of the worker's stderr that are kept for the message of its death."""
PREFIX = struct.Struct(">IQ")
COMMAND = (sys.executable, "-m", "dimrt.cli", "worker")
Source = Union[str, bytes, "os.PathLike[str]"]
"""A photo or a mask: the path of a file, or the bytes of one."""


class WorkerError(Exception):
    """The worker refused or failed a request.

    Attributes:
        kind: the error's class: "InputError", "BundleError", "ResourceError", "QueueFull", "InternalError"...
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class WorkerDied(WorkerError):
    """The worker couldn't be started, or ended before it had answered; the next request starts a new one."""

    def __init__(self, message: str) -> None:
        super().__init__("WorkerDied", message)


class Cancelled(WorkerError):
    """The request was cancelled; there is no result."""

    def __init__(self) -> None:
        super().__init__("Cancelled", "cancelled; nothing was written")


class FramingError(Exception):
    """What comes isn't a message, and where the next one would begin is unknown."""


class HeaderError(Exception):
    """A message whose header can't be understood; the next message can be read."""


class Message(NamedTuple):
    """One message: a JSON object and named pieces of binary data."""

    header: dict[str, Any]
    parts: dict[str, bytes]


def read_message(stream: BinaryIO) -> Message | None:
    """Read one message; None where the stream ends between two.

    Raises:
        FramingError: it's cut off, or its lengths are over the limits.
        HeaderError: the header is no JSON object, or the parts it names aren't there.
    """
    prefix = _read(stream, PREFIX.size)
    if not prefix:
        return None
    if len(prefix) < PREFIX.size:
        raise FramingError("the stream ended inside a message")
    size, rest = PREFIX.unpack(prefix)
    if not 2 <= size <= MAX_HEADER or rest > MAX_PAYLOAD:
        raise FramingError(
            f"not a message: a header of {size:,} and parts of {rest:,} bytes were announced, and 2 to {MAX_HEADER:,} "
            f"and 0 to {MAX_PAYLOAD:,} are possible"
        )
    raw, payload = _read(stream, size), _read(stream, rest)
    if len(raw) < size or len(payload) < rest:
        raise FramingError("the stream ended inside a message")
    return _parse(raw, payload)


def pack_message(header: Mapping[str, Any], parts: Mapping[str, bytes] | None = None) -> list[bytes]:
    """A message as the pieces to write, one after the other.

    Raises:
        TypeError, ValueError: the header can't be put as JSON, or the message is over the limits.
    """
    pieces = dict(parts or {})
    document = {**header, "parts": [[name, len(piece)] for name, piece in pieces.items()]} if pieces else header
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    raw = text.encode("utf-8", "replace")
    rest = sum(len(piece) for piece in pieces.values())
    if len(raw) > MAX_HEADER or rest > MAX_PAYLOAD:
        raise ValueError(
            f"a message has a header of {len(raw):,} and parts of {rest:,} bytes; {MAX_HEADER:,} and {MAX_PAYLOAD:,} "
            "are possible: name files by their paths instead of sending them"
        )
    return [PREFIX.pack(len(raw), rest) + raw, *pieces.values()]


def write_message(stream: BinaryIO, pieces: Sequence[bytes]) -> None:
    """Write a packed message and flush."""
    for piece in pieces:
        stream.write(piece)
    stream.flush()


def _read(stream: BinaryIO, size: int) -> bytes:
    """So many bytes, fewer only at the end of the stream."""
    data = stream.read(size)
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            break
        data += more
    return data


def _parse(raw: bytes, payload: bytes) -> Message:
    try:
        header = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"the header isn't JSON: {error}") from None
    if not isinstance(header, dict):
        raise HeaderError("the header isn't a JSON object")
    parts: dict[str, bytes] = {}
    start = 0
    named = header.pop("parts", [])
    for item in named if isinstance(named, list) else [None]:
        if not (isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and type(item[1]) is int):
            raise HeaderError("parts isn't a list of [name, bytes]")
        if item[1] < 0 or item[0] in parts:
            raise HeaderError(f"part {item[0]!r} is there twice or has a negative length")
        parts[item[0]] = payload[start : start + item[1]]
        start += item[1]
    if start != len(payload):
        raise HeaderError(f"the parts have {start:,} bytes by the header, and {len(payload):,} came")
    return Message(header, parts)


@dataclass(frozen=True)
class Result:
    """A finished picture.

    Attributes:
        info: what it is and how it came to be (width, height, plan, seed, steps, composite, seconds, ...).
        image: the encoded picture, or None when the worker wrote it to `path`.
        path: the file that the worker wrote, or None.
        notes: what reading and writing had to decide, for the user.
    """

    info: dict[str, Any]
    image: bytes | None = field(repr=False, default=None)
    path: str | None = None
    notes: tuple[str, ...] = ()


class Handle:
    """One request on its way. Not made by hand."""

    def __init__(self, number: int, on_event: Callable[[dict[str, Any]], None] | None) -> None:
        self.id = number
        self._on_event = on_event
        self._over = threading.Event()
        self._answer: Message | None = None
        self._error: BaseException | None = None
        self._process: _Process | None = None

    @property
    def done(self) -> bool:
        """Whether `result` returns (or raises) at once."""
        return self._over.is_set()

    def cancel(self) -> None:
        """Stop it, in whatever phase; returns at once, and `result` then raises Cancelled unless it was over before."""
        if self._process is not None and not self.done:
            self._process.send({"type": "cancel", "id": self.id})

    def result(self, timeout: float | None = None) -> Result:
        """The picture. Never call this from `on_event`.

        Raises:
            WorkerError: what went wrong (WorkerDied, Cancelled).
            TimeoutError: it isn't there after `timeout` seconds; it goes on.
        """
        message = self.answer(timeout)
        header = message.header
        return Result(
            header.get("result", {}), message.parts.get("image"), header.get("path"), tuple(header.get("notes", ()))
        )

    def answer(self, timeout: float | None = None) -> Message:
        """The answer as it came; errors as for `result`."""
        if not self._over.wait(timeout):
            raise TimeoutError(f"request {self.id} is not finished after {timeout:g} seconds")
        if self._error is not None:
            raise self._error
        assert self._answer is not None
        return self._answer

    def _wait(self, cancel: Any, timeout: float | None) -> None:
        """Wait while looking at `cancel`; cancels the request when the time is over."""
        end = None if timeout is None else time.monotonic() + timeout
        told = False
        try:
            while not self._over.wait(POLL):
                if not told and cancel is not None and cancel.is_set():
                    told = True
                    self.cancel()
                if end is not None and time.monotonic() >= end:
                    raise TimeoutError(f"request {self.id} was not finished after {timeout:g} seconds and is cancelled")
        except BaseException:  # Ctrl-C too: nobody waits for it any more
            self.cancel()
            raise

    def _event(self, event: dict[str, Any]) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:  # of the caller's own function: it ends this request and no other
            self.cancel()
            self._end(error=error)

    def _end(self, answer: Message | None = None, error: BaseException | None = None) -> None:
        if not self.done:
            self._answer, self._error = answer, error
            self._on_event = None
            self._over.set()


class Client:
    """A worker process and the requests to it. Starts nothing before the first request.

    Args:
        command: the worker's command line, such as ["dimrt", "worker", "--bundle", "DIR"].
        start_timeout: seconds in which a started worker has to say its name.
        env, cwd: of the process, as for `subprocess.Popen`.
        on_log: called with each line that the worker prints on stderr.
    """

    def __init__(
        self,
        command: Sequence[str] = COMMAND,
        *,
        start_timeout: float = 60.0,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        on_log: Callable[[str], None] | None = None,
    ) -> None:
        self._start: Callable[[], _Process] = lambda: _Process(list(command), start_timeout, env, cwd, on_log)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._closed = False

    def edit(
        self,
        photo: Source,
        instruction: str | Sequence[str],
        *,
        mask: Source | None = None,
        options: Mapping[str, Any] | None = None,
        format: str = "PNG",
        quality: int = 95,
        save_to: str | os.PathLike[str] | None = None,
        on_event: Callable[[dict[str, Any]], None] | None = None,
        cancel: Any = None,
        timeout: float | None = None,
    ) -> Result:
        """Edit a photo and wait for the result.

        Args:
            photo: path or bytes of a file.
            instruction: what to change, in words; several are carried out as one.
            mask: of the photo's size; its transparent part, or where it has none its white part, is edited.
            options: of the edit, by the names of `dimrt.EditOptions` (seed, steps, region, previews, ...).
            format: of the result: "PNG", "JPEG", "WEBP", "TIFF", ...
            quality: of JPEG, WebP, AVIF and HEIF.
            save_to: a file that the worker writes, in the format of its suffix, in place of sending the picture.
            on_event: called with each event (`{"type": "progress", "phase": "paint", "done": 3}`, ...).
            cancel: looked at while waiting; anything with `is_set()`, such as a `threading.Event`.
            timeout: seconds after which the edit is cancelled.

        Raises:
            WorkerError: the worker refused or failed; WorkerDied: it ended; Cancelled: `cancel` was set.
            TimeoutError: it took longer than `timeout`.
        """
        handle = self.submit(
            photo,
            instruction,
            mask=mask,
            options=options,
            format=format,
            quality=quality,
            save_to=save_to,
            on_event=on_event,
        )
        handle._wait(cancel, timeout)
        return handle.result()

    def submit(
        self,
        photo: Source,
        instruction: str | Sequence[str],
        *,
        mask: Source | None = None,
        options: Mapping[str, Any] | None = None,
        format: str = "PNG",
        quality: int = 95,
        save_to: str | os.PathLike[str] | None = None,
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> Handle:
        """Have a photo edited, without waiting. Arguments as for `edit`."""
        header, parts = _edit(instruction, mask, options, _output(format, quality, save_to))
        _put(header, parts, "photo", photo)
        return self._request(header, parts, on_event)

    def generate(
        self,
        prompt: str,
        *,
        options: Mapping[str, Any] | None = None,
        format: str = "PNG",
        quality: int = 95,
        save_to: str | os.PathLike[str] | None = None,
        on_event: Callable[[dict[str, Any]], None] | None = None,
        cancel: Any = None,
        timeout: float | None = None,
    ) -> Result:
        """Paint a picture from a prompt, with a worker whose bundle is made for that. Arguments as for `edit`."""
        header = {"type": "generate", "prompt": prompt, "output": _output(format, quality, save_to)}
        handle = self._request({**header, "options": dict(options or {})}, {}, on_event)
        handle._wait(cancel, timeout)
        return handle.result()

    def plan(
        self,
        photo: Source,
        instruction: str | Sequence[str],
        *,
        options: Mapping[str, Any] | None = None,
        on_event: Callable[[dict[str, Any]], None] | None = None,
        cancel: Any = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """The plan of an edit, without painting it: {"text", "style", "sections"}. Arguments as for `edit`."""
        header, parts = _edit(instruction, None, options, None)
        _put(header, parts, "photo", photo)
        handle = self._request({**header, "type": "plan"}, parts, on_event)
        handle._wait(cancel, timeout)
        plan: dict[str, Any] = handle.answer().header["plan"]
        return plan

    def open(self, photo: Source, timeout: float | None = None) -> OpenPhoto:
        """Open a photo to edit it several times: from the second edit on nothing is computed of the photo itself."""
        return OpenPhoto(self, photo, timeout)

    def start(self, timeout: float | None = None) -> dict[str, Any]:
        """Start the worker if it isn't running, wait until its bundle is loaded, and return what it says of itself."""
        process = self._live()
        if not process.ready.wait(timeout):
            raise TimeoutError(f"the dimrt worker is not ready after {timeout:g} seconds")
        if process.died is not None:
            raise process.died
        return dict(process.facts)

    def ping(self, timeout: float | None = 10.0) -> None:
        """Return when the worker has answered.

        Raises:
            TimeoutError: it hasn't, after `timeout` seconds; `kill` it if it should have.
        """
        self._request({"type": "ping"}, {}, None).answer(timeout)

    def kill(self) -> None:
        """End the worker at once; what it was doing fails with WorkerDied, the next request starts a new one."""
        with self._lock:
            process = self._process
        if process is not None:
            process.kill("was killed by its client")
            process.gone.wait()

    def close(self, timeout: float = 5.0) -> None:
        """Cancel everything and end the worker, by force when it is still there after `timeout` seconds."""
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            process.close(timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _live(self) -> _Process:
        """The running process, started if there is none."""
        with self._lock:
            if self._closed:
                raise WorkerError("Closed", "the client is closed")
            if self._process is None or self._process.died is not None:
                self._process = self._start()
            return self._process

    def _request(
        self,
        header: Mapping[str, Any],
        parts: Mapping[str, bytes],
        on_event: Callable[[dict[str, Any]], None] | None,
        process: _Process | None = None,
    ) -> Handle:
        handle = Handle(next(self._numbers), on_event)
        document = {**header, "id": handle.id, "events": on_event is not None}
        if header["type"] in ("ping", "open", "close"):
            del document["events"]
        while not (process or self._live()).send(document, parts, handle):
            if process is not None:
                raise process.died or WorkerDied("the dimrt worker has ended")
        return handle


class OpenPhoto:
    """A photo that the worker keeps, with what it has computed of it. From `Client.open`; a context manager.

    When the worker had to be started anew, the photo is sent to it again with the next edit.

    Attributes:
        info: {"width", "height", "depth", "notes"}.
    """

    def __init__(self, client: Client, photo: Source, timeout: float | None) -> None:
        self._client = client
        self._photo = photo
        self._name = f"photo-{next(client._numbers)}"
        self._process: _Process | None = None
        self._lock = threading.Lock()
        opened = self._open(client._live())
        opened._wait(None, timeout)
        self.info: dict[str, Any] = opened.answer().header["photo"]

    def edit(
        self,
        instruction: str | Sequence[str],
        *,
        mask: Source | None = None,
        options: Mapping[str, Any] | None = None,
        format: str = "PNG",
        quality: int = 95,
        save_to: str | os.PathLike[str] | None = None,
        on_event: Callable[[dict[str, Any]], None] | None = None,
        cancel: Any = None,
        timeout: float | None = None,
    ) -> Result:
        """Edit the photo as it was opened, and wait. Arguments and errors as for `Client.edit`."""
        handle = self.submit(
            instruction,
            mask=mask,
            options=options,
            format=format,
            quality=quality,
            save_to=save_to,
            on_event=on_event,
        )
        handle._wait(cancel, timeout)
        return handle.result()

    def submit(
        self,
        instruction: str | Sequence[str],
        *,
        mask: Source | None = None,
        options: Mapping[str, Any] | None = None,
        format: str = "PNG",
        quality: int = 95,
        save_to: str | os.PathLike[str] | None = None,
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> Handle:
        """The same without waiting. To undo, leave the last instruction out: edits always start from the original."""
        header, parts = _edit(instruction, mask, options, _output(format, quality, save_to))
        header["session"] = self._name
        with self._lock:
            process = self._client._live()
            if process is not self._process:
                self._open(process)
        return self._client._request(header, parts, on_event, process)

    def close(self) -> None:
        """Let the worker forget it."""
        process = self._process
        if process is not None and not process.gone.is_set():
            process.send({"type": "close", "session": self._name})

    def __enter__(self) -> OpenPhoto:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, process: _Process) -> Handle:
        header: dict[str, Any] = {"type": "open", "session": self._name}
        parts: dict[str, bytes] = {}
        _put(header, parts, "photo", self._photo)
        handle = self._client._request(header, parts, None, process)
        self._process = process
        return handle


class _Process:
    """One life of the worker: three threads, which read, write and listen to stderr.

    Attributes:
        ready: the bundle is loaded, or never will be.
        gone: the process has ended and everybody knows.
        facts: what it said of itself.
        died: why it ended; None while it hasn't.
    """

    def __init__(
        self,
        command: list[str],
        start_timeout: float,
        env: Mapping[str, str] | None,
        cwd: str | None,
        on_log: Callable[[str], None] | None,
    ) -> None:
        self.ready = threading.Event()
        self.gone = threading.Event()
        self.facts: dict[str, Any] = {}
        self.died: WorkerError | None = None
        self._why: WorkerError | None = None
        self._lock = threading.Lock()
        self._handles: dict[int, Handle] = {}
        self._outbox: queue.Queue[list[bytes] | None] = queue.Queue()
        self._words: collections.deque[str] = collections.deque(maxlen=LAST_WORDS)
        self._on_log = on_log
        # A process group of its own: Ctrl-C in the terminal of this program is not the worker's to answer.
        detached: dict[str, Any] = (
            {"creationflags": 0x08000000} if os.name == "nt" else {"start_new_session": True}  # CREATE_NO_WINDOW
        )
        try:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=None if env is None else dict(env),
                cwd=cwd,
                **detached,
            )
        except OSError as error:
            raise WorkerDied(f"the dimrt worker can't be started ({' '.join(command)}): {error}") from error
        self._late = threading.Timer(start_timeout, self.kill, [f"said nothing for {start_timeout:g} seconds"])
        self._listener = threading.Thread(target=self._listen, name="dimrt-stderr", daemon=True)
        for thread in (
            self._late,
            self._listener,
            threading.Thread(target=self._write, name="dimrt-write", daemon=True),
            threading.Thread(target=self._follow, name="dimrt-read", daemon=True),
        ):
            thread.daemon = True
            thread.start()

    def send(
        self, header: Mapping[str, Any], parts: Mapping[str, bytes] | None = None, handle: Handle | None = None
    ) -> bool:
        """Have a message written, without waiting for that; False when the process is gone."""
        pieces = pack_message(header, parts)
        with self._lock:
            if self.died is not None:
                return False
            if handle is not None:
                handle._process = self
                self._handles[handle.id] = handle
        self._outbox.put(pieces)
        return True

    def kill(self, why: str) -> None:
        """End it at once; `why` goes into the error of what it was doing."""
        self._why = self._why or WorkerDied(f"the dimrt worker {why}; the next request starts a new one")
        self._popen.kill()

    def close(self, timeout: float) -> None:
        """Ask it to end, and make it."""
        self._why = self._why or WorkerError("Closed", "the client was closed before the request was finished")
        self.send({"type": "shutdown"})
        self._outbox.put(None)
        if not self.gone.wait(timeout):
            self._popen.kill()
            self.gone.wait()

    def _write(self) -> None:
        """The thread that writes, so that nobody waits for a worker that doesn't read."""
        stdin = cast(BinaryIO, self._popen.stdin)
        with contextlib.suppress(OSError):  # it's gone, which the reading thread tells everybody
            for pieces in iter(self._outbox.get, None):
                write_message(stdin, pieces)
        with contextlib.suppress(OSError):
            stdin.close()

    def _listen(self) -> None:
        with cast(BinaryIO, self._popen.stderr) as stderr:
            for raw in stderr:
                line = raw.decode("utf-8", "replace").rstrip()
                self._words.append(line)
                if self._on_log is not None:
                    self._on_log(line)

    def _follow(self) -> None:
        """The thread that reads, to the worker's end."""
        stdout = cast(BinaryIO, self._popen.stdout)
        try:
            for message in iter(lambda: read_message(stdout), None):
                self._take(message)
        except (FramingError, HeaderError, KeyError, OSError) as error:
            self.kill(f"said what can't be understood ({error})")
        finally:
            try:
                status = self._popen.wait(5.0)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                status = self._popen.wait()
            self._late.cancel()
            self._listener.join(1.0)
            self._bury(status)
            stdout.close()

    def _take(self, message: Message) -> None:
        header = message.header
        kind = header.get("type")
        if not self.facts:
            if kind != "hello" or header.get("protocol") != PROTOCOL:
                self.kill(f"speaks another protocol ({kind} {header.get('protocol')}, and {PROTOCOL} is known here)")
                return
            self._late.cancel()
            self.facts = header
        elif kind == "ready":
            self.facts = {**self.facts, **header}
            self.ready.set()
        elif kind == "event":
            handle = self._handles.get(header.get("id", 0))
            if handle is not None:
                handle._event(header["event"])
        elif kind == "error" and header.get("fatal"):
            self._why = self._why or _error(header)
        elif kind in ("result", "cancelled", "error", "opened", "pong"):
            self._answer(header, message.parts)

    def _answer(self, header: dict[str, Any], parts: dict[str, bytes]) -> None:
        with self._lock:
            handle = self._handles.pop(header.get("id", 0), None)
        if handle is None:
            return
        if header["type"] == "cancelled":
            handle._end(error=Cancelled())
        elif header["type"] == "error":
            handle._end(error=_error(header))
        else:
            handle._end(answer=Message(header, parts))

    def _bury(self, status: int) -> None:
        """Tell everybody who waits."""
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        said = f"; it had said: {' / '.join(list(self._words)[-5:])}" if self._words else ""
        with self._lock:
            self.died = self._why or WorkerDied(f"the dimrt worker {how}; the next request starts a new one{said}")
            handles, self._handles = list(self._handles.values()), {}
        self._outbox.put(None)
        self.ready.set()
        for handle in handles:
            handle._end(error=self.died)
        self.gone.set()


def _edit(
    instruction: str | Sequence[str],
    mask: Source | None,
    options: Mapping[str, Any] | None,
    output: dict[str, Any] | None,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Header and parts of an edit, still without its photo."""
    header: dict[str, Any] = {
        "type": "edit",
        "instructions": [instruction] if isinstance(instruction, str) else list(instruction),
        "options": dict(options or {}),
    }
    if output is not None:
        header["output"] = output
    parts: dict[str, bytes] = {}
    if mask is not None:
        _put(header, parts, "mask", mask)
    return header, parts


def _put(header: dict[str, Any], parts: dict[str, bytes], name: str, source: Source) -> None:
    """A file by its path, or its bytes as a part."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        parts[name] = bytes(source)
    else:
        header[name] = str(Path(source).absolute())


def _output(format: str, quality: int, save_to: str | os.PathLike[str] | None) -> dict[str, Any]:
    if save_to is None:
        return {"format": format, "quality": quality}
    return {"path": str(Path(save_to).absolute()), "quality": quality}


def _error(header: Mapping[str, Any]) -> WorkerError:
    error = header.get("error") or {}
    return WorkerError(str(error.get("type", "InputError")), str(error.get("message", "no reason given")))
