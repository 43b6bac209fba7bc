"""Engines built for real: all seven graphs for three generations of cards; and everything that stops a build."""

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import onnx
import pytest
from built import Build
from foreign import altered_bundle, value

from dimrt.bundle import Bundle
from dimrt.engines import build as building
from dimrt.engines import process
from dimrt.engines.build import BuildEvent, build_bundle
from dimrt.engines.cache import EngineCache
from dimrt.engines.flavour import load_flavour
from dimrt.engines.job import Step
from dimrt.engines.place import building_place
from dimrt.engines.process import run
from dimrt.engines.target import load_target
from dimrt.errors import BundleError, Cancelled, InputError, ResourceError
from dimrt.integrity import checksum
from dimrt.manifest import GRAPHS

TARGET = load_target("rtx-4060")


def names_in(folder: Path) -> list[str]:
    """What a cache's folder of engines holds."""
    return sorted(path.name for path in (folder / "engines").iterdir()) if (folder / "engines").is_dir() else []


def test_every_graph_builds_for_three_generations_of_cards(built: Build) -> None:
    assert [record.identity.graph for record in built.records] == list(built.bundle.manifest.graphs)
    for record in built.records:
        assert record.identity.capabilities == ("8.6", "8.9", "12.0")
        assert (record.identity.flavour, record.identity.device) == ("tensorrt-rtx", None)
        plan = built.cache.root / "engines" / record.key / "plan"
        assert plan.stat().st_size == record.plan_bytes > 100_000
        assert checksum(plan) == record.sha256
        assert record.peak_rss > record.plan_bytes
        assert not record.decomposed


@pytest.mark.parametrize("graph", GRAPHS)
def test_an_engine_has_the_contracts_tensors(built: Build, graph: str) -> None:
    record = next(record for record in built.records if record.identity.graph == graph)
    contract = built.bundle.manifest.graphs[graph]
    for mine, theirs in ((record.inputs, contract.inputs), (record.outputs, contract.outputs)):
        assert [(spec.name, spec.dtype) for spec in mine] == [(spec.name, spec.dtype) for spec in theirs]
        for spec, agreed in zip(mine, theirs, strict=True):
            assert [1024 if size == "length" else size for size in agreed.shape] == list(spec.shape)
    assert record.cuda_graph == (graph in ("language", "step"))
    (profile,) = record.profiles
    free = {size for spec in contract.inputs for size in spec.shape if isinstance(size, str)}
    assert profile.keys() == free
    assert all(record.limit(axis) == profile[axis][2] for axis in free)
    assert record.limit("nothing") is None


def test_the_engine_holds_the_weights_once(built: Build) -> None:
    """Kernels for three capabilities and nothing else come on top: a second copy would show in the largest graphs."""
    records = {record.identity.graph: record for record in built.records}
    assert records["language"].plan_bytes < 1.95 * records["language"].weights_bytes


def test_progress_is_told_graph_by_graph(built: Build) -> None:
    for graph in GRAPHS:
        mine = [event for event in built.events if event.graph == graph]
        assert mine[0].state == "started" and mine[-1].state == "finished"
        steps = [event for event in mine if event.state == "progress"]
        assert len(steps) > 2 and all(0 <= event.done <= event.total for event in steps)
        done = [event.done for event in steps if event.phase == steps[0].phase]
        assert done == sorted(done)


def test_what_is_in_the_cache_is_kept(built: Build, nano: Bundle) -> None:
    events: list[BuildEvent] = []
    others = [load_target("rtx-4060"), load_target("rtx-5090")]
    records = build_bundle(nano, load_target("rtx-3060"), also=others, cache=built.cache, on_event=events.append)
    assert tuple(records) == built.records
    assert [event.state for event in events] == ["kept"] * len(GRAPHS)


