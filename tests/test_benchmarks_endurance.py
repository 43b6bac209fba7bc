"""The endurance measurement finds a leak when there is one, and the shipped bundle has none."""

import gc
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from endurance import growth, samples

from dimrt.editor import Editor

EDITS = 40
LIMIT_MB = 0.2
"""Of what Python and numpy allocate, in the second half of the edits; the control keeps four times as much."""


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.load(device="cpu", threads=1)


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def traced_mb() -> float:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] / 1e6


def test_growth_is_that_of_the_end_over_the_warmed_up_part() -> None:
    warming = [float(number) for number in range(100)]
    assert growth([*warming, *[100.0] * 900]) == 0
    assert growth([*[100.0] * 900, *[130.0] * 100]) == 30
    assert growth([float(number) for number in range(1000)]) == pytest.approx(800)


@pytest.mark.usefixtures("traced")
def test_forty_edits_in_a_row_leave_nothing_behind(editor: Editor) -> None:
    memory = samples(editor, EDITS, lambda _: None, traced_mb)
    assert growth(memory) < LIMIT_MB, memory


@pytest.mark.usefixtures("traced")
def test_results_that_are_kept_are_found_out(editor: Editor) -> None:
    kept: list[Any] = []
    assert growth(samples(editor, EDITS, kept.append, traced_mb)) > LIMIT_MB
