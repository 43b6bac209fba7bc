"""The queue of edits: order, cancelling at every point, readers, errors, memory; and bytes, on the shipped bundle."""

import gc
import queue
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import Bundle
from dimrt.editor import Editor
from dimrt.errors import Cancelled, InputError, ResourceError
from dimrt.events import Event, PhaseStarted, PlanText, Progress
from dimrt.jobs import Job, Jobs, QueueFull

SOON = 120.0
"""Seconds after which a test that waits has failed."""
EDITOR = cast(Editor, object())
"""Stands for an editor where the work is the test's own."""


class Work:
    """Work that takes one unit each time the test says so, and tells what became of it.

    Attributes:
        thread: in which it ran, once it began.
        closed: whether it was ended from outside, before its end.
    """

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.closed = False
        self._arrived: queue.Queue[None] = queue.Queue()
        self._orders: queue.Queue[str | BaseException] = queue.Queue()

    def __call__(self, _editor: Editor) -> Generator[Event, None, str]:
        self.thread = threading.current_thread()
        try:
            for number in range(1000):
                self._arrived.put(None)
                order = self._orders.get(timeout=SOON)
                if isinstance(order, BaseException):
                    raise order
                if order == "finish":
                    return f"{number} units"
                yield Progress("paint", number)
        except GeneratorExit:
            self.closed = True
            assert threading.current_thread() is self.thread
            raise
        raise AssertionError("too many units")

    def arrive(self) -> None:
        """Wait until it's inside a unit of work."""
        self._arrived.get(timeout=SOON)

    def order(self, what: str | BaseException) -> None:
        """End the unit: "step", "finish", or an error to raise."""
        self._orders.put(what)


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    with Jobs(EDITOR, limit=3) as opened:
        yield opened


def steps(count: int) -> Callable[[Editor], Generator[Event, None, int]]:
    """Work of so many units that needs no orders."""

    def run(_editor: Editor) -> Generator[Event, None, int]:
        for done in range(count):
            yield Progress("paint", done)
        return count

    return run


def test_a_job_runs_to_its_result_in_the_editors_thread(jobs: Jobs) -> None:
    work = Work()
    job = jobs.submit(work)
    work.arrive()
    assert (job.state, job.position, job.over) == ("running", 0, False)
    work.order("step")
    work.order("finish")
    assert job.result(SOON) == "1 units"
    assert (job.state, job.error, job.over) == ("done", None, True)
    assert list(job.events()) == [Progress("paint", 0)]
    assert work.thread is not threading.current_thread()
    assert not work.closed


def test_jobs_run_one_at_a_time_in_order_and_know_their_position(jobs: Jobs) -> None:
    works = [Work() for _ in range(4)]
    submitted = [jobs.submit(works[0])]
    works[0].arrive()
    submitted += [jobs.submit(work) for work in works[1:]]
    assert [job.position for job in submitted] == [0, 1, 2, 3]
    assert jobs.waiting == 3
    submitted[1].cancel()
    assert [job.position for job in submitted] == [0, 0, 1, 2]
    works[0].order("finish")
    works[2].arrive()
    assert [job.state for job in submitted] == ["done", "cancelled", "running", "queued"]
    assert works[1].thread is None
    works[2].order("finish")
    works[3].order("finish")
    assert submitted[3].result(SOON) == "0 units"


def test_a_full_queue_refuses_and_a_cancelled_job_gives_its_place_back(jobs: Jobs) -> None:
    work = Work()
    jobs.submit(work)
    work.arrive()
    waiting = [jobs.submit(steps(1)) for _ in range(3)]
    with pytest.raises(QueueFull, match="3 edits are waiting, which is the limit"):
        jobs.submit(steps(1))
    waiting[1].cancel()
    last = jobs.submit(steps(2))
    work.order("finish")
    assert last.result(SOON) == 2


def test_a_cancelled_jobs_stream_is_closed_in_its_thread_before_the_next_begins(jobs: Jobs) -> None:
    work, after = Work(), Work()
    job, then = jobs.submit(work), jobs.submit(after)
    work.arrive()
    work.order("step")
    work.arrive()
    job.cancel()
    assert job.state == "running"
    work.order("step")
    after.arrive()
    assert (job.state, work.closed) == ("cancelled", True)
    with pytest.raises(Cancelled):
        job.result(SOON)
    assert isinstance(job.error, Cancelled)
    assert list(job.events()) == [Progress("paint", 0), Progress("paint", 1)]
    after.order("finish")
    assert then.result(SOON) == "0 units"


