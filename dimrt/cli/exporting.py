"""How an export is shown: a bar with bytes and time left on a terminal, lines elsewhere."""

from typing import TYPE_CHECKING, Any

import msgspec

from dimrt.cli.bar import Bar, duration
from dimrt.cli.console import Console

if TYPE_CHECKING:
    from dimrt.export.pipeline import ExportEvent


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


class ExportView(Bar):
    """Shows the events of one export; a context manager.

    Attributes:
        graphs: what was measured of each graph, for `--json`.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.graphs: dict[str, dict[str, Any]] = {}
        self._last: tuple[str, int] | None = None

    def on_event(self, event: "ExportEvent") -> None:
        """Show one event."""
        if event.measured is not None:
            self.graphs[event.phase] = msgspec.structs.asdict(event.measured)
        if event.note is not None:
            self.note(f"note      {event.note}")
        if (event.phase, event.done) != self._last:
            self._last = (event.phase, event.done)
            self.note(describe_event(event))
        if event.size and event.written:
            self.show(describe_bytes(event), event.written, event.size, label=event.phase)
