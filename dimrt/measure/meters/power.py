"""The machine's own power meter: a Jetson's monitors, else NVML on an NVIDIA card and RAPL on an x86 processor."""

from collections.abc import Sequence
from pathlib import Path

from dimrt.measure.meters import ina, jetson, nvml, rapl
from dimrt.measure.meters.energy import CounterMeter, Counters, Meter, Power, Rails

__all__ = ["Meter", "Power", "find_meter", "why_none"]

CLASSES = Path("/sys/class")


def find_meter(card: int | None = 0, *, command: Sequence[str] = jetson.COMMAND, root: Path = CLASSES) -> Meter | None:
    """The meter of all that the machine lets be measured; None where it lets nothing (`why_none` says why).

    Args:
        card: number of the NVIDIA card that works, as nvidia-smi counts; None when none does.
        command: of tegrastats.
        root: of Linux' classes of devices, "powercap" and "hwmon" among them.
    """
    return _look(card, command, root)[0]


def why_none(card: int | None = 0, *, command: Sequence[str] = jetson.COMMAND, root: Path = CLASSES) -> str | None:
    """What every kind of meter lacks here, and what to do about it; None where there is a meter."""
    meter, reasons = _look(card, command, root)
    return None if meter else "; ".join(reasons)


def _look(card: int | None, command: Sequence[str], root: Path) -> tuple[Meter | None, list[str]]:
    board, reason = jetson.find(command)
    if board is not None:
        return board, []
    monitors, why = ina.find(root / "hwmon")
    if monitors is not None:
        return CounterMeter(monitors), []
    reasons = [reason, why]
    found: list[Counters] = []
    if card is not None:
        gpu, reason = nvml.find(card)
        if gpu is not None:
            found.append(gpu)
        reasons.append(reason)
    cpu, reason = rapl.find(root / "powercap")
    if cpu is not None:
        found.append(cpu)
    reasons.append(reason)
    if not found:
        return None, reasons
    together = found[0] if len(found) == 1 else Both(*found)
    return CounterMeter(together), []


class Both:
    """Counters of a card and of the processor, read at the same moments and added."""

    def __init__(self, first: Counters, second: Counters) -> None:
        self._parts = (first, second)
        one, two = first.rails, second.rails
        self.rails = Rails(
            name=f"{one.name} + {two.name}",
            scope=f"{one.scope} and {two.scope}",
            whole=one.whole + two.whole,
            wraps={**one.wraps, **two.wraps},
        )

    def read(self) -> dict[str, float]:
        """Joules by rail."""
        return {rail: value for part in self._parts for rail, value in part.read().items()}