def test_a_job_cancelled_in_its_last_unit_has_no_result(jobs: Jobs) -> None:
    work = Work()
    job = jobs.submit(work)
    work.arrive()
    job.cancel()
    work.order("finish")
    with pytest.raises(Cancelled):
        job.result(SOON)
    assert job.state == "cancelled"


def test_cancelling_twice_or_too_late_changes_nothing(jobs: Jobs) -> None:
    job = jobs.submit(steps(2))
    assert job.result(SOON) == 2
    job.cancel()
    job.cancel()
    assert (job.state, job.result(SOON)) == ("done", 2)


@pytest.mark.parametrize("error", [InputError("no such photo"), ValueError("a bug"), SystemExit(3), MemoryError()])
def test_an_error_is_its_own_jobs_alone(jobs: Jobs, error: BaseException) -> None:
    def at_once(_editor: Editor) -> Generator[Event, None, int]:
        raise error

    def refuses_to_end(_editor: Editor) -> Generator[Event, None, int]:
        try:
            yield Progress("paint", 0)
        finally:
            raise error

    work = Work()
    second = jobs.submit(work)
    work.arrive()
    first, third, last = (jobs.submit(item) for item in (at_once, refuses_to_end, steps(1)))
    work.order("step")
    work.order(error)
    for job in (first, second, third):
        with pytest.raises(type(error)):
            job.result(SOON)
        assert (job.state, job.error) == ("failed", error)
    assert last.result(SOON) == 1


def test_an_error_that_comes_while_cancelling_is_told(jobs: Jobs) -> None:
    def breaks(_editor: Editor) -> Generator[Event, None, int]:
        try:
            started.set()
            cancelled.wait(SOON)
            yield Progress("paint", 0)
        finally:
            raise ResourceError("could not give its memory back")
        return 0

    started, cancelled = threading.Event(), threading.Event()
    job = jobs.submit(breaks)
    started.wait(SOON)
    job.cancel()
    cancelled.set()
    with pytest.raises(ResourceError, match="give its memory back"):
        job.result(SOON)
    assert jobs.submit(steps(1)).result(SOON) == 1


def test_any_number_of_readers_each_from_its_own_start(jobs: Jobs) -> None:
    work = Work()
    job = jobs.submit(work)
    seen: dict[int, list[Event]] = {}
    readers = [
        threading.Thread(target=lambda start=start: seen.update({start: list(job.events(start))})) for start in range(6)
    ]
    for reader in readers[:3]:
        reader.start()
    for _ in range(4):
        work.order("step")
    for reader in readers[3:]:
        reader.start()
    gone = job.events()
    assert next(gone) == Progress("paint", 0)
    gone.close()
    work.order("finish")
    assert job.result(SOON) == "4 units"
    for reader in readers:
        reader.join(SOON)
    every = [Progress("paint", number) for number in range(4)]
    assert seen == {start: every[start:] for start in range(6)}
    assert (list(job.events()), job.since(3), job.since(9)) == (every, every[3:], [])


def test_watchers_are_woken_for_each_event_and_the_end_until_they_leave(jobs: Jobs) -> None:
    work, woken, left = Work(), queue.Queue[int](), queue.Queue[int]()
    job = jobs.submit(work)
    work.arrive()

    def broken() -> None:
        raise RuntimeError("the event loop is closed")

    job.watch(broken)
    job.watch(lambda: woken.put(len(job.since())))
    leave = job.watch(lambda: left.put(len(job.since())))
    work.order("step")
    assert (woken.get(timeout=SOON), left.get(timeout=SOON)) == (1, 1)
    leave()
    leave()
    work.order("step")
    assert woken.get(timeout=SOON) == 2
    work.order("finish")
    assert woken.get(timeout=SOON) == 2
    assert (job.result(SOON), left.empty()) == ("2 units", True)


