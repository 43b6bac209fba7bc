"""Latencies of single queries, summed up in the manner of MLPerf's SingleStream: the 90th percentile is the headline.

One query is issued when the one before is answered, for a least number of queries and a least time. A percentile of few
samples says little, so beside p90 stands what it is at most with a confidence of 99 % (MLPerf's early stopping), and
p99 is not given where fewer than a hundred samples were taken.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

CONFIDENCE = 0.99
ENOUGH = {0.5: 1, 0.9: 10, 0.99: 100}
"""Samples below which a percentile is left out: fewer than one of them would lie above it."""


@dataclass(frozen=True)
class Amount:
    """When to stop: at `most` queries, or at `least` once `seconds` have passed."""

    least: int
    most: int
    seconds: float

    def turns(self) -> Iterator[int]:
        """Numbers from 0 for as long as there is more to do."""
        start = time.perf_counter()
        number = 0
        while number < self.least or (number < self.most and time.perf_counter() - start < self.seconds):
            yield number
            number += 1


def percentile(samples: Sequence[float], share: float) -> float | None:
    """The sample that `share` of all samples lie below, rounded up; None where there are too few to say."""
    if len(samples) < ENOUGH.get(share, 1):
        return None
    return sorted(samples)[min(int(len(samples) * share), len(samples) - 1)]


def at_most(samples: Sequence[float], share: float) -> float | None:
    """What the percentile is at most, with a confidence of 99 %; None where there are too few samples to say.

    Of n samples the number above the true percentile is binomial, with chance 1 - share each. The largest sample but t
    is below it only when at most t are above it; t is the largest number for which that is rare.
    """
    count = len(samples)
    chance, allowed = share**count, -1
    while chance <= 1 - CONFIDENCE and allowed < count - 1:
        allowed += 1
        chance += comb(count, allowed + 1) * (1 - share) ** (allowed + 1) * share ** (count - allowed - 1)
    return None if allowed < 0 else sorted(samples, reverse=True)[allowed]


def summary(samples: Sequence[float]) -> dict[str, Any]:
    """Seconds of all queries in the order they ran, and their percentiles."""
    return {
        "samples_s": [round(seconds, 7) for seconds in samples],
        "p50": percentile(samples, 0.5),
        "p90": percentile(samples, 0.9),
        "p90_at_most": at_most(samples, 0.9),
        "p99": percentile(samples, 0.99),
    }


def timed(work: Callable[[], object], amount: Amount, warm_up: int = 0) -> list[float]:
    """Seconds of each run of `work`, after some that don't count."""
    for _ in range(warm_up):
        work()
    seconds = []
    for _ in amount.turns():
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds
