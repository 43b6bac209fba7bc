"""A job followed from an event loop."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Generic, TypeVar

from dimrt.errors import DimrtError
from dimrt.events import Event
from dimrt.jobs import Job
from dimrt.result import EditResult

log = logging.getLogger("dimrt.serve.error")

Item = TypeVar("Item")


class Feed(Generic[Item]):
    """What is worth telling of a job, for any number of readers. Everything here happens in the event loop's thread.

    When the job is over it's let go, and the raw events with it; what was made of them stays.

    Attributes:
        id: of the job.
        items: what `tell` made of the events, in order.
        result, error: how it ended.
    """

    def __init__(self, job: Job[EditResult], tell: Callable[[Event], Item | None]) -> None:
        """Follow a job that was just submitted.

        Args:
            job: the job.
            tell: makes an item of an event, or None of one that isn't worth telling.
        """
        self.id = job.id
        self.items: list[Item] = []
        self.result: EditResult | None = None
        self.error: BaseException | None = None
        self._state: str = "queued"
        self._job: Job[EditResult] | None = job
        self._tell = tell
        self._seen = 0
        self._changed = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._unwatch = job.watch(partial(_wake, loop, self._look))
        self._look()

    @property
    def over(self) -> bool:
        """Whether the end has been seen."""
        return self._job is None

    @property
    def state(self) -> str:
        """As of the job."""
        return self._state if self._job is None else self._job.state

    @property
    def position(self) -> int:
        """As of the job."""
        return 0 if self._job is None else self._job.position

    def cancel(self) -> None:
        """Stop the job."""
        if self._job is not None:
            self._job.cancel()

    def take(self) -> EditResult:
        """The result of a job that is done, which is not kept here any longer."""
        result, self.result = self.result, None
        assert result is not None, "asked for too early or twice"
        return result

    async def follow(self, start: int = 0, heartbeat: float | None = None) -> AsyncIterator[tuple[int, Item] | None]:
        """Every item from number `start` on with its number, until the job is over.

        Args:
            start: number of the first item.
            heartbeat: seconds without an item after which None is sent.
        """
        while True:
            changed = self._changed
            for number in range(start, len(self.items)):
                yield number, self.items[number]
                start = number + 1
            if self.over and start >= len(self.items):
                return
            if changed is not self._changed:
                continue
            try:
                await asyncio.wait_for(changed.wait(), heartbeat)
            except asyncio.TimeoutError:
                yield None

    def _look(self) -> None:
        """Take over what is new of the job."""
        job = self._job
        if job is None:
            return
        over = job.over  # asked before the events, so that none is missed after the end
        for event in job.since(self._seen):
            self._seen += 1
            item = self._tell(event)
            if item is not None:
                self.items.append(item)
        if over:
            self._unwatch()
            del self._unwatch  # it leads back here: the photo that a record holds would stay until the next collection
            self._job, self._state, self.error = None, job.state, job.error
            if self.error is None:
                self.result = job.result(0)
            elif not isinstance(self.error, DimrtError):
                log.error("an edit failed: %s", type(self.error).__name__)
            self._end()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _end(self) -> None:
        """Add what is to be told of the end."""


def _wake(loop: asyncio.AbstractEventLoop, look: Callable[[], None]) -> None:
    """From the editor's thread."""
    loop.call_soon_threadsafe(look)
