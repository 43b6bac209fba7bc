"""How an export is shown: a bar with bytes and time left on a terminal, lines elsewhere."""

import time
from typing import TYPE_CHECKING, Any

import msgspec

from dimrt.cli.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from dimrt.export.pipeline import ExportEvent

LINE_SECONDS = 30.0
"""Between two lines about a long write, where there is no terminal."""


def describe_event(event: "ExportEvent") -> str:
    """One line about a phase that starts or is done."""
    line = f"[{event.done}/{event.total}] {event.phase}"
    if event.measured is None:
        return line
    on = "" if event.measured.layers is None else f" on its first {event.measured.layers} layers"
    return f"{line}: differs from torch by {event.measured.relative:.1e}{on} (limit {event.measured.limit:.1e})"


def describe_bytes(event: "ExportEvent") -> str:
    """How much is written, and how long the rest takes."""
    left = "" if event.left is None else f", about {duration(event.left)} left"
    return f"{event.written / 1e9:.2f} of {event.size / 1e9:.2f} GB{left}"


def duration(seconds: float) -> str:
    """Seconds for people: 42 s, 3 min 05 s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class ExportView:
    """Shows the events of one export; a context manager.

    Attributes:
        graphs: what was measured of each graph, for `--json`.
    """

    def __init__(self, console: Console) -> None:
        self.graphs: dict[str, dict[str, Any]] = {}
        self._console = console
        self._bar: Bar | None = None
        self._last: tuple[str, int] | None = None
        self._said = time.monotonic()

    def __enter__(self) -> "ExportView":
        """Nothing is drawn before the first byte."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_event(self, event: "ExportEvent") -> None:
        """Show one event."""
        if event.measured is not None:
            self.graphs[event.phase] = msgspec.structs.asdict(event.measured)
        if event.note is not None:
            self._note(f"note      {event.note}")
        if (event.phase, event.done) != self._last:
            self._last, self._said = (event.phase, event.done), time.monotonic()
            self._note(describe_event(event))
        if self._console.terminal and not self._console.as_json:
            self._draw(event)
        elif event.written and time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            self._note(f"{event.phase:<10} {describe_bytes(event)}")

    def _note(self, text: str) -> None:
        """A line; above the bar where there is one."""
        if self._bar is None:
            self._console.note(text)
        else:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _draw(self, event: "ExportEvent") -> None:
        if not event.size:
            return
        if self._bar is None:
            from rich.console import Console as RichConsole
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as RichProgress

            columns = (TextColumn("{task.description:<10}"), BarColumn(), TextColumn("{task.fields[bytes]}"))
            self._bar = RichProgress(*columns, console=RichConsole(stderr=True), transient=True)
            self._bar.add_task(event.phase, total=event.size, bytes="")
            self._bar.start()
        task = self._bar.task_ids[0]
        self._bar.update(
            task, description=event.phase, completed=min(event.written, event.size), bytes=describe_bytes(event)
        )
