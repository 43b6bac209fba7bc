"""Edits in a row, and the power they take."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any, TypeVar

from dimrt.editor import Editor
from dimrt.errors import DimrtError, ResourceError
from dimrt.measure import scene
from dimrt.measure.edits import Case, Edits, run_edits
from dimrt.measure.meters.energy import Meter, Power
from dimrt.measure.samples import Amount, summary

Result = TypeVar("Result")
FIRST_PHOTO, PHOTOS = 2_000_000, 4
"""Number of the first photo, and how many the run goes round in; from one photo to the next nothing is kept."""
MOST = 1_000_000
"""Edits of a run at most."""
DRIFT_OF = 6
"""Edits that a run must have for its beginning to be compared with its end."""


class Watt:
    """The machine's meter, where it has one and for as long as it answers.

    Attributes:
        why_none: what is missing; None while there is a meter.
        idle: watts of the machine before anything ran; None when they weren't taken.
    """

    def __init__(self, meter: Meter | None, why_none: str | None) -> None:
        self._meter = meter
        self.why_none = why_none
        self.idle: float | None = None

    @property
    def there(self) -> bool:
        """Whether power can be measured."""
        return self._meter is not None

    def rest(self, seconds: float) -> None:
        """Take the power of the machine while nothing runs."""
        if self.there:
            _, power = self.of(lambda: time.sleep(seconds))
            self.idle = None if power is None else power.mean_watts

    def of(self, work: Callable[[], Result]) -> tuple[Result, Power | None]:
        """Work, and its power; None without a meter, or with one that went away. The meter is stopped in any case."""
        meter = self._meter
        if meter is None:
            return work(), None
        try:
            meter.start()
        except ResourceError as error:
            self._lose(error)
            return work(), None
        try:
            done = work()
        except (DimrtError, OSError, KeyboardInterrupt):
            self._stop(meter)
            raise
        return done, self._stop(meter)

    def _stop(self, meter: Meter) -> Power | None:
        try:
            return meter.stop()
        except ResourceError as error:
            self._lose(error)
            return None

    def _lose(self, error: ResourceError) -> None:
        self._meter, self.why_none = None, str(error)


def sustained(
    editor: Editor, case: Case, seconds: float, few: int, watt: Watt
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Edits in a row: what they took, and their power.

    Args:
        seconds: how long; 0 for `few` edits that only their power is taken of.
    """
    if seconds == 0 and not watt.there:
        return None, None
    photos = range(FIRST_PHOTO, FIRST_PHOTO + PHOTOS)
    for number in photos:
        scene.photo(number)
    amount = Amount(1, MOST, seconds) if seconds else Amount(few, few, 0)
    edits, power = watt.of(lambda: run_edits(editor, case, (photos[n % PHOTOS] for n in amount.turns()), again=False))
    lasting = summed(edits) if seconds else None
    return lasting, None if power is None else _power(power, len(edits.first), watt.idle)


def summed(edits: Edits) -> dict[str, Any]:
    """Edits in a row. `drift` compares the last third's median with the first third's: 0.1 is 10 % slower."""
    seconds = [edit.seconds for edit in edits.first]
    third = len(seconds) // 3
    enough = len(seconds) >= DRIFT_OF
    return {
        "seconds": edits.at[-1] + seconds[-1],
        "at_s": edits.at,
        **summary(seconds),
        "phases": edits.phases(),
        "drift": median(seconds[-third:]) / median(seconds[:third]) - 1 if enough else None,
    }


def _power(power: Power, edits: int, idle: float | None) -> dict[str, Any]:
    return {
        "meter": power.meter,
        "scope": power.scope,
        "seconds": power.seconds,
        "watts": [[round(at, 3), round(watts, 3)] for at, watts in power.watts],
        "mean_watts": power.mean_watts,
        "idle_watts": idle,
        "rails": power.rails,
        "joules": power.joules,
        "edits": edits,
        "joules_per_edit": power.joules / edits,
    }
