"""How a training run is shown: a bar with loss and time left on a terminal, lines elsewhere."""

import time
from typing import TYPE_CHECKING

from dimrt.cli.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from dimrt.export.train.hooks import TrainEvent

LINE_SECONDS = 30.0
"""Between two lines, where there is no terminal."""


def describe_event(event: "TrainEvent") -> str:
    """Losses, speed and time left in one line."""
    losses = [f"{name} {value:.4g}" for name, value in event.figures.items() if name.endswith("loss")]
    left = "" if event.left is None else f", about {lasting(event.left)} left"
    return f"step {event.step:,} of {event.steps:,}: {', '.join(losses)}, {event.seconds_per_step:.2f} s a step{left}"


def lasting(seconds: float) -> str:
    """Seconds for people: 42 s, 3 min, 5 h 10 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


class TrainView:
    """Shows the events of one run; a context manager.

    Attributes:
        step: the last step told of.
        figures: its figures.
        seconds: its seconds per step.
    """

    def __init__(self, console: Console) -> None:
        self.step, self.seconds = 0, 0.0
        self.figures: dict[str, float] = {}
        self._console = console
        self._bar: Bar | None = None
        self._said = 0.0

    def __enter__(self) -> "TrainView":
        """Nothing is drawn before the first step."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Take the bar away and say where the run stands."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_event(self, event: "TrainEvent") -> None:
        """Show one event."""
        if event.note is not None:
            self._note(f"note      {event.note}")
        if not event.figures:
            return
        self.step, self.figures, self.seconds = event.step, event.figures, event.seconds_per_step
        if self._console.terminal and not self._console.as_json:
            self._draw(event)
        elif time.monotonic() - self._said >= LINE_SECONDS or event.step == event.steps:
            self._said = time.monotonic()
            self._note(describe_event(event))

    def _note(self, text: str) -> None:
        """A line; above the bar where there is one."""
        if self._bar is None:
            self._console.note(text)
        else:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _draw(self, event: "TrainEvent") -> None:
        if self._bar is None:
            from rich.console import Console as RichConsole
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as RichProgress

            columns = (BarColumn(), TextColumn("{task.fields[text]}"))
            self._bar = RichProgress(*columns, console=RichConsole(stderr=True), transient=True)
            self._bar.add_task("train", total=event.steps, text="")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=event.step, text=describe_event(event))
