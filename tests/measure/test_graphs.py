"""Graphs by themselves: which run stands for one, and its share of the ceiling."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measuring import CASE, ONCE

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import NANO, Bundle
from dimrt.editor import Editor
from dimrt.errors import InputError, ResourceError
from dimrt.manifest import Graph, Measured, TensorSpec
from dimrt.measure import graphs
from dimrt.measure.ceilings import Ceilings
from dimrt.measure.edits import edit_photo
from dimrt.measure.graphs import READ, TOKEN, Share, least_time
from dimrt.measure.recorder import Recorder, axes_of
from dimrt.work import Work

KNOWN = Ceilings(bandwidth=1e9, copy=1e9, matmul={"float32": 1e10, "float16": 2e10})
ERROR = Measured(max_abs=0, relative=0, limit=1, cases=1)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(NANO, verify="layout")


@pytest.fixture(scope="module")
def backend(bundle: Bundle) -> OrtBackend:
    return OrtBackend(bundle, threads=1)


@pytest.fixture(scope="module")
def recorder(bundle: Bundle, backend: OrtBackend) -> Recorder:
    """Saw one edit."""
    found = Recorder(backend, bundle.manifest.graphs)
    watched: Any = found
    list(edit_photo(Editor(bundle, watched), CASE, 0, again=False))
    return found


amounts = st.floats(min_value=1, max_value=1e12)


@given(amounts, amounts, st.integers(1, 10**9), st.integers(0, 10**9))
def test_the_least_time_is_the_larger_of_two(ops32: float, ops16: float, weights: int, tensors: int) -> None:
    work = Work({"float32": ops32, "float16": ops16}, weights, tensors, intermediate=10**15)
    found = least_time(work, KNOWN)
    assert isinstance(found, Share)
    moved, products = (weights + tensors) / 1e9, (ops32 / 1e10, ops16 / 2e10)
    assert found.seconds == pytest.approx(max(moved, sum(products)))
    expected = "bandwidth" if moved >= sum(products) else ("float32" if products[0] >= products[1] else "float16")
    assert found.bound == expected


@given(amounts, st.floats(min_value=1.1, max_value=10))
def test_a_faster_device_needs_less_time(ops: float, times: float) -> None:
    work = Work({"float32": ops}, 1000, 1000, 0)
    faster = replace(KNOWN, bandwidth=1e9 * times, matmul={"float32": 1e10 * times})
    slow, fast = least_time(work, KNOWN), least_time(work, faster)
    assert isinstance(slow, Share) and isinstance(fast, Share)
    assert fast.seconds == pytest.approx(slow.seconds / times)


def test_what_a_cache_holds_is_not_read_from_memory() -> None:
    work = Work({"float32": 1.0}, 900, 100, 0)
    known = replace(KNOWN, cached=4e9)
    assert least_time(work, replace(known, cache_bytes=1000)) == Share(1000 / 4e9, "cache")
    assert least_time(work, replace(known, cache_bytes=999)) == Share(1000 / 1e9, "bandwidth")
    assert least_time(work, replace(KNOWN, cache_bytes=1000)) == Share(1000 / 1e9, "bandwidth")


def test_a_format_without_a_ceiling_has_no_share() -> None:
    found = least_time(Work({"int8": 5.0}, 1, 1, 0), replace(KNOWN, missing={"int8": "no kernels"}))
    assert found == "no ceiling for int8: no kernels"
    assert isinstance(least_time(Work({"int8": 0.0, "float32": 1.0}, 1, 1, 0), KNOWN), Share)
    lost = Ceilings(missing={"bandwidth": "no memory"})
    assert least_time(Work({}, 1, 1, 0), lost) == "no memory"


def test_axes_come_from_shapes() -> None:
    inputs = (
        TensorSpec("latent", "float32", (1, 32, "height", "width")),
        TensorSpec("pixels", "float32", (1, 3, "tall*8", "wide/2")),
    )
    graph = Graph("a.onnx", inputs, (), ERROR)
    shapes = {"latent": (1, 32, 16, 24), "pixels": (1, 3, 80, 5)}
    assert axes_of(graph, shapes) == {"height": 16, "width": 24, "tall": 10, "wide": 10}


def test_every_graph_of_an_edit_was_seen(bundle: Bundle, recorder: Recorder) -> None:
    assert {call.graph for call in recorder.calls.values()} == set(bundle.manifest.graphs)
    assert recorder.loads.keys() == set(bundle.manifest.graphs)
    for name in graphs.names_of(bundle):
        call = graphs.pick(recorder, name)
        assert call is not None, name
        named = {s for spec in bundle.manifest.graphs[call.graph].inputs for s in spec.shape if isinstance(s, str)}
        assert {side.split("*")[0].split("/")[0] for side in named} == set(call.axes)


def test_one_token_is_measured_though_guesses_come_several_at_a_time(backend: OrtBackend, recorder: Recorder) -> None:
    call = graphs.pick(recorder, TOKEN)
    assert call is not None
    assert call.axes["tokens"] == call.axes["rows"] == 1
    outputs = backend.engine("language").run(call.feeds, into=call.into, keep=call.keep)
    assert outputs["logits"].shape[1] == 1
    assert np.isfinite(outputs["logits"]).all()


def test_reading_is_the_longest_text(recorder: Recorder) -> None:
    call = graphs.pick(recorder, READ)
    assert call is not None
    assert call.axes["tokens"] == max(c.axes["tokens"] for c in recorder.calls.values() if c.graph == "language")


def test_graphs_are_repeated_with_their_share(bundle: Bundle, backend: OrtBackend, recorder: Recorder) -> None:
    told: list[str] = []
    names = ["connector", "step"]
    found = graphs.measure(bundle, backend, recorder, names, KNOWN, ONCE, told.append)
    assert list(found) == told == names
    for entry in found.values():
        assert len(entry["samples_s"]) == 1
        assert entry["share"] is None or entry["share"] == pytest.approx(entry["least_s"] / entry["p50"])
        assert (entry["share"] is None) == ("why" in entry)


def test_a_bundle_without_work_facts_says_export_again(
    bundle: Bundle, backend: OrtBackend, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "graph_work", lambda *_: None)
    found = graphs.measure(bundle, backend, recorder, ["connector"], KNOWN, ONCE, lambda _: None)
    assert found["connector"]["share"] is None
    assert "export it again" in found["connector"]["why"]


class FailingBackend:
    """A backend that lost one graph."""

    residency = "all"

    def __init__(self, backend: OrtBackend) -> None:
        self._backend = backend
        self.released: list[str] = []

    def engine(self, graph: str) -> Any:
        if graph == "step":
            raise ResourceError("out of memory in graph `step`")
        return self._backend.engine(graph)

    def release(self, graph: str) -> None:
        self.released.append(graph)

    def finish(self) -> None:
        """Nothing is under way."""


def test_a_graph_that_fails_does_not_stop_the_others(bundle: Bundle, backend: OrtBackend, recorder: Recorder) -> None:
    failing: Any = FailingBackend(backend)
    found = graphs.measure(bundle, failing, recorder, ["step", "connector"], KNOWN, ONCE, lambda _: None)
    assert found["step"]["error"] == "out of memory in graph `step`"
    assert found["connector"]["p50"] > 0
    assert failing.released == []


def test_where_memory_is_short_one_graph_is_loaded_at_a_time(
    bundle: Bundle, backend: OrtBackend, recorder: Recorder
) -> None:
    failing: Any = FailingBackend(backend)
    failing.residency = "phased"
    graphs.measure(bundle, failing, recorder, ["connector"], KNOWN, ONCE, lambda _: None)
    assert set(failing.released) == set(bundle.manifest.graphs) - {"connector"}


@pytest.mark.parametrize(
    ("asked", "found"),
    [(["step"], ["step"]), (["decode", "language"], [READ, TOKEN, "decode"]), ([TOKEN], [TOKEN])],
)
def test_chosen_graphs(bundle: Bundle, asked: list[str], found: list[str]) -> None:
    assert graphs.chosen(bundle, asked) == found


def test_an_unknown_graph_is_refused_with_those_there_are(bundle: Bundle) -> None:
    with pytest.raises(InputError, match=r"no graph 'steps'; this bundle has vision, language\.read"):
        graphs.chosen(bundle, ["steps"])


def test_what_the_editor_sets_is_the_backends(bundle: Bundle) -> None:
    backend = OrtBackend(bundle, threads=1)
    recorder = Recorder(backend, bundle.manifest.graphs)
    recorder.residency = "phased"
    assert backend.residency == "phased"
    assert recorder.name == backend.name
