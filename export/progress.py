"""How far an export has come."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from dimrt.manifest import Measured

REPORT_SECONDS = 0.25
"""Between two reports of bytes."""
TOLD = 0.05
"""Share of the bytes from which on the time left is told: before, tracing the first graph is most of it."""


@dataclass(frozen=True)
class ExportEvent:
    """Progress of an export.

    `phase` is "load", "calibrate", a graph's name, "tables" or "verify"; `done` of `total` phases are complete.
    `measured` comes with the event that completes a graph. `written` of about `size` bytes are in the bundle; `left`
    is how many seconds the rest takes at the rate so far, when that is known. `note` says what a person should know.
    """

    phase: str
    done: int
    total: int
    measured: Measured | None = None
    written: int = 0
    size: int = 0
    left: float | None = None
    note: str | None = None


class Progress:
    """Counts phases and bytes of one export, and tells `notify` of them."""

    def __init__(self, total: int, notify: Callable[[ExportEvent], None]) -> None:
        self._notify, self._total = notify, total
        self._done, self._phase = 0, "load"
        self._written, self._size = 0, 0
        self._began, self._found, self._reported = 0.0, 0, 0.0

    def start(self, phase: str, note: str | None = None) -> None:
        """A phase begins, or something is to be said in it."""
        self._phase = phase
        self._tell(note=note)

    def finish(self, measured: Measured | None = None) -> None:
        """The phase is complete."""
        self._done += 1
        self._tell(measured)

    def expect(self, size: int, found: int) -> None:
        """About `size` bytes will be written in all, `found` are there already."""
        self._size, self._written, self._found = size, found, found
        self._began = time.monotonic()

    def wrote(self, count: int) -> None:
        """Bytes were written; told of a few times a second."""
        self._written += count
        now = time.monotonic()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            self._tell()

    def _tell(self, measured: Measured | None = None, note: str | None = None) -> None:
        left = None
        seconds, new = time.monotonic() - self._began, self._written - self._found
        if new > TOLD * self._size > 0:
            left = max(0, self._size - self._written) * seconds / new
        self._notify(ExportEvent(self._phase, self._done, self._total, measured, self._written, self._size, left, note))
