"""The order of examples: coverage, resume, sharing, weights."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimrt.errors import InputError
from dimrt.export.train.data.order import Order, shuffle

SIZES = [(4, 4), (2, 8), (8, 2)]
sizes = st.lists(st.sampled_from(SIZES), min_size=1, max_size=60)
quick = settings(max_examples=60, deadline=None)


def taken(order: Order, first: int, last: int, world: int = 1) -> list[int]:
    """Everything that all processes take in some steps."""
    return [i for step in range(first, last) for rank in range(world) for i in order.indices(step, rank, world)]


@quick
@given(sizes, st.integers(1, 4), st.integers(1, 3), st.integers(0, 5))
def test_every_example_once_an_epoch_over_all_processes(
    sizes: list[tuple[int, int]], share: int, world: int, seed: int
) -> None:
    """After E epochs of whole batches, each example was taken E times, except for the draws that wait for a batch."""
    order = Order(sizes, share * world, seed)
    epochs = 5
    steps = next(step for step in range(10**6) if order.epoch(step) >= epochs)
    counts = Counter(taken(order, 0, steps, world))
    for size in set(sizes):
        examples = [i for i, own in enumerate(sizes) if own == size]
        waiting = len(examples) * epochs % order.batch
        assert sum(counts[i] for i in examples) == len(examples) * epochs - waiting
        assert all(epochs - -(-waiting // len(examples)) <= counts[i] <= epochs for i in examples)


@quick
@given(sizes, st.integers(1, 7), st.integers(0, 5))
def test_a_stream_of_one_size_has_each_example_once_in_every_stretch(
    sizes: list[tuple[int, int]], batch: int, seed: int
) -> None:
    order = Order(sizes, batch, seed)
    for size in set(sizes):
        examples = [i for i, own in enumerate(sizes) if own == size]
        drawn = [i for i in taken(order, 0, 4 * len(sizes) + 8) if sizes[i] == size]
        for start in range(0, len(drawn) - len(examples) + 1, len(examples)):
            assert sorted(drawn[start : start + len(examples)]) == examples


@quick
@given(sizes, st.integers(1, 9), st.integers(0, 40), st.integers(0, 5))
def test_resuming_continues(sizes: list[tuple[int, int]], batch: int, step: int, seed: int) -> None:
    whole = Order(sizes, batch, seed)
    before = [whole.indices(n) for n in range(step + 5)]
    resumed = Order(sizes, batch, seed)
    assert [resumed.indices(n) for n in range(step, step + 5)] == before[step:]


@quick
@given(sizes, st.lists(st.sampled_from([1, 2, 3, 4, 6, 12]), min_size=2, max_size=5))
def test_another_number_of_processes_takes_the_same_batches(sizes: list[tuple[int, int]], worlds: list[int]) -> None:
    order = Order(sizes, 12, 3)
    for step, world in enumerate(worlds * 4):
        assert taken(order, step, step + 1, world) == order.indices(step)


@quick
@given(sizes, st.integers(1, 6))
def test_a_batch_has_one_size_and_its_length(sizes: list[tuple[int, int]], batch: int) -> None:
    order = Order(sizes, batch)
    for step in range(30):
        indices = order.indices(step)
        assert len(indices) == batch
        assert len({sizes[i] for i in indices}) == 1


def test_epochs_are_shuffled_anew_and_by_the_seed() -> None:
    order = Order([(4, 4)] * 64, 64, 1)
    first, second, other = order.indices(0), order.indices(1), Order([(4, 4)] * 64, 64, 2).indices(0)
    assert sorted(first) == sorted(second) == sorted(other) == list(range(64))
    assert first != list(range(64))
    assert first != second
    assert first != other


def test_weights_say_how_often_an_example_comes() -> None:
    weights = [1.0] * 10 + [0.25] * 8 + [2.0] * 5 + [0.0] * 3
    order = Order([(4, 4)] * 26, 4, 0, weights)
    assert order.per_epoch == 10 + 2 + 10
    counts = Counter(taken(order, 0, 22 * 8 // 4))
    assert [counts[i] for i in range(26)] == pytest.approx([8 * w for w in weights], abs=1)
    assert all(counts[i] == 0 for i in range(23, 26))


def test_sizes_are_mixed_over_an_epoch() -> None:
    order = Order([(4, 4)] * 40 + [(2, 8)] * 40, 4, 0)
    first_half = [order.indices(step)[0] < 40 for step in range(10)]
    assert 0 < sum(first_half) < 10


def test_small_groups_and_large_batches_come_round() -> None:
    order = Order([(4, 4)], 4, 0)
    assert [order.indices(step) for step in (0, 1, 1000)] == [[0] * 4] * 3
    assert [order.epoch(step) for step in (0, 1, 10)] == [3, 7, 43]


def test_the_shuffle_stays_the_same_with_every_numpy() -> None:
    assert shuffle(8, 1, 2, 3).tolist() == [1, 3, 7, 5, 2, 0, 4, 6]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 1), "no example"),
        (([(4, 4)], 0), "at least one"),
        (([(4, 4)], 1, 0, [-1.0]), "at least 0"),
        (([(4, 4)], 1, 0, [float("nan")]), "at least 0"),
        (([(4, 4)], 1, 0, [0.0]), "no example"),
    ],
)
def test_what_makes_no_order_is_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Order(*arguments)  # type: ignore[arg-type]


def test_a_batch_must_divide_by_the_processes() -> None:
    with pytest.raises(InputError, match="multiple of 3"):
        Order([(4, 4)] * 9, 4).indices(0, 0, 3)
