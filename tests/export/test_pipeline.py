"""Export as a whole: what is written, what is refused, and what is left behind when it fails or is interrupted."""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import write_tiny_checkpoint

from dimrt.bundle import Bundle
from dimrt.errors import Cancelled, CheckFailed, CheckpointError, InputError, ResourceError
from dimrt.export import graphs, ranges, resources
from dimrt.export.graphs.cases import Case
from dimrt.export.graphs.check import errors, measure
from dimrt.export.graphs.contract import GraphDefinition
from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.pipeline import ExportEvent, export_bundle
from dimrt.export.precision import FP16, FP32, load_recipe
from dimrt.export.precision.analyze import analyze_checkpoint
from dimrt.export.writer import Writer
from dimrt.memory.count import OVERHEAD


@pytest.fixture(scope="module")
def checkpoint(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(reference, tmp_path_factory.mktemp("checkpoint") / "tiny", "edit")


@pytest.fixture
def connector_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports of the smallest graph alone: the rest of the pipeline is the same."""
    monkeypatch.setattr(graphs, "graph_names", lambda config: ("connector",))


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_bundle_is_complete_and_describes_itself(tiny_edit_bundle: Path, tiny_generate_bundle: Path) -> None:
    edit, generate = Bundle.open(tiny_edit_bundle).manifest, Bundle.open(tiny_generate_bundle).manifest
    assert list(edit.graphs) == ["vision", "language", "connector", "context", "step", "encode", "decode"]
    assert list(generate.graphs) == ["vision", "language", "connector", "context", "step", "decode"]
    assert (edit.painter.task, generate.painter.task) == ("edit", "generate")
    assert edit.provenance.checkpoint == "checkpoint"
    assert edit.provenance.versions.keys() == {"torch", "transformers", "diffusers", "onnx", "onnxscript"}
    assert edit.designer.tokens.stop == (561, 560)
    assert edit.designer.language.mrope_section == (2, 3, 3)
    assert edit.designer.vision.max_pixels == 12845056


@pytest.mark.usefixtures("connector_only")
def test_the_same_checkpoint_gives_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    first = export_bundle(checkpoint, tmp_path / "first", FP16, offline=True)
    second = export_bundle(checkpoint, tmp_path / "second", FP16, offline=True)
    assert contents(first) == contents(second)
    assert "onnx/connector.onnx.data" in contents(first)


@pytest.mark.usefixtures("connector_only")
def test_events_count_up_and_carry_the_error(checkpoint: Path, tmp_path: Path) -> None:
    seen: list[ExportEvent] = []
    export_bundle(checkpoint, tmp_path / "out", FP32, offline=True, on_event=seen.append)
    assert [event.done for event in seen] == sorted(event.done for event in seen)
    assert seen[-1].done == seen[-1].total == 4
    assert {event.phase for event in seen} == {"load", "connector", "tables", "verify"}
    assert [event.phase for event in seen if event.measured] == ["connector"]


@pytest.mark.usefixtures("connector_only")
def test_an_existing_folder_is_refused_and_only_replaced_when_asked(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="out"):
        export_bundle(checkpoint, out, FP32, offline=True)
    assert (out / "mine.txt").read_text() == "precious"
    export_bundle(checkpoint, out, FP32, offline=True, replace=True)
    Bundle.open(out)
    assert not (out / "mine.txt").exists()


@pytest.mark.usefixtures("connector_only")
def test_a_graph_out_of_tolerance_fails_the_export(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight changed by a hundredth on its way into the graph is noticed, named, and leaves no bundle."""
    define = graphs.define

    def bent(*arguments: object) -> GraphDefinition:
        definition = define(*arguments)
        weight = definition.module.second.weight
        make = weight.origin.make
        weight.origin = replace(weight.origin, make=lambda tensor: make(tensor) * 1.01)
        return definition

    monkeypatch.setattr(graphs, "define", bent)
    with pytest.raises(CheckFailed, match=r"connector.*condition.*limit is 0\.002") as caught:
        export_bundle(checkpoint, tmp_path / "out", FP16, offline=True)
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("connector_only")
@pytest.mark.skipif(sys.platform == "win32", reason="no file-size limit there")
@pytest.mark.parametrize(("limit", "kept"), [(6_000, False), (60_000, True)], ids=["in a graph", "in a table"])
def test_a_write_that_runs_out_of_room_goes_on_later(checkpoint: Path, tmp_path: Path, limit: int, kept: bool) -> None:
    """What was finished stays, if anything was; with room again the same call gives the bundle it would have given."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def shrink(event: ExportEvent) -> None:
        if event.phase == "connector" and event.measured is None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))

    try:
        with pytest.raises(ResourceError, match="free some space") as caught:
            export_bundle(checkpoint, tmp_path / "out", FP32, offline=True, on_event=shrink)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ("run the same command again" in str(caught.value)) == kept
    assert [path.name for path in tmp_path.iterdir()] == ([".out.dimrt-export"] if kept else [])
    export_bundle(checkpoint, tmp_path / "out", FP32, offline=True)
    fresh = export_bundle(checkpoint, tmp_path / "fresh", FP32, offline=True)
    assert contents(tmp_path / "out") == contents(fresh)


@pytest.mark.usefixtures("connector_only")
def test_too_little_memory_is_said_so(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Writer, "write_made", lambda *arguments: torch.empty(2**60))
    with pytest.raises(ResourceError, match="memory"):
        export_bundle(checkpoint, tmp_path / "out", FP32, offline=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("connector_only")
@pytest.mark.parametrize("what", ["available_memory", "free_disk"])
def test_a_machine_that_is_too_small_is_refused_before_any_graph(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(resources, what, lambda *arguments: 1_000)
    seen: list[ExportEvent] = []
    with pytest.raises(ResourceError, match=r"\d,\d{3}.* 1,000 are") as caught:
        export_bundle(checkpoint, tmp_path / "out", FP32, offline=True, on_event=seen.append)
    assert caught.value.exit_code == 3
    assert {event.phase for event in seen} == {"load"}
    assert list(tmp_path.iterdir()) == []


def test_a_calibration_that_cannot_fit_is_refused_before_any_graph(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the unquantized model, whose weights a processor holds in float32, the larger role has to fit."""
    recipe = load_recipe("int8")
    writer = Writer(Checkpoint.open(checkpoint, offline=True), recipe.unquantized())
    designer = 2 * sum(writer.graph_bytes(graph) for graph in ("vision", "language", "connector"))
    needed = designer + OVERHEAD["onnxruntime"]
    monkeypatch.setattr(ranges, "available_memory", lambda: needed - 1)
    seen: list[ExportEvent] = []
    with pytest.raises(ResourceError, match=rf"designer alone take {needed:,} bytes.* {needed - 1:,} are.*none") as e:
        export_bundle(checkpoint, tmp_path / "out", recipe, offline=True, on_event=seen.append)
    assert e.value.exit_code == 3
    assert {event.phase for event in seen} == {"load"}
    with pytest.raises(ResourceError, match=f"{needed:,} bytes"):
        analyze_checkpoint(checkpoint, offline=True, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(ranges, "available_memory", lambda: needed)
    ranges.check_calibration_memory(writer, graphs.graph_names(writer.source.config))


@pytest.mark.usefixtures("connector_only")
def test_what_is_not_calibrated_needs_no_room_to_run(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "available_memory", lambda: 0)
    out = export_bundle(checkpoint, tmp_path / "out", load_recipe("int8"), offline=True, calibration="none")
    assert "assumed" in str(Bundle.open(out).manifest.provenance.calibration)


@pytest.mark.usefixtures("connector_only")
@pytest.mark.parametrize("error", [Cancelled, KeyboardInterrupt])
def test_a_cancelled_export_leaves_the_old_bundle_and_goes_on_later(
    checkpoint: Path, tmp_path: Path, error: type[BaseException]
) -> None:
    out = export_bundle(checkpoint, tmp_path / "out", FP32, offline=True)
    before = contents(out)

    def cancel(event: ExportEvent) -> None:
        if event.phase == "verify":
            raise error

    with pytest.raises(error):
        export_bundle(checkpoint, out, FP16, offline=True, replace=True, on_event=cancel)
    assert contents(out) == before
    notes: list[str | None] = []
    export_bundle(checkpoint, out, FP16, offline=True, replace=True, on_event=lambda event: notes.append(event.note))
    assert any(note and "going on" in note for note in notes)
    assert contents(out) == contents(export_bundle(checkpoint, tmp_path / "fresh", FP16, offline=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh", "out"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("tokenizer.json", None, "tokenizer.json"),
        ("tokenizer.json", b"{}", "tokenizer"),
        ("preprocessor_config.json", b'{"image_mean": [0, 0, 0]}', "image_std"),
        ("preprocessor_config.json", b"[", "preprocessor_config.json"),
    ],
)
def test_a_designer_folder_that_lacks_something_is_named(
    reference: Path, tmp_path: Path, file: str, content: bytes | None, message: str
) -> None:
    folder = write_tiny_checkpoint(reference, tmp_path / "damaged", "edit")
    path = folder / "qwen" / file
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        export_bundle(folder, tmp_path / "out", FP32, offline=True)
    assert not (tmp_path / "out").exists()


def test_the_worst_case_counts(tiny_edit_bundle: Path, checkpoint: Path) -> None:
    """A single bad case among good ones fails the graph, and so does a value that isn't finite."""
    bundle = Bundle.open(tiny_edit_bundle)
    facts = bundle.manifest.graphs["connector"]
    definition = GraphDefinition("connector", torch.nn.Identity(), facts.inputs, facts.outputs, {})
    path = bundle.graph_path("connector")
    hidden = np.zeros((1, 3, 64), np.float32)
    good = np.load(Path(__file__).parent.parent / "fixtures" / "reference" / "projector_tiny.npz")
    right = Case({"hidden": good["x"]}, {"condition": good["out"]})
    wrong = Case({"hidden": good["x"]}, {"condition": good["out"] * np.float32(1.001)})
    assert measure(definition, path, [right, right], 1e-4).cases == 2
    with pytest.raises(CheckFailed):
        measure(definition, path, [right, wrong, right], 1e-4)
    with pytest.raises(CheckFailed, match="inf"):
        measure(replace(definition), path, [Case({"hidden": hidden * np.nan}, {"condition": good["out"][:, :3]})], 1e9)
    assert errors(np.ones(3), np.ones(4)) == (float("inf"), float("inf"))


def test_nano_from_an_installed_package_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dimrt.export.pipeline.NANO", tmp_path / "absent")
    with pytest.raises(InputError, match="clone the repository"):
        export_bundle("nano", tmp_path / "out", FP32)
    assert not (tmp_path / "out").exists()
