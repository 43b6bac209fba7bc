"""The time of one run, by hand, and what must hold for every run."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimrt.errors import InputError
from dimrt.predict.efficiency import Efficiency
from dimrt.predict.rates import Rates
from dimrt.predict.roofline import Time, run_time
from dimrt.work import Work

RATES = Rates("board", "orin", "data sheet", bandwidth=100e9, peak={"float16": 10e12, "int8": 20e12, "float32": 1e12})
HALF_REACHED = Efficiency("orin", "data sheet", 0.5, {"other": 0.5, "int8": 0.25}, 0.1, 1e-3, "by hand")
positive = st.floats(1e3, 1e15)


def test_a_run_bound_by_arithmetic() -> None:
    work = Work({"float16": 5e9, "int8": 5e9}, weights=1_000_000, tensors=0, intermediate=0)
    time = run_time(work, RATES, HALF_REACHED)
    assert time.arithmetic == pytest.approx(5e9 / 5e12 + 5e9 / 5e12)
    assert (time.bandwidth, time.starting, time.bound) == (0, 1e-3, "arithmetic")
    assert time.seconds == pytest.approx(2e-3 + 1e-3)


def test_a_run_bound_by_bandwidth() -> None:
    work = Work({"float16": 1e9}, weights=900_000_000, tensors=100_000_000, intermediate=50_000_000)
    time = run_time(work, RATES, HALF_REACHED)
    assert time.bandwidth == pytest.approx(1e9 / 50e9)
    assert time.between == pytest.approx(2 * 50e6 * 0.1 / 50e9)  # written and read, a tenth of it
    assert (time.arithmetic, time.bound) == (0, "bandwidth")


def test_a_processor_computes_half_precision_in_single() -> None:
    processor = replace(RATES, family="processor")
    half = Work({"float16": 3e9, "float32": 1e9}, 1000, 2000, 3000)
    single = Work({"float32": 4e9}, 2000, 4000, 6000)
    assert run_time(half, processor, HALF_REACHED) == run_time(single, processor, HALF_REACHED)


def test_a_format_that_the_device_lacks_is_refused() -> None:
    with pytest.raises(InputError, match=r"board has no fp8 arithmetic \(it has float16, float32, int8\)"):
        run_time(Work({"fp8": 1.0}, 0, 0, 0), RATES, HALF_REACHED)


def test_what_fits_into_the_cache_is_not_read_from_memory() -> None:
    work = Work({"float32": 1e6}, weights=9_000_000, tensors=1_000_000, intermediate=0)
    small, large = (replace(RATES, cache=cache) for cache in (9_999_999, 10_000_000))
    assert run_time(work, small, HALF_REACHED).bandwidth == pytest.approx(1e7 / 50e9)
    assert run_time(work, large, HALF_REACHED).bandwidth == 0


def test_times_add_up() -> None:
    time = Time(arithmetic=1, between=2) + Time(bandwidth=3, starting=4) * 2
    assert (time.arithmetic, time.bandwidth, time.between, time.starting) == (1, 6, 2, 8)
    assert time.seconds == 17 and time.bound == "starting"


@given(positive, positive, positive, st.floats(1, 100))
def test_a_faster_device_is_never_slower(operations: float, weights: float, between: float, factor: float) -> None:
    work = Work({"float16": operations}, int(weights), 0, int(between))
    slow = run_time(work, RATES, HALF_REACHED).seconds
    more_bandwidth = replace(RATES, bandwidth=RATES.bandwidth * factor)
    more_peak = replace(RATES, peak={"float16": 10e12 * factor})
    assert run_time(work, more_bandwidth, HALF_REACHED).seconds <= slow
    assert run_time(work, more_peak, HALF_REACHED).seconds <= slow
