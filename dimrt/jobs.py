"""Edits in a queue: one thread that owns an editor, and jobs that any thread may submit, follow and cancel.

Keep one `Jobs` for each device. Jobs run one at a time in the order of their submission; whatever becomes of one
(done, failed, cancelled in any phase), the next one's bytes are those of an undisturbed run.
"""

import secrets
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from traceback import clear_frames
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar

from dimrt.editor import Editor
from dimrt.errors import Cancelled, ResourceError
from dimrt.events import Event

R = TypeVar("R")
State = Literal["queued", "running", "done", "failed", "cancelled"]
Work = Callable[[Editor], Generator[Event, None, R]]
"""What a job does: it's called in the editor's thread, and the stream it returns is run there to its end."""

OVER = frozenset({"done", "failed", "cancelled"})
"""States that a job doesn't leave."""


class QueueFull(ResourceError):
    """So many jobs wait already; try again when one is over."""


class Job(Generic[R]):
    """One piece of work in the queue. Every method may be called from any thread.

    Nothing else holds a job that is over: with the last reference its events and its result are gone.

    Attributes:
        id: 16 hexadecimal digits, not to be guessed.
    """

    def __init__(self, queue: "_Queue", work: Work[R]) -> None:
        """Made by `Jobs.submit`."""
        self.id = secrets.token_hex(8)
        self._queue = queue
        self._news = threading.Condition(queue.lock)
        self._work: Work[R] | None = work
        self._state: State = "queued"
        self._cancel = False
        self._events: list[Event] = []
        self._watchers: list[Callable[[], None]] = []
        self._result: R | None = None
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<Job {self.id} {self._state}>"

    @property
    def state(self) -> State:
        """Where the job is. "cancelled" means that it has stopped: a running job that is told to stop is "running"."""
        return self._state

    @property
    def over(self) -> bool:
        """Whether it's done, failed or cancelled."""
        return self._state in OVER

    @property
    def position(self) -> int:
        """How many jobs run before this one, the running one included; 0 once it runs or is over."""
        with self._queue.lock:
            if self._state != "queued":
                return 0
            return list(self._queue.waiting).index(self) + (self._queue.running is not None)

    @property
    def error(self) -> BaseException | None:
        """What `result` would raise; None while the job isn't over or when it's done."""
        return self._error

    def events(self, start: int = 0) -> Iterator[Event]:
        """Every event from number `start` on, waiting for new ones until the job is over.

        Any number of readers, each from wherever it likes; one that stops reading costs nothing.
        """
        while True:
            with self._news:
                while len(self._events) <= start and not self.over:
                    self._news.wait()
                new = self._events[start:]
            if not new:
                return
            yield from new
            start += len(new)

    def since(self, start: int = 0) -> list[Event]:
        """The events from number `start` on that there are now, without waiting."""
        with self._queue.lock:
            return self._events[start:]

    def watch(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called after each new event and when the job is over, for readers that can't wait in a thread.

        Args:
            wake: called in the editor's thread (or in that which cancels a waiting job), so it has to be quick:
                `lambda: loop.call_soon_threadsafe(ready.set)`. What happened before is not told: look at `since` and
                `over` after `watch`. A `wake` that raises is not called again.

        Returns:
            What ends it; calling it twice does no harm.
        """
        with self._queue.lock:
            self._watchers.append(wake)

        def end() -> None:
            with self._queue.lock:
                if wake in self._watchers:
                    self._watchers.remove(wake)

        return end

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the job is over, at most `timeout` seconds; whether it is."""
        with self._news:
            return self._news.wait_for(lambda: self.over, timeout)

    def result(self, timeout: float | None = None) -> R:
        """What the work returned, once it's there.

        Raises:
            Cancelled: the job was cancelled.
            DimrtError: what stopped it (or any other error of the work).
            TimeoutError: it isn't over after `timeout` seconds.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"job {self.id} is still {self._state} after {timeout:g} seconds")
        try:
            if self._error is not None:
                raise self._error
            return self._result  # type: ignore[return-value]  # done: it's what the work returned
        finally:
            del self  # else the error's traceback would hold the job that holds the error

    def cancel(self) -> None:
        """Stop it: a waiting job never starts, a running one stops before its next unit of work. Returns at once.

        A job that was cancelled before it was over is never "done", even if its last unit of work ends well.
        """
        with self._queue.lock:
            self._cancel = True
            waits = self._state == "queued"
            if waits:
                self._queue.waiting.remove(self)
                self._end("cancelled", Cancelled())
        if waits:
            self._wake()
            self._watchers.clear()

    def _run(self, editor: Editor) -> None:
        """Run it, in the editor's thread. Whatever the work raises is kept for whoever asks for the result."""
        state: State = "done"
        result: R | None = None
        error: BaseException | None = None
        try:
            result = self._drain(editor)
        except BaseException as stopped:  # of the one who asks for the result; this thread serves the other jobs
            clear_frames(stopped.__traceback__)  # they may hold photos and tensors
            error = stopped.with_traceback(stopped.__traceback__ and stopped.__traceback__.tb_next)  # less this frame
            state = "cancelled" if isinstance(stopped, Cancelled) else "failed"
        with self._queue.lock:
            if self._cancel and error is None:
                state, result, error = "cancelled", None, Cancelled()
            self._result = result
            self._end(state, error)
            self._queue.running = None
        self._wake()
        self._watchers.clear()
        del self  # as in `result`: the traceback leads here

    def _drain(self, editor: Editor) -> R:
        work, self._work = self._work, None
        assert work is not None
        stream = work(editor)
        del work
        try:
            while not self._cancel:
                try:
                    event = next(stream)
                except StopIteration as end:
                    result: R = end.value
                    return result
                with self._news:
                    self._events.append(event)
                    self._news.notify_all()
                self._wake()
            raise Cancelled
        finally:
            stream.close()

    def _end(self, state: State, error: BaseException | None) -> None:
        """Be over. The lock is held."""
        self._work = None
        self._state = state
        self._error = error
        self._news.notify_all()

    def _wake(self) -> None:
        with self._queue.lock:
            watchers = list(self._watchers)
        for wake in watchers:
            try:
                wake()
            except Exception:  # a reader that broke, such as a closed event loop: not this job's trouble
                with self._queue.lock:
                    if wake in self._watchers:
                        self._watchers.remove(wake)


class _Queue:
    """What the thread and the jobs share.

    Attributes:
        lock: of everything here and in the jobs.
        more: told when a job came in or the queue was closed.
        waiting: jobs in their order.
        running: the job that the thread runs.
        closed: no further job is taken; the thread ends when none is left.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.more = threading.Condition(self.lock)
        self.waiting: deque[Job[Any]] = deque()
        self.running: Job[Any] | None = None
        self.closed = False


class Jobs:
    """A queue of edits and the thread that runs them.

    From here on nobody else may call the editor. A context manager: leaving it is `close()`.
    """

    def __init__(self, editor: Editor, limit: int = 16) -> None:
        """Start the thread.

        Args:
            editor: what runs the jobs. It stays the caller's to close, after the queue.
            limit: how many jobs may wait.
        """
        self.limit = limit
        self._queue = _Queue()
        self._thread = threading.Thread(target=_serve, args=(editor, self._queue), name="dimrt-editor", daemon=True)
        self._thread.start()

    def submit(self, work: Work[R]) -> Job[R]:
        """Put a job at the end of the queue.

        Args:
            work: such as `lambda editor: editor.events(photo, "make it warmer", options)`.

        Raises:
            QueueFull: `limit` jobs are waiting.
            ResourceError: the queue is closed.
        """
        with self._queue.lock:
            if self._queue.closed:
                raise ResourceError("the queue of edits is closed; open a new one")
            if len(self._queue.waiting) >= self.limit:
                raise QueueFull(f"{self.limit} edits are waiting, which is the limit; try again when one is over")
            job = Job(self._queue, work)
            self._queue.waiting.append(job)
            self._queue.more.notify()
            return job

    @property
    def waiting(self) -> int:
        """How many jobs wait, without the running one."""
        return len(self._queue.waiting)

    def close(self, *, cancel: bool = True, timeout: float | None = None) -> bool:
        """Take no further jobs, and wait for the thread to end.

        Args:
            cancel: cancel what waits and what runs; else everything is run to its end first.
            timeout: seconds to wait at most.

        Returns:
            Whether the thread has ended; never when this is called from the thread itself.
        """
        with self._queue.lock:
            self._queue.closed = True
            self._queue.more.notify_all()
            running = [] if self._queue.running is None else [self._queue.running]
            open_jobs = [*self._queue.waiting, *running]
        if cancel:
            for job in open_jobs:
                job.cancel()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def __enter__(self) -> "Jobs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _serve(editor: Editor, queue: _Queue) -> None:
    """The thread: one job after the other until the queue is closed and empty."""
    while _run_next(editor, queue):
        pass


def _run_next(editor: Editor, queue: _Queue) -> bool:
    """Wait for a job and run it; False when there won't be one. Holds nothing of it afterwards."""
    with queue.lock:
        queue.more.wait_for(lambda: queue.waiting or queue.closed)
        if not queue.waiting:
            return False
        job = queue.waiting.popleft()
        job._state = "running"
        queue.running = job
    job._run(editor)
    del job  # as in `Job.result`
    return True
