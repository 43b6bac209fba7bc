"""How a training run is shown: a bar with loss and time left on a terminal, lines elsewhere."""

from typing import TYPE_CHECKING

from dimrt.cli.bar import Bar, duration
from dimrt.cli.console import Console

if TYPE_CHECKING:
    from dimrt.export.train.hooks import TrainEvent


def describe_event(event: "TrainEvent") -> str:
    """Losses, speed and time left in one line."""
    losses = [f"{name} {value:.4g}" for name, value in event.figures.items() if name.endswith("loss")]
    left = "" if event.left is None else f", about {duration(event.left)} left"
    return f"step {event.step:,} of {event.steps:,}: {', '.join(losses)}, {event.seconds_per_step:.2f} s a step{left}"


class TrainView(Bar):
    """Shows the events of one run; a context manager.

    Attributes:
        step: the last step told of.
        figures: its figures.
        seconds: its seconds per step.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.step, self.seconds = 0, 0.0
        self.figures: dict[str, float] = {}

    def on_event(self, event: "TrainEvent") -> None:
        """Show one event."""
        if event.note is not None:
            self.note(f"note      {event.note}")
        if event.figures:
            first = self.step == 0
            self.step, self.figures, self.seconds = event.step, event.figures, event.seconds_per_step
            self.show(describe_event(event), event.step, event.steps, due=first or event.step == event.steps)