def test_an_altered_plan_is_built_again(copied: EngineCache, nano: Bundle, rtx: None) -> None:
    (name,) = names_in(copied.root)
    plan = copied.root / "engines" / name / "plan"
    content = bytearray(plan.read_bytes())
    content[len(content) // 2] ^= 1
    plan.write_bytes(content)
    others = [load_target("rtx-4060"), load_target("rtx-5090")]
    states: list[str] = []
    (record,) = build_bundle(
        nano,
        load_target("rtx-3060"),
        also=others,
        graphs=["connector"],
        cache=copied,
        on_event=lambda event: states.append(event.state),
    )
    assert "finished" in states and "kept" not in states
    assert record.key == name and copied.intact(record)


def test_attention_without_a_kernel_is_built_from_plain_layers(
    tiny_edit_bundle: Path, rtx: None, tmp_path: Path
) -> None:
    """Float32 with a small head dimension: the plain build refuses, the decomposed one doesn't. Sides vary too."""
    bundle = Bundle.open(tiny_edit_bundle)
    records = {
        record.identity.graph: record
        for record in build_bundle(bundle, TARGET, graphs=["language", "step", "decode"], cache=tmp_path / "cache")
    }
    assert records["language"].decomposed
    assert records["step"].limit("height") is not None and records["decode"].limit("width") is not None


def test_two_profiles_that_double_the_weights_are_given_up(
    nano: Bundle, rtx: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = building.graph_profile(nano.manifest, "language", TARGET)
    both = ({**profile, "tokens": (1, 1, 1), "rows": (1, 1, 1)}, profile)
    monkeypatch.setattr(building, "engine_profiles", lambda *_: both)
    small = tmp_path / "small.py"
    small.write_text("from dimrt.engines import worker\nworker.SMALL = 0\nworker.main()\n", encoding="utf-8")
    monkeypatch.setattr(process, "COMMAND", (sys.executable, str(small)))
    (record,) = build_bundle(nano, TARGET, graphs=["language"], cache=tmp_path / "cache")
    assert record.identity.profiles == both
    assert record.profiles == (profile,)


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (lambda model: setattr(value(model, "hidden"), "name", "x"), "inputs are x, not hidden"),
        (lambda model: model.graph.output.pop(), "outputs are , not condition"),
        (
            lambda model: setattr(value(model, "hidden").type.tensor_type, "elem_type", onnx.TensorProto.FLOAT),
            "`hidden` is float32, not float16",
        ),
        (
            lambda model: setattr(value(model, "hidden").type.tensor_type.shape.dim[2], "dim_value", 256),
            "[1, 'rows', 256], not [1, 'rows', 192]",
        ),
        (
            lambda model: setattr(value(model, "hidden").type.tensor_type.shape.dim[1], "dim_param", "seq"),
            "[1, 'seq', 192], not [1, 'rows', 192]",
        ),
    ],
    ids=["name", "missing", "dtype", "size", "axis"],
)
def test_a_foreign_graph_is_refused_before_anything_is_built(
    rtx: None, tmp_path: Path, alter: object, said: str
) -> None:
    bundle = altered_bundle(tmp_path / "bundle", "connector", alter)  # type: ignore[arg-type]
    events: list[BuildEvent] = []
    with pytest.raises(BundleError) as caught:
        build_bundle(bundle, TARGET, cache=tmp_path / "cache", on_event=events.append)
    assert said in str(caught.value) and "connector.onnx" in str(caught.value)
    assert events == [] and not (tmp_path / "cache").exists()


def test_a_graph_with_an_unknown_operator_is_the_bundles_fault(rtx: None, tmp_path: Path) -> None:
    def alter(model: onnx.ModelProto) -> None:
        model.graph.node[0].op_type = "Frobnicate"

    bundle = altered_bundle(tmp_path / "bundle", "connector", alter)
    with pytest.raises(BundleError, match="Frobnicate"):
        build_bundle(bundle, TARGET, graphs=["connector"], cache=tmp_path / "cache")
    assert names_in(tmp_path / "cache") == []


