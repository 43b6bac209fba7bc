"""Shares of cases with their 95 % confidence intervals, alone and as the difference of two shares of the same cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

Z = 1.959964
"""Normal quantile of a two-sided 95 % interval."""


@dataclass(frozen=True)
class Share:
    """`hits` of `n` cases; `share` and the ends of its interval lie in 0 to 1, all of it where there is no case."""

    n: int
    hits: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Share of the first minus share of the second, over the same `n` cases.

    `only_first` and `only_second` count the cases that but one of the two got right.
    """

    n: int
    only_first: int
    only_second: int
    difference: float
    low: float
    high: float

    @property
    def is_evidence(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def share_of(outcomes: Sequence[bool]) -> Share:
    """The share of true outcomes with Wilson's score interval (Wilson 1927)."""
    n, hits = len(outcomes), sum(map(bool, outcomes))
    if n == 0:
        return Share(0, 0, 0.0, 0.0, 1.0)
    low, high = wilson(hits, n)
    return Share(n, hits, hits / n, low, high)


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion."""
    share, extra = hits / n, Z * Z / n
    middle = (share + extra / 2) / (1 + extra)
    reach = Z * sqrt(share * (1 - share) / n + extra / (4 * n)) / (1 + extra)
    return (0.0 if hits == 0 else max(0.0, middle - reach)), (1.0 if hits == n else min(1.0, middle + reach))


def difference_of(first: Sequence[bool], second: Sequence[bool]) -> Difference:
    """The paired difference of two shares (Newcombe 1998, "Improved confidence intervals for the difference between
    binomial proportions based on paired data", method 10).

    Args:
        first, second: outcomes of the same cases, in the same order.
    """
    pairs = list(zip(first, second, strict=True))
    n = len(pairs)
    both, only_first = sum(a and b for a, b in pairs), sum(a and not b for a, b in pairs)
    only_second = sum(b and not a for a, b in pairs)
    if n == 0:
        return Difference(0, 0, 0, 0.0, -1.0, 1.0)
    one, two = (both + only_first) / n, (both + only_second) / n
    (low_one, high_one), (low_two, high_two) = wilson(both + only_first, n), wilson(both + only_second, n)
    phi = _correlation(both, only_first, only_second, n)
    down, up = one - low_one, high_one - one
    under, over = two - low_two, high_two - two
    below = sqrt(max(0.0, down**2 - 2 * phi * down * over + over**2))
    above = sqrt(max(0.0, up**2 - 2 * phi * up * under + under**2))
    difference = one - two
    return Difference(
        n, only_first, only_second, difference, max(-1.0, difference - below), min(1.0, difference + above)
    )


def contrast_of(first: Difference, second: Difference) -> Difference:
    """How much larger the first difference is than the second, which is of other cases; `only_first` and `only_second`
    have no meaning and are 0. Limits by Zou & Donner 2008, "Construction of confidence limits about effect measures:
    a general approach", for two independent estimates."""
    value = first.difference - second.difference
    below = sqrt((first.difference - first.low) ** 2 + (second.high - second.difference) ** 2)
    above = sqrt((first.high - first.difference) ** 2 + (second.difference - second.low) ** 2)
    return Difference(first.n + second.n, 0, 0, value, value - below, value + above)


def _correlation(both: int, only_first: int, only_second: int, n: int) -> float:
    """Newcombe's phi with its continuity correction; 0 where a margin is empty."""
    neither = n - both - only_first - only_second
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    product = both * neither - only_first * only_second
    corrected = max(0.0, product - n / 2) if product > 0 else float(product)
    return corrected / sqrt(margins)
