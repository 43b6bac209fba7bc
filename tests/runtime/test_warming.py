"""Loading: a phase of its own, done once, and done before the first edit where that is asked for."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pytest

from dimrt.backends.base import ROLES, Residency
from dimrt.backends.onnxruntime import OrtBackend, OrtEngine
from dimrt.bundle import Bundle
from dimrt.editor import Editor
from dimrt.events import PHASES, Event, PhaseFinished, PhaseStarted, Progress
from dimrt.options import EditOptions
from dimrt.warming import Warmth

PHOTO = np.full((64, 80, 3), 99, np.uint8)
OPTIONS = EditOptions(max_new_tokens=4)
GRAPHS = [graph for graphs in ROLES.values() for graph in graphs]


class Clock:
    """Seconds that pass only where a test lets them."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


class TimedEngine:
    """An engine whose runs take a second of the clock."""

    def __init__(self, engine: OrtEngine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, feeds: Mapping[str, Any], *, into: Any = None, keep: Collection[str] = ()) -> dict[str, Any]:
        self._clock.now += 1
        return self._engine.run(feeds, into=into, keep=keep)


class TimedBackend(OrtBackend):
    """A backend that takes seven seconds of the clock to load a graph, and notes what it loads."""

    def __init__(self, bundle: Bundle, clock: Clock, residency: Residency = "all") -> None:
        super().__init__(bundle, threads=1)
        self.residency = residency
        self.clock, self.loads = clock, list[str]()

    def engine(self, graph: str) -> Any:
        if not self.loaded(graph):
            self.clock.now += 7
            self.loads.append(graph)
        return TimedEngine(super().engine(graph), self.clock)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("dimrt.phases.time", clock)
    return clock


def test_an_edit_that_loads_says_so_and_its_phases_are_all_of_its_time(nano: Bundle, clock: Clock) -> None:
    editor = Editor(nano, TimedBackend(nano, clock))
    events: list[Event] = []
    start = clock.now
    result = editor.edit(PHOTO, "make it red", OPTIONS, on_event=events.append)
    assert sum(result.timings.values()) == clock.now - start
    assert tuple(result.timings) == ("load", *PHASES)
    assert result.timings["load"] == 7 * 7 and result.loading == dict.fromkeys(GRAPHS, 7.0)
    assert result.timings["vision"] < 7
    assert events[:9] == [
        PhaseStarted("load", 7),
        *(Progress("load", n) for n in range(1, 8)),
        PhaseFinished("load", 49),
    ]
    again = editor.edit(PHOTO, "make it red", OPTIONS)
    assert tuple(again.timings) == PHASES and again.loading == {}


def test_where_one_role_is_held_at_a_time_each_is_loaded_as_it_is_entered(nano: Bundle, clock: Clock) -> None:
    editor = Editor(nano, TimedBackend(nano, clock, "phased"))
    start, phases = clock.now, list[str]()
    session = editor.open(PHOTO)
    result = session.edit(
        "make it red", OPTIONS, on_event=lambda e: phases.append(e.phase) if isinstance(e, PhaseStarted) else None
    )
    assert sum(result.timings.values()) == clock.now - start
    assert phases == ["load", "vision", "plan", "condition", "load", "encode", "paint", "decode", "composite"]
    assert result.loading == dict.fromkeys(GRAPHS, 7.0)
    other = session.render(["make it blue"], OPTIONS)
    for _ in other:
        pass
    assert editor._backend.loads == [*GRAPHS, *(graph for graph in GRAPHS if graph != "encode")]


def test_warming_loads_once_and_the_first_edit_finds_everything(nano: Bundle, clock: Clock) -> None:
    backend = TimedBackend(nano, clock)
    editor = Editor(nano, backend)
    events: list[Event] = []
    warmth = editor.warm(on_event=events.append)
    assert warmth == Warmth(0.0, dict.fromkeys(GRAPHS, 7.0), 0.0) and warmth.seconds == 49
    assert events[0] == PhaseStarted("load", 7)
    assert "49.00 s for loading (vision 7.00" in str(warmth)
    assert editor.warm() == Warmth(0.0, {}, 0.0) and str(editor.warm()) == "all was loaded"
    assert tuple(editor.edit(PHOTO, "make it red", OPTIONS).timings) == PHASES
    assert backend.loads == GRAPHS


def test_warming_with_a_run_runs_every_graph_and_changes_no_byte(
    nano: Bundle, nano_backend: OrtBackend, clock: Clock
) -> None:
    editor = Editor(nano, TimedBackend(nano, clock))
    start = clock.now
    warmth = editor.warm(run=True)
    assert warmth.seconds == clock.now - start
    assert warmth.run >= len(GRAPHS) and sum(warmth.loading.values()) == 49
    result = editor.edit(PHOTO, "make it red", OPTIONS)
    assert np.array_equal(result.image, Editor(nano, nano_backend).edit(PHOTO, "make it red", OPTIONS).image)


def test_what_can_be_held_a_role_at_a_time_is_not_loaded_in_advance(nano: Bundle, clock: Clock) -> None:
    backend = TimedBackend(nano, clock, "phased")
    assert Editor(nano, backend).warm(run=True) == Warmth(0.0, {}, 0.0)
    assert backend.loads == []


def test_an_editor_can_be_loaded_warm() -> None:
    editor = Editor.load(device="cpu", threads=1, verify="layout", warm=True)
    assert all(editor._backend.loaded(graph) for graph in GRAPHS)
    assert editor.missing == ()
    assert not any(Editor.load(device="cpu", verify="layout")._backend.loaded(graph) for graph in GRAPHS)