def test_a_watcher_of_a_waiting_job_hears_that_it_was_cancelled(jobs: Jobs) -> None:
    work = Work()
    jobs.submit(work)
    waits = jobs.submit(steps(1))
    woken: list[str] = []
    waits.watch(lambda: woken.append(waits.state))
    waits.cancel()
    assert woken == ["cancelled"]
    work.order("finish")


def test_waiting_gives_up_after_its_time(jobs: Jobs) -> None:
    work = Work()
    job = jobs.submit(work)
    work.arrive()
    assert not job.wait(0.01)
    with pytest.raises(TimeoutError, match="is still running"):
        job.result(0.01)
    work.order("finish")
    assert job.wait(SOON)


def test_nothing_holds_a_job_that_is_over(jobs: Jobs) -> None:
    class Kept:
        """Something that a result, an event or a failed function holds."""

    def returns(_editor: Editor) -> Generator[Event, None, Kept]:
        yield cast(Event, made())
        return made()

    def fails(_editor: Editor) -> Generator[Event, None, Kept]:
        held = made()
        yield Progress("paint", 0)
        raise ValueError(held.__class__.__name__)

    def made() -> Kept:
        thing = Kept()
        kept.append(weakref.ref(thing))
        return thing

    kept: list[weakref.ref[Any]] = []
    gc.disable()
    try:
        for work in (returns, fails):
            job = jobs.submit(work)
            job.wait(SOON)
            if job.error is not None:
                with pytest.raises(ValueError, match="Kept"):
                    job.result()
            kept.append(weakref.ref(job))
            del job
        assert jobs.submit(steps(1)).result(SOON) == 1
        assert len(kept) == 5
        assert [ref() for ref in kept] == [None] * 5
    finally:
        gc.enable()


def test_closing_cancels_what_waits_and_what_runs() -> None:
    jobs, work = Jobs(EDITOR), Work()
    job, waits = jobs.submit(work), jobs.submit(steps(1))
    work.arrive()
    assert not jobs.close(timeout=0.01)
    work.order("step")
    assert jobs.close(timeout=SOON)
    assert [job.state, waits.state, work.closed] == ["cancelled", "cancelled", True]
    with pytest.raises(ResourceError, match="the queue of edits is closed"):
        jobs.submit(steps(1))


def test_closing_may_let_everything_end() -> None:
    jobs = Jobs(EDITOR)
    submitted = [jobs.submit(steps(count)) for count in range(5)]
    assert jobs.close(cancel=False, timeout=SOON)
    assert [job.result() for job in submitted] == list(range(5))


class Queue(RuleBasedStateMachine):
    """Any order of submitting, working, failing, cancelling and reading, against a model of what must come out."""

    @initialize()
    def open(self) -> None:
        self.jobs = Jobs(EDITOR, limit=4)
        self.works: list[Work] = []
        self.submitted: list[Job[str]] = []
        self.states: list[str] = []
        self.units: list[int] = []
        self.told: set[int] = set()
        """Running jobs that were told to stop."""

    def running(self) -> int | None:
        return self.states.index("running") if "running" in self.states else None

    def begin(self) -> None:
        """The model: the first waiting job starts when none runs."""
        if self.running() is None and "queued" in self.states:
            first = self.states.index("queued")
            self.states[first] = "running"
            self.works[first].arrive()

    def end(self, number: int, state: str) -> None:
        assert self.submitted[number].wait(SOON)
        self.states[number] = state
        self.begin()

    @rule()
    def submit(self) -> None:
        work = Work()
        if self.states.count("queued") == 4:
            with pytest.raises(QueueFull):
                self.jobs.submit(work)
            return
        self.submitted.append(self.jobs.submit(work))
        self.works.append(work)
        self.states.append("queued")
        self.units.append(0)
        self.begin()

    @precondition(lambda self: self.running() is not None)
    @rule(order=st.sampled_from(["step", "step", "step", "finish", "fail"]))
    def work(self, order: str) -> None:
        number = cast(int, self.running())
        cancelled = number in self.told
        self.works[number].order(InputError("refused") if order == "fail" else order)
        if order == "step":
            self.units[number] += 1
            if cancelled:
                self.end(number, "cancelled")
                assert self.works[number].closed
            else:
                self.works[number].arrive()
        elif order == "fail":
            self.end(number, "failed")
        else:
            self.end(number, "cancelled" if cancelled else "done")

    @precondition(lambda self: self.submitted)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.submitted) - 1))
        self.submitted[number].cancel()
        if self.states[number] == "queued":
            self.states[number] = "cancelled"
        elif self.states[number] == "running":
            self.told.add(number)

    @precondition(lambda self: any(state not in ("queued", "running") for state in self.states))
    @rule(data=st.data(), start=st.integers(0, 3))
    def read(self, data: st.DataObject, start: int) -> None:
        over = [number for number, state in enumerate(self.states) if state not in ("queued", "running")]
        number = data.draw(st.sampled_from(over))
        job = self.submitted[number]
        assert list(job.events(start)) == [Progress("paint", unit) for unit in range(start, self.units[number])]
        if self.states[number] == "done":
            assert job.result() == f"{self.units[number]} units"
        else:
            with pytest.raises(Cancelled if self.states[number] == "cancelled" else InputError):
                job.result()

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "jobs"):
            assert [job.state for job in self.submitted] == self.states
            waiting = [job.position for job in self.submitted if job.state == "queued"]
            assert waiting == list(range(1, len(waiting) + 1))

    def teardown(self) -> None:
        if hasattr(self, "jobs"):
            running = self.running()
            if running is not None:
                self.works[running].order("finish")
            assert self.jobs.close(timeout=SOON)
            assert all(job.over for job in self.submitted)


