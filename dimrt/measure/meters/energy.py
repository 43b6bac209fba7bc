"""Power over time: what a meter returns, and meters that read counters or gauges in a thread of their own."""

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Protocol

from dimrt.errors import ResourceError

Curve = Sequence[tuple[float, float]]
"""(seconds, value), in order of time."""
INTERVAL = 0.1
"""Seconds between two readings: short against an edit, long against what a reading costs."""


@dataclass(frozen=True)
class Power:
    """What a meter saw between its start and its stop. Nothing is subtracted: idle power is in it.

    Attributes:
        meter: the meter's name.
        scope: what of the machine the watts are of.
        started: `time.perf_counter()` at the start; the times of `watts` count from it.
        seconds: from the start to the stop.
        watts: (seconds since the start, watts of the whole scope), in order. Where the meter counts energy, each is
            the mean between two readings, at the middle of their times.
        rails: mean watts over the whole time by rail. Rails may contain each other, so they needn't add up.
        joules: energy of the scope from the start to the stop.
    """

    meter: str
    scope: str
    started: float
    seconds: float
    watts: tuple[tuple[float, float], ...]
    rails: dict[str, float]
    joules: float

    @property
    def mean_watts(self) -> float:
        """Joules by seconds."""
        return self.joules / self.seconds if self.seconds else 0.0

    def between(self, start: float, end: float) -> float:
        """Joules from `start` to `end`, both in seconds since the meter's start: an edit's or a phase's."""
        return integrate(self.watts, start, end)


class Meter(Protocol):
    """Measures power in the background; one measurement at a time, as often as wanted.

    Attributes:
        name: like "tegrastats VDD_IN".
        scope: what of the machine is measured, like "the module's whole input".
        interval: seconds between two samples.
    """

    name: str
    scope: str
    interval: float

    def start(self) -> None:
        """Begin.

        Raises:
            ResourceError: nothing can be measured (any more); the message says why.
        """

    def stop(self) -> Power:
        """End, and say what was seen."""


@dataclass(frozen=True)
class Rails:
    """What is measured.

    Attributes:
        name: of the meter.
        scope: what of the machine `whole` adds up to.
        whole: names of the rails that add up to the scope.
        wraps: joules at which a rail's counter begins at zero again.
    """

    name: str
    scope: str
    whole: tuple[str, ...]
    wraps: Mapping[str, float] = field(default_factory=dict)


class Counters(Protocol):
    """Counters of energy.

    Attributes:
        rails: what they count.
    """

    rails: Rails

    def read(self) -> dict[str, float]:
        """Joules by rail since some moment.

        Raises:
            OSError: a counter went away.
        """


class Summed:
    """Gauges of power as counters of energy: what they say is added up from reading to reading.

    Attributes:
        rails: what they measure.
    """

    def __init__(self, rails: Rails, watts: Callable[[], dict[str, float]]) -> None:
        self.rails = rails
        self._watts = watts
        self._last = time.perf_counter(), watts()
        self._joules = dict.fromkeys(self._last[1], 0.0)

    def read(self) -> dict[str, float]:
        """Joules by rail since it was made."""
        before, low = self._last
        now, high = self._last = time.perf_counter(), self._watts()
        for rail in self._joules:
            self._joules[rail] += (low[rail] + high[rail]) / 2 * (now - before)
        return dict(self._joules)


class CounterMeter:
    """A `Meter` that reads counters of energy every `interval` seconds."""

    def __init__(self, counters: Counters, interval: float = INTERVAL) -> None:
        self.name, self.scope, self.interval = counters.rails.name, counters.rails.scope, interval
        self._counters = counters
        self._readings: list[tuple[float, dict[str, float]]] = []
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None

    def start(self) -> None:
        """Begin with a first reading."""
        self._end.clear()
        self._failure = None
        try:
            self._readings = [self._reading()]
        except OSError as error:
            raise ResourceError(f"{self.name} can't be read any more: {error}; measure without power") from error
        self._thread = threading.Thread(target=self._sample, name="dimrt-power", daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._end.wait(self.interval):
            self._read()

    def _read(self) -> None:
        try:
            self._readings.append(self._reading())
        except OSError as error:
            self._failure = error
            self._end.set()

    def _reading(self) -> tuple[float, dict[str, float]]:
        values = self._counters.read()
        return time.perf_counter(), values

    def stop(self) -> Power:
        """End with a last reading.

        Raises:
            ResourceError: the counters went away in between.
        """
        self._end.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._failure is None:
            self._read()
        if self._failure is not None:
            raise ResourceError(f"{self.name} stopped answering: {self._failure}; measure without power")
        return of_counters(self._readings, self._counters.rails)


def of_counters(readings: Sequence[tuple[float, Mapping[str, float]]], rails: Rails) -> Power:
    """Power from (perf_counter, joules by rail since some moment); two readings at least."""
    curves, joules = {}, {}
    for rail in readings[0][1]:
        counts = [(at - readings[0][0], values[rail]) for at, values in readings]
        curves[rail], joules[rail] = _rates(counts, rails.wraps.get(rail, 0.0))
    return _power(readings[0][0], readings[-1][0], curves, joules, rails)


def of_gauges(readings: Sequence[tuple[float, Mapping[str, float]]], rails: Rails) -> Power:
    """Power from (perf_counter, watts by rail); the first reading is the start, the last one the end."""
    started, stopped = readings[0][0], readings[-1][0]
    curves = {rail: [(at - started, values[rail]) for at, values in readings] for rail in readings[0][1]}
    joules = {rail: integrate(curve, 0.0, stopped - started) for rail, curve in curves.items()}
    return _power(started, stopped, curves, joules, rails)


def _power(
    started: float, stopped: float, curves: Mapping[str, Curve], joules: Mapping[str, float], rails: Rails
) -> Power:
    seconds = stopped - started
    times = [at for at, _ in curves[rails.whole[0]]]
    whole = [sum(curves[rail][i][1] for rail in rails.whole) for i in range(len(times))]
    return Power(
        meter=rails.name,
        scope=rails.scope,
        started=started,
        seconds=seconds,
        watts=tuple(zip(times, whole, strict=True)),
        rails={rail: value / seconds if seconds else 0.0 for rail, value in joules.items()},
        joules=sum(joules[rail] for rail in rails.whole),
    )


def _rates(counts: Curve, wraps: float) -> tuple[Curve, float]:
    """Joules counted at moments -> mean watts between neighbours, each at the middle of its time; and all joules."""
    rates, total = [], 0.0
    for (before, low), (after, high) in pairwise(counts):
        joules = high - low if high >= low else high - low + wraps
        total += joules
        if after > before:
            rates.append(((before + after) / 2, joules / (after - before)))
    return rates, total


def integrate(samples: Curve, start: float, end: float) -> float:
    """Joules from `start` to `end` of (seconds, watts) in order: straight lines between samples, level outside them."""
    if not samples or end <= start:
        return 0.0
    inside = samples[bisect_right(samples, (start, inf)) : bisect_left(samples, (end,))]
    points = [(start, _level(samples, start)), *inside, (end, _level(samples, end))]
    return sum((low + high) / 2 * (after - before) for (before, low), (after, high) in pairwise(points))


def _level(samples: Curve, at: float) -> float:
    """Watts at a moment, on the straight line between its neighbours."""
    i = bisect_left(samples, (at,))
    if i == 0 or i == len(samples):
        return samples[min(i, len(samples) - 1)][1]
    (before, low), (after, high) = samples[i - 1], samples[i]
    return low + (high - low) * (at - before) / (after - before)
