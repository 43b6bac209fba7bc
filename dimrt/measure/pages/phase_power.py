"""Power of the phases of edits in a long run, from the times at which edits began and the lengths of their phases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dimrt.measure.meters.energy import integrate

APART = 0.05
"""Share of an edit's time that the sum of its phases may be off; beyond it they overlapped, or left gaps."""


@dataclass(frozen=True)
class Phase:
    """Where a phase of one edit lies on the clock of the power samples, in seconds."""

    name: str
    start: float
    end: float


def phases_of(document: Mapping[str, Any], edit: int) -> list[Phase]:
    """The phases of an edit of the long run; none where they can't be laid end to end."""
    lasting = document.get("sustained") or {}
    found: Mapping[str, Sequence[float]] = lasting.get("phases") or {}
    seconds = {name: samples[edit] for name, samples in found.items() if edit < len(samples)}
    whole = lasting["samples_s"][edit] if seconds else 0.0
    if not seconds or abs(sum(seconds.values()) - whole) > APART * whole:
        return []
    phases, moment = [], lasting["at_s"][edit]
    for name, length in seconds.items():
        phases.append(Phase(name, moment, moment + length))
        moment += length
    return phases


def by_phase(document: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Joules of each phase in an edit and its mean watts, over all edits whose phases are known."""
    watts = [(at, each) for at, each in document["power"]["watts"]]
    count = len((document.get("sustained") or {}).get("samples_s") or ())
    known = [phases for phases in (phases_of(document, edit) for edit in range(count)) if phases]
    joules: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for phase in (phase for phases in known for phase in phases):
        joules[phase.name] = joules.get(phase.name, 0.0) + integrate(watts, phase.start, phase.end)
        seconds[phase.name] = seconds.get(phase.name, 0.0) + phase.end - phase.start
    return {name: (joules[name] / len(known), joules[name] / seconds[name]) for name in joules if seconds[name] > 0}
