"""What a command writes and where: results on stdout, progress and notes on stderr.

Progress is drawn only when stderr is a terminal; `rich` is imported then and not before. With `--json`, stdout carries
one JSON document and nothing else.
"""

import json
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from dimrt.events import Event, PhaseFinished, PhaseStarted, PlanText, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


def print_json(document: dict[str, Any]) -> None:
    """Print the one JSON document of a `--json` command."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))


def harmless(text: str) -> str:
    """Text that a model or a file chose, without characters that steer a terminal."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)


class Console:
    """Output of one command.

    Args:
        quiet: nothing but the result and errors.
        as_json: stdout is kept for one JSON document.
        verbose: phases and their seconds are told where stderr is no terminal, too.
    """

    def __init__(self, *, quiet: bool, as_json: bool, verbose: bool = False) -> None:
        self.quiet = quiet
        self.as_json = as_json
        self.terminal = sys.stderr.isatty() and not quiet
        self.verbose = verbose and not quiet
        self.streams_plan = not (quiet or as_json)
        self._bar: Bar | None = None
        self._mid_line = False

    def note(self, text: str) -> None:
        """A line for the person at the keyboard, on stderr."""
        if not (self.quiet or self.as_json):
            click.echo(text, err=True)

    def notes(self, texts: Iterable[str]) -> None:
        """What the reader or the writer of a photo had to decide."""
        for text in texts:
            self.note(f"note      {text}")

    def on_event(self, event: Event) -> None:
        """Show one event of the chain; made to be handed to `Editor.edit(on_event=…)`."""
        match event:
            case PlanText(text) if self.streams_plan:
                click.echo(harmless(text) if sys.stdout.isatty() else text, nl=False)
                sys.stdout.flush()
                self._mid_line = not text.endswith("\n")
            case PhaseStarted(phase, total) if self.terminal and not self._writes_over(phase):
                self._start_bar(phase, total)
            case Progress(done=done) if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], completed=done)
            case PhaseFinished(phase, seconds):
                self._finish_phase(phase, seconds)
            case _:
                pass

    def close(self) -> None:
        """Take the bar away and end the plan's last line, whatever happened."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._mid_line:
            click.echo()
            self._mid_line = False

    def _writes_over(self, phase: str) -> bool:
        """Whether a bar would be drawn over the plan that streams to the same terminal."""
        return phase == "plan" and self.streams_plan and sys.stdout.isatty()

    def _start_bar(self, phase: str, total: int | None) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        counts = () if total is None else (BarColumn(), MofNCompleteColumn())
        columns = (TextColumn("{task.description:<10}"), *counts, TimeElapsedColumn())
        self._bar = RichProgress(*columns, console=RichConsole(stderr=True), transient=True)
        self._bar.add_task(phase, total=total)
        self._bar.start()

    def _finish_phase(self, phase: str, seconds: float) -> None:
        done = "" if self._bar is None else self._counts(self._bar)
        self.close()
        if self.terminal or self.verbose:
            click.echo(f"{phase:<10} {done}{seconds:.2f} s", err=True)

    @staticmethod
    def _counts(bar: "Bar") -> str:
        task = bar.tasks[0]
        return "" if task.total is None else f"{task.completed:.0f}/{task.total:.0f}  "


@contextmanager
def cancel_on_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a cancel that the chain sees between two steps; a second one interrupts at once."""
    cancel = threading.Event()

    def request(_number: int, _frame: FrameType | None) -> None:
        cancel.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, request)
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)