Queue.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestAnyOrder = Queue.TestCase


PHASES = ("vision", "plan", "condition", "encode", "paint", "decode", "composite")
WORDS = "make it look like an old sepia photo"


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    """A small picture with edges and gradients, uint8 [96, 128, 3]."""
    rows, columns = np.mgrid[0:96, 0:128]
    picture = np.stack([rows * 2, columns, (rows + columns) % 256], axis=2).astype(np.uint8)
    picture[30:60, 40:90] = (200, 30, 60)
    return picture


@pytest.fixture(scope="module")
def nano_jobs() -> Iterator[Jobs]:
    from dimrt.bundle import NANO

    bundle = Bundle.open(NANO, verify="layout")
    editor = Editor(bundle, OrtBackend(bundle, threads=1))
    with Jobs(editor) as opened:
        yield opened
    editor.close()


@pytest.fixture(scope="module")
def undisturbed(nano: Bundle, nano_backend: OrtBackend, photo: NDArray[np.uint8]) -> tuple[bytes, bytes, str]:
    """What an editor of its own makes of the photo: picture, painted picture and plan."""
    result = Editor(nano, nano_backend).edit(photo, WORDS)
    assert result.blueprint is not None
    return result.image.tobytes(), result.painted.tobytes(), result.blueprint.raw


@pytest.mark.parametrize("phase", PHASES)
def test_after_a_cancel_in_any_phase_the_next_jobs_bytes_are_an_undisturbed_runs(
    nano_jobs: Jobs, photo: NDArray[np.uint8], undisturbed: tuple[bytes, bytes, str], phase: str
) -> None:
    other = np.ascontiguousarray(photo[::-1])
    job = nano_jobs.submit(lambda editor: editor.events(other, "make it brighter"))
    then = nano_jobs.submit(lambda editor: editor.events(photo, WORDS))
    for event in job.events():
        inside = isinstance(event, PlanText) if phase == "plan" else event == PhaseStarted(phase, total_of(event))
        if inside:
            job.cancel()
            break
    else:
        pytest.fail(f"no phase {phase}")
    with pytest.raises(Cancelled):
        job.result(SOON)
    result = then.result(SOON)
    assert result.blueprint is not None
    assert (result.image.tobytes(), result.painted.tobytes(), result.blueprint.raw) == undisturbed


def total_of(event: Event) -> int | None:
    """The total of a phase's start, so that any is matched."""
    return event.total if isinstance(event, PhaseStarted) else None


def test_a_refused_edit_leaves_the_next_one_alone(
    nano_jobs: Jobs, photo: NDArray[np.uint8], undisturbed: tuple[bytes, bytes, str]
) -> None:
    refused = nano_jobs.submit(lambda editor: editor.events(b"no photo at all", WORDS))
    then = nano_jobs.submit(lambda editor: editor.events(photo, WORDS))
    with pytest.raises(InputError):
        refused.result(SOON)
    assert then.result(SOON).image.tobytes() == undisturbed[0]
