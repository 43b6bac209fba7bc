"""Intervals of shares and of paired differences."""

import numpy as np
import pytest

from dimrt.export.nano.shares import difference_of, share_of, wilson


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_against_published_values(hits, n, low, high):
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3."""
    assert wilson(hits, n) == pytest.approx((low, high), abs=1e-4)


def test_a_share_says_its_cases():
    share = share_of([True, False, True, True])
    assert (share.n, share.hits, share.share) == (4, 3, 0.75)
    assert 0 < share.low < 0.75 < share.high < 1
    assert share_of([]).high == 1 and share_of([]).n == 0


def pairs(both, first, second, neither):
    table = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither
    return difference_of(*zip(*table, strict=True))


def test_a_paired_difference_counts_and_mirrors():
    found, mirrored = pairs(20, 12, 2, 16), pairs(20, 2, 12, 16)
    assert (found.n, found.only_first, found.only_second, found.difference) == (50, 12, 2, 0.2)
    assert found.low < 0.2 < found.high and found.is_evidence
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))
    assert not pairs(20, 5, 4, 16).is_evidence
    nothing = pairs(10, 0, 0, 10)
    assert nothing.difference == 0 and nothing.low < 0 < nothing.high


def test_a_paired_difference_of_equal_or_opposite_outcomes_stays_in_range():
    for table in ((8, 0, 0, 0), (0, 0, 0, 8), (0, 8, 0, 0), (0, 0, 8, 0), (1, 0, 0, 0)):
        found = pairs(*table)
        assert -1 <= found.low <= found.difference <= found.high <= 1


def test_the_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    chances, held = [0.5, 0.2, 0.1, 0.2], 0
    for _ in range(600):
        counts = random.multinomial(60, chances)
        found = pairs(*map(int, counts))
        held += found.low <= 0.1 <= found.high
    assert 0.92 < held / 600 < 0.985
