"""A long job's progress: a bar with words beside it on a terminal, a line now and then elsewhere."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from dimrt.cli.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress

Shown = TypeVar("Shown", bound="Bar")
LINE_SECONDS = 30.0
"""Between two lines, where there is no terminal."""


def duration(seconds: float) -> str:
    """Seconds for people: 42 s, 3 min 05 s, 5 h 10 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class Bar:
    """Base of what shows one job's events; a context manager that takes the bar away at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._said = time.monotonic()

    def __enter__(self: Shown) -> Shown:
        """Nothing is drawn before the first event."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def note(self, text: str) -> None:
        """A line; above the bar where there is one."""
        self._said = time.monotonic()
        if self._bar is None:
            self._console.note(text)
        else:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, text: str, done: float, total: float, *, label: str = "", due: bool = False) -> None:
        """How far the job is. Where there is no terminal, a line when it is time for one or it is `due`."""
        if self._console.terminal and not self._console.as_json:
            self._draw(text, done, total, label)
        elif due or time.monotonic() - self._said >= LINE_SECONDS:
            self.note(f"{label:<10} {text}" if label else text)

    def _draw(self, text: str, done: float, total: float, label: str) -> None:
        if self._bar is None:
            from rich.console import Console as RichConsole
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (TextColumn("{task.description:<10}"), BarColumn(), TextColumn("{task.fields[text]}"))
            self._bar = Progress(*columns, console=RichConsole(stderr=True), transient=True)
            self._bar.add_task(label, total=total, text="")
            self._bar.start()
        task = self._bar.task_ids[0]
        self._bar.update(task, description=label, completed=min(done, total), total=total, text=text)
