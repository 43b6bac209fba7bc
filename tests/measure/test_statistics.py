"""The tests that decide whether one device is faster: their error rates on made-up series, and identities they obey."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dimrt.measure.comparing import statistics
from dimrt.measure.comparing.statistics import autocorrelation_time, block_length, holm, quantile_interval, shift

ROUNDS = 200
THREE_SIGMA = 3 * (0.05 * 0.95 / ROUNDS) ** 0.5


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer permutations and coarser intervals than in earnest, as hundreds of tests are made."""
    monkeypatch.setattr(statistics, "DRAWS", 499)
    monkeypatch.setattr(statistics, "HALVINGS", 1)


def times(
    random: np.random.Generator, count: int, memory: float = 0.0, spread: float = 0.04, middle: float = 1.0
) -> NDArray[np.float64]:
    """Latencies whose logarithms are a first-order autoregressive process."""
    steps = random.standard_normal(count + 40)
    for i in range(1, len(steps)):
        steps[i] = memory * steps[i - 1] + (1 - memory**2) ** 0.5 * steps[i]
    return middle * np.exp(spread * steps[40:])


def called(rounds: int, count: int, memory: float = 0.0, ratio: float = 1.0, margin: float = 0.0) -> float:
    """Share of pairs of series that are called different."""
    random = np.random.default_rng(7)
    calls = 0
    for _ in range(rounds):
        found = shift(times(random, count, memory), times(random, count, memory, middle=ratio), margin)
        assert found is not None
        calls += 2 * min(found.p_less, found.p_greater) <= 0.05
    return calls / rounds


@pytest.mark.parametrize("count", [10, 40])
def test_equal_series_are_rarely_called_different(count: int) -> None:
    rate = called(ROUNDS, count)
    assert rate <= 0.05 + THREE_SIGMA
    assert rate > 0  # it can call


def test_memory_of_the_series_is_allowed_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with_blocks = called(100, 60, memory=0.6)
    monkeypatch.setattr(statistics, "block_length", lambda series: 1)
    assert with_blocks < 0.25 < called(100, 60, memory=0.6)


def test_a_real_difference_is_found() -> None:
    assert called(60, 20, ratio=0.9) > 0.95
    assert called(60, 20, ratio=1.1) > 0.95


def test_a_difference_within_the_margin_is_not_called() -> None:
    assert called(60, 60, ratio=1.01, margin=0.02) <= 0.05
    assert called(60, 60, ratio=1.08, margin=0.02) > 0.95


def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "HALVINGS", 10)
    random = np.random.default_rng(3)
    held = 0
    for _ in range(100):
        found = shift(times(random, 20), times(random, 20, middle=0.8))
        assert found is not None
        low, high = found.interval
        assert low <= found.ratio <= high
        held += low <= 0.8 <= high
    assert held >= 95 - 3 * (0.05 * 0.95 * 100) ** 0.5


def test_long_series_take_no_more_memory_than_short_ones() -> None:
    random = np.random.default_rng(4)
    found = shift(times(random, 30_000), times(random, 20_000, middle=0.99))
    assert found is not None
    assert found.block == 150
    assert found.ratio == pytest.approx(0.99, abs=0.003) and found.p_less < 0.01


def test_small_series_by_hand() -> None:
    """All 20 ways to choose 3 of 6: only the real one puts the three smallest first."""
    found = shift([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    assert found is not None
    assert (found.p_less, found.p_greater) == (1.0, pytest.approx(1 / 20))
    assert (found.block, found.least_p) == (1, pytest.approx(2 / 20))
    assert found.interval == (0.0, float("inf"))  # so few samples refute no ratio at 5 %


def test_one_sample_says_nothing() -> None:
    assert shift([1.0], [2.0, 3.0]) is None


def test_equal_constants_are_not_different() -> None:
    found = shift([2.0] * 12, [2.0] * 9)
    assert found is not None
    assert (found.ratio, found.p_less, found.p_greater) == (1.0, 1.0, 1.0)


def test_an_outlier_changes_little() -> None:
    random = np.random.default_rng(5)
    before, after = times(random, 30), times(random, 30)
    plain = shift(before, after)
    after[3] = 1000.0
    spoilt = shift(before, after)
    assert plain is not None and spoilt is not None
    assert spoilt.ratio == pytest.approx(plain.ratio, rel=0.01)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.floats(0.5, 2.0), min_size=4, max_size=5),  # so few that every permutation is tried
    st.lists(st.floats(0.5, 2.0), min_size=4, max_size=5),
    st.floats(0.01, 100.0),
)
def test_units_do_not_matter_and_sides_can_be_swapped(before: list[float], after: list[float], unit: float) -> None:
    found = shift(before, after)
    scaled = shift([each * unit for each in before], [each * unit for each in after])
    swapped = shift(after, before)
    assert found is not None and scaled is not None and swapped is not None
    assert scaled.ratio == pytest.approx(found.ratio)
    assert swapped.ratio == pytest.approx(1 / found.ratio)
    assert swapped.p_less == pytest.approx(found.p_greater)


def test_the_interval_of_a_median_by_hand() -> None:
    """Of six samples all lie on one side of the median with a chance of 2/64: 3 %."""
    assert quantile_interval([5.0, 1.0, 3.0, 6.0, 2.0, 4.0], 0.5) == (1.0, 6.0)
    assert quantile_interval([1.0, 2.0, 3.0, 4.0, 5.0], 0.5) is None
    assert quantile_interval([1.0] * 30, 0.99) is None
    low, high = quantile_interval(np.arange(10_000.0), 0.5) or (0, 0)
    assert (low, high) == pytest.approx((5000 - 98, 5000 + 98), abs=2)  # 1.96 times half of 100


@pytest.mark.parametrize(("share", "count"), [(0.5, 15), (0.5, 200), (0.9, 60)])
def test_the_interval_of_a_quantile_holds_it(share: float, count: int) -> None:
    random = np.random.default_rng(2)
    found = [quantile_interval(random.random(count), share) for _ in range(400)]
    held = [interval[0] <= share <= interval[1] for interval in found if interval is not None]
    assert len(held) == 400
    assert np.mean(held) >= 0.95 - 3 * (0.05 * 0.95 / 400) ** 0.5


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_autocorrelation_time() -> None:
    random = np.random.default_rng(1)
    independent = [autocorrelation_time(random.standard_normal(200)) for _ in range(30)]
    assert np.median(independent) < 1.5
    remembering = [autocorrelation_time(times(random, 400, memory=0.8)) for _ in range(10)]
    assert 5 < np.median(remembering) < 13  # (1 + 0.8) / (1 - 0.8) = 9
    assert autocorrelation_time([3.0] * 20) == 1.0


def test_blocks_leave_enough_of_them() -> None:
    assert block_length(np.arange(50.0)) == 10  # a trend: as long as five blocks allow
    assert block_length([1.0, 2.0]) == 1
