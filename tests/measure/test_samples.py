"""Percentiles and their bounds: properties on any samples, and how often the bound holds on known distributions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimrt.measure.samples import ENOUGH, Amount, at_most, percentile, summary, timed

seconds = st.floats(min_value=1e-6, max_value=1e4)


@given(st.lists(seconds, min_size=100, max_size=300), st.sampled_from(sorted(ENOUGH)))
def test_a_percentile_is_a_sample_with_so_many_below(samples: list[float], share: float) -> None:
    found = percentile(samples, share)
    assert found is not None
    assert found in samples
    assert sum(value <= found for value in samples) >= share * len(samples)
    assert sum(value > found for value in samples) <= (1 - share) * len(samples)


@given(st.lists(seconds, min_size=1, max_size=200), st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(samples: list[float], random: "np.random.Generator") -> None:
    shuffled = list(samples)
    random.shuffle(shuffled)
    for share in ENOUGH:
        assert percentile(samples, share) == percentile(shuffled, share)
        assert at_most(samples, share) == at_most(shuffled, share)


@given(st.lists(seconds, min_size=44, max_size=200))
def test_what_p90_is_at_most_is_not_below_it(samples: list[float]) -> None:
    bound, p90 = at_most(samples, 0.9), percentile(samples, 0.9)
    assert bound is not None and p90 is not None
    assert bound >= p90


@pytest.mark.parametrize(("share", "least"), [(0.9, 44), (0.99, 459)])
def test_samples_that_a_bound_needs(share: float, least: int) -> None:
    """The least n with share ** n <= 1 %."""
    assert at_most([1.0] * (least - 1), share) is None
    assert at_most([1.0] * least, share) == 1.0


@pytest.mark.parametrize("count", [64, 150])
def test_the_bound_holds_as_often_as_it_says(count: int) -> None:
    """Of 2,000 series of exponential times, whose p90 is ln 10, 99 % at least must have it within their bound."""
    random = np.random.Generator(np.random.PCG64(1))
    bounds = [at_most(row, 0.9) for row in random.exponential(size=(2000, count)).tolist()]
    missed = sum(bound is not None and bound < np.log(10) for bound in bounds)
    assert missed <= 20 + 3 * np.sqrt(20)  # three standard deviations over the 1 %
    assert missed > 0  # a bound that never fails would be wider than it need be


@pytest.mark.parametrize(("count", "known"), [(1, ["p50"]), (10, ["p50", "p90"]), (100, ["p50", "p90", "p99"])])
def test_percentiles_of_few_samples_are_left_out(count: int, known: list[str]) -> None:
    found = summary([0.25] * count)
    assert [key for key in ("p50", "p90", "p99") if found[key] is not None] == known
    assert len(found["samples_s"]) == count


def test_amounts() -> None:
    assert list(Amount(3, 3, 0.0).turns()) == [0, 1, 2]
    assert list(Amount(2, 9, 0.0).turns()) == [0, 1]
    assert list(Amount(2, 4, 1e9).turns()) == [0, 1, 2, 3]


def test_warm_up_does_not_count() -> None:
    runs: list[int] = []
    assert len(timed(lambda: runs.append(1), Amount(3, 3, 0.0), warm_up=2)) == 3
    assert len(runs) == 5
