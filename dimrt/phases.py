"""Phases of a chain as a stream of events: timing on the way out, callbacks and cancelling on the way in."""

import time
from collections.abc import Callable, Generator, Sequence
from typing import Protocol, TypeVar

from dimrt.errors import Cancelled
from dimrt.events import Event, PhaseFinished, PhaseStarted, Progress

Result = TypeVar("Result")
OnEvent = Callable[[Event], None]


class Cancel(Protocol):
    """What tells a running chain to stop, such as a `threading.Event`."""

    def is_set(self) -> bool:
        """Whether to stop."""


class Phases:
    """Wraps the phases of one chain in their start and end events.

    Attributes:
        seconds: wall-clock time of each finished phase, of all its turns where it came more than once.
        loading: of the phase "load", the share of each graph.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.loading: dict[str, float] = {}
        self._ahead: dict[str, float] = {}

    def once(self, phase: str, work: Callable[[], Result]) -> Generator[Event, None, Result]:
        """A phase without progress of its own."""
        yield PhaseStarted(phase)
        start = time.perf_counter()
        result = work()
        yield self._finish(phase, start)
        return result

    def beside(self, phase: str, work: Callable[[], Result]) -> Result:
        """Work for a later phase in the middle of another one, without events; its time is the later phase's."""
        start = time.perf_counter()
        result = work()
        self._ahead[phase] = time.perf_counter() - start
        return result

    def stream(
        self, phase: str, total: int | None, work: Generator[Event, None, Result]
    ) -> Generator[Event, None, Result]:
        """A phase that reports progress. Time the consumer spends between its events is not counted."""
        yield PhaseStarted(phase, total)
        seconds = 0.0
        try:
            while True:
                start = time.perf_counter()
                try:
                    event = next(work)
                except StopIteration as end:
                    yield self._finish(phase, start - seconds)
                    result: Result = end.value
                    return result
                seconds += time.perf_counter() - start
                yield event
        finally:
            work.close()

    def load(self, graphs: Sequence[str], load: Callable[[str], object]) -> Generator[Event, None, None]:
        """Load graphs, if there are any, as a phase of its own."""

        def work() -> Generator[Event, None, None]:
            for done, graph in enumerate(graphs, 1):
                start = time.perf_counter()
                load(graph)
                self.loading[graph] = self.loading.get(graph, 0.0) + time.perf_counter() - start
                yield Progress("load", done)

        if graphs:
            yield from self.stream("load", len(graphs), work())

    def _finish(self, phase: str, start: float) -> PhaseFinished:
        seconds = time.perf_counter() - start + self._ahead.pop(phase, 0.0)
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds
        return PhaseFinished(phase, seconds)


def drain(events: Generator[Event, None, Result], on_event: OnEvent | None, cancel: Cancel | None) -> Result:
    """Run a chain to its end.

    Args:
        events: the chain.
        on_event: called with every event.
        cancel: looked at before every unit of work (a phase, a token of the plan, a painter step).

    Raises:
        Cancelled: `cancel` was set.
    """
    try:
        while True:
            if cancel is not None and cancel.is_set():
                raise Cancelled
            try:
                event = next(events)
            except StopIteration as end:
                result: Result = end.value
                return result
            if on_event is not None:
                on_event(event)
    finally:
        events.close()
