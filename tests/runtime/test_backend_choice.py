"""Which backend runs, and engines that are built when they are first needed."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from standin_gpu import StandinGpu

from dimrt.backends.choose import open_backend
from dimrt.backends.tensorrt import TensorRtBackend
from dimrt.bundle import NANO, Bundle
from dimrt.editor import Editor
from dimrt.engines.target import load_target
from dimrt.errors import Cancelled, InputError, ResourceError
from dimrt.events import Event, PhaseFinished, PhaseStarted, Progress
from dimrt.options import EditOptions

QUICK = EditOptions(steps=1, think=False)
ON_CPU = "onnxruntime CPUExecutionProvider"


def test_auto_takes_tensorrt_when_the_engines_are_ready(gpu: StandinGpu, nano: Bundle) -> None:
    assert open_backend(nano, "auto").name == ON_CPU
    gpu.fill(nano, "rtx-4060", ["vision", "language"])
    assert open_backend(nano, "auto").name == ON_CPU
    gpu.fill(nano, "rtx-4060")
    assert open_backend(nano, "auto").name.startswith("tensorrt-rtx")
    assert open_backend(nano, "cpu").name == ON_CPU


def test_auto_without_a_gpu_takes_the_cpu(gpu: StandinGpu, nano: Bundle) -> None:
    gpu.fill(nano, "rtx-4060")
    gpu.cuda.devices = 0
    assert open_backend(nano, "auto").name == ON_CPU


def test_a_target_asks_for_tensorrt(gpu: StandinGpu, nano: Bundle) -> None:
    assert open_backend(nano, "auto", target="rtx-4060").name.startswith("tensorrt-rtx")
    with pytest.raises(InputError, match="--target is for TensorRT engines and --device is cpu"):
        open_backend(nano, "cpu", target="rtx-4060")
    with pytest.raises(InputError, match="unknown target 'rtx-9'"):
        open_backend(nano, "tensorrt", target="rtx-9")


def test_named_tensorrt_is_no_fallback(gpu: StandinGpu, nano: Bundle) -> None:
    gpu.cuda.devices = 0
    with pytest.raises(ResourceError, match="NVIDIA driver"):
        Editor.load(NANO, device="tensorrt", verify="layout")


@pytest.fixture
def builds(gpu: StandinGpu, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Graphs that were built, by a builder that takes no time."""
    built: list[str] = []

    def build(bundle: Bundle, target: Any, *, graphs: Sequence[str], **_more: Any) -> list[Any]:
        built.extend(graphs)
        gpu.cache.prepare()
        return [gpu.store(bundle, target, graph) for graph in graphs]

    monkeypatch.setattr("dimrt.engines.build.build_bundle", build)
    return built


def test_missing_engines_are_built_at_first_use_with_progress(
    gpu: StandinGpu, nano: Bundle, target: Path, photo: NDArray[np.uint8], builds: list[str]
) -> None:
    gpu.fill(nano, target, ["vision"])
    editor = Editor(nano, TensorRtBackend(nano, target=target))
    events: list[Event] = []
    assert len(editor.missing) == 6
    result = editor.edit(photo, "make it red", QUICK, on_event=events.append)
    assert editor.missing == ()
    missing = [graph for graph in nano.manifest.graphs if graph != "vision"]
    assert builds == missing
    assert events[0] == PhaseStarted("build", len(missing))
    assert events[1 : len(missing) + 1] == [Progress("build", done + 1) for done in range(len(missing))]
    assert isinstance(events[len(missing) + 1], PhaseFinished)
    assert list(result.timings)[:3] == ["build", "load", "read"]
    assert "build" not in editor.edit(photo, "make it red", QUICK).timings
    assert builds == missing


def test_a_build_can_be_cancelled_between_graphs_and_goes_on(
    gpu: StandinGpu, nano: Bundle, target: Path, photo: NDArray[np.uint8], builds: list[str]
) -> None:
    editor = Editor(nano, TensorRtBackend(nano, target=target))
    cancel = threading.Event()

    def on_event(event: Event) -> None:
        if event == Progress("build", 2):
            cancel.set()

    with pytest.raises(Cancelled):
        editor.edit(photo, "make it red", QUICK, on_event=on_event, cancel=cancel)
    assert len(builds) == 2
    editor.edit(photo, "make it red", QUICK)
    assert sorted(builds) == sorted(nano.manifest.graphs)


def test_every_named_step_builds_what_it_misses(
    gpu: StandinGpu, nano: Bundle, target: Path, photo: NDArray[np.uint8], builds: list[str]
) -> None:
    editor = Editor(nano, TensorRtBackend(nano, target=target))
    design = editor.design(photo, "make it red", QUICK)
    editor.decode(editor.paint(design, editor.encode(photo), QUICK))
    assert sorted(builds) == sorted(nano.manifest.graphs)


def test_the_gpus_own_target_when_none_is_named(gpu: StandinGpu, nano: Bundle) -> None:
    gpu.cuda.limit = 8 << 30
    backend = TensorRtBackend(nano)
    assert backend.residency == load_target("rtx-4060").residency