def test_a_bundle_for_onnx_runtime_alone_is_told_apart(rtx: None, tmp_path: Path) -> None:
    def alter(model: onnx.ModelProto) -> None:
        model.graph.node[3].domain = "com.microsoft"

    bundle = altered_bundle(tmp_path / "bundle", "connector", alter)
    with pytest.raises(InputError, match=r"ONNX Runtime alone: TensorRT has no com\.microsoft\..*--fp16"):
        build_bundle(bundle, TARGET, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_too_little_memory_is_said_with_the_numbers_before_any_build(
    nano: Bundle, rtx: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "available_memory", lambda: 123_000_000)
    with pytest.raises(ResourceError, match=r"`step` takes about 0\.6 GB of memory .* 0\.1 GB are available"):
        build_bundle(nano, TARGET, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_too_little_disk_is_said_with_the_numbers_before_any_build(
    nano: Bundle, rtx: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "free_disk", lambda folder: 5_000_000)
    with pytest.raises(ResourceError, match=r"take up to 0\.7 GB and .* has 0\.0 GB free.*--cache"):
        build_bundle(nano, TARGET, cache=tmp_path / "cache")


def test_memory_that_runs_out_during_a_build_stops_it(
    nano: Bundle, rtx: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "available_memory", lambda: 1_000_000)
    monkeypatch.setattr(process, "POLL", 0.01)
    with pytest.raises(ResourceError, match="stopped, the machine has only 1 MB"):
        build_bundle(nano, TARGET, graphs=["step"], cache=tmp_path / "cache")
    assert names_in(tmp_path / "cache") == []


def test_cancelled_in_the_middle_nothing_of_the_graph_is_left(nano: Bundle, rtx: None, tmp_path: Path) -> None:
    cancel = threading.Event()

    def on_event(event: BuildEvent) -> None:
        if event.graph == "step" and event.state == "progress":
            cancel.set()

    with pytest.raises(Cancelled):
        build_bundle(
            nano, TARGET, graphs=["connector", "step"], cache=tmp_path / "cache", on_event=on_event, cancel=cancel
        )
    (kept,) = EngineCache(tmp_path / "cache").entries()
    assert kept.record is not None and kept.record.identity.graph == "connector"
    assert names_in(tmp_path / "cache") == [kept.key]


def test_a_process_killed_in_the_middle_is_reported(nano: Bundle, rtx: None, tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("finds the process by /proc")

    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.005):
            if (child := building_process()) is not None:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(ResourceError, match=r"`step`.*killed by signal 9.*memory"):
        build_bundle(nano, TARGET, graphs=["step"], cache=tmp_path / "cache")
    over.set()
    killer.join()
    assert names_in(tmp_path / "cache") == []


def building_process() -> int | None:
    """The child of this process that builds, once there is one."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if parent == os.getpid() and b"dimrt.engines.worker" in words:
            return int(folder.name)
    return None


def test_a_process_that_dies_with_words_is_reported_with_them(built: Build, tmp_path: Path) -> None:
    record = built.records[0]
    job = process.Job(
        "tensorrt-rtx", "x.onnx", "plan", record.inputs, record.outputs, {}, record.profiles, ("8.6",), 1, None
    )
    dying = (sys.executable, "-c", "import sys; print('the library gave up', file=sys.stderr); sys.exit(7)")
    steps: list[Step] = []
    with pytest.raises(ResourceError, match=r"`vision`.*status 7 after saying: the library gave up"):
        run(job, "vision", steps.append, command=dying)


def test_a_worker_whose_parent_is_gone_leaves(rtx: None) -> None:
    import subprocess

    waiting = "import threading, time; from dimrt.engines import worker; "
    waiting += "threading.Thread(target=worker.leave_with_parent, daemon=True).start(); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", waiting], stdin=subprocess.PIPE) as child:
        time.sleep(0.1)
        assert child.poll() is None
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(timeout=30) == 1


def test_unknown_graphs_are_refused(nano: Bundle, rtx: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'steps'.*it has vision, language"):
        build_bundle(nano, TARGET, graphs=["steps"], cache=tmp_path)


def test_a_processor_needs_no_engines() -> None:
    with pytest.raises(InputError, match="needs no engines"):
        building_place([load_target("cpu")])


def test_targets_of_two_flavours_do_not_share(rtx: None) -> None:
    with pytest.raises(InputError, match="can't share engines"):
        building_place([load_target("rtx-4060"), load_target("orin-nx-16gb")])


def test_a_card_that_the_flavour_does_not_know_is_refused(rtx: None) -> None:
    odd = msgspec.structs.replace(TARGET, compute_capability="9.0")
    with pytest.raises(ResourceError, match=r"9\.0.*builds for .*8\.9.*rtx-4060"):
        building_place([odd])


def test_a_target_built_on_the_device_itself_says_what_can_be_built_here(
    rtx: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TensorRT installed and no GPU; its Python API is the same, without compute capabilities."""
    module = type(sys)("tensorrt")
    module.__version__ = "10.3.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    assert not load_flavour("tensorrt").ahead

    def no_gpu() -> None:
        raise ResourceError("no NVIDIA driver found")

    monkeypatch.setattr("dimrt.engines.place.detect", no_gpu)
    with pytest.raises(ResourceError, match=r"built on the device itself.*no NVIDIA driver.*ahead of time: rtx-3060"):
        building_place([load_target("orin-nano-8gb")])


def test_a_missing_flavour_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(ResourceError, match=r'pip install "dimrt\[rtx\]"'):
        building_place([TARGET])


def test_a_record_is_json_that_says_everything(built: Build) -> None:
    record = built.records[0]
    document = json.loads((built.cache.root / "engines" / record.key / "engine.json").read_bytes())
    assert document["identity"]["bundle"] == built.bundle.digest
    assert document["weights_bytes"] > 0 and document["build_seconds"] > 0
    assert document["format"] == 1
