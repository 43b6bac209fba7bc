"""Streaming and going on: whatever moment an export is killed at, the same command gives the same bytes."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import exporting
import numpy as np
import onnx_ir as ir
import pytest
from tiny import write_tiny_checkpoint

from dimrt.bundle import Bundle
from dimrt.errors import CheckpointError, InputError
from dimrt.export import graphs
from dimrt.export.graphs.weights import Piece, Slot, data_bytes, pieces, write_weights
from dimrt.export.graphs.write import trace
from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.model.dim import build_dim
from dimrt.export.pipeline import ExportEvent, export_bundle
from dimrt.export.precision import FP16, FP32
from dimrt.export.staging import JOURNAL, Staging
from dimrt.export.stream import Mark, Stream, Unkept
from dimrt.manifest import FileRecord

GRAPHS = "connector,context"
"""Enough of a bundle to be killed in: the rest runs through the same code."""


class Remembered(Unkept):
    """A ledger in memory, that may end the writing after so many bytes."""

    def __init__(self, ends_after: int | None = None) -> None:
        self.marks: dict[str, Mark] = {}
        self.seen, self.ends_after = 0, ends_after

    def mark(self, name: str) -> Mark | None:
        return self.marks.get(name)

    def keep(self, name: str, mark: Mark) -> None:
        self.marks[name] = mark

    def wrote(self, count: int) -> None:
        self.seen += count
        if self.ends_after is not None and self.seen >= self.ends_after:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def checkpoint(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(reference, tmp_path_factory.mktemp("checkpoint") / "tiny", "edit")


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def write_parts(path: Path, parts: list[bytes], ledger: Remembered) -> FileRecord:
    with Stream(path, "file", ledger) as stream:
        for part in parts[stream.parts :]:
            stream.write(part)
            stream.complete_part()
        return stream.record()


PARTS = [bytes([number]) * size for number, size in enumerate((10, 300, 1, 0, 77))]


@pytest.mark.parametrize("ends_after", [1, 10, 11, 310, 311, 388])
def test_a_stream_goes_on_after_its_last_complete_part(tmp_path: Path, ends_after: int) -> None:
    ledger = Remembered(ends_after)
    with pytest.raises(KeyboardInterrupt):
        write_parts(tmp_path / "file", PARTS, ledger)
    ledger.ends_after = None
    record = write_parts(tmp_path / "file", PARTS, ledger)
    whole = b"".join(PARTS)
    assert (tmp_path / "file").read_bytes() == whole
    assert record == FileRecord(size=len(whole), sha256=hashlib.sha256(whole).hexdigest())


def damage(path: Path, kind: str) -> None:
    raw = bytearray(path.read_bytes())
    if kind == "flipped":
        raw[5] ^= 1
    elif kind == "cut":
        del raw[200:]
    else:
        raw += b"rubbish"
    path.write_bytes(raw)


@pytest.mark.parametrize("kind", ["flipped", "cut", "longer"])
def test_a_stream_trusts_only_bytes_with_the_right_sum(tmp_path: Path, kind: str) -> None:
    """A lost page or a torn write is found, and the file begins anew; rubbish behind the last part is cut off."""
    ledger = Remembered(350)
    with pytest.raises(KeyboardInterrupt):
        write_parts(tmp_path / "file", PARTS, ledger)
    damage(tmp_path / "file", kind)
    ledger.ends_after = None
    write_parts(tmp_path / "file", PARTS, ledger)
    assert (tmp_path / "file").read_bytes() == b"".join(PARTS)


@pytest.fixture
def graph() -> ir.Model:
    """A graph with three initializers and no values."""
    model = ir.Model(ir.Graph([], [], nodes=[], name="weights", opset_imports={"": 24}), ir_version=10)
    for name in ("a", "b", "c"):
        model.graph.initializers.add(ir.Value(name=name))
    return model


def test_weights_lie_where_their_sizes_put_them(tmp_path: Path, graph: ir.Model) -> None:
    """Large ones begin at a page; 4-bit values take half a byte; a piece may make several."""
    values = {
        "a": np.arange(3000, dtype=np.float32).reshape(30, 100),
        "b": np.arange(600_000, dtype=np.float16).reshape(600, 1000),
        "c": np.arange(100, dtype=np.uint8),
    }
    slots = {
        "a": Slot("a", ir.DataType.FLOAT, (30, 100)),
        "b": Slot("b", ir.DataType.FLOAT16, (600, 1000)),
        "c": Slot("c", ir.DataType.UINT4, (100, 2)),
    }
    made = [Piece((slots["a"],), lambda: (values["a"],))]
    made.append(Piece((slots["b"], slots["c"]), lambda: (values["b"], values["c"])))
    records = write_weights(graph, made, tmp_path / "g.onnx")
    assert records["g.onnx.data"].size == data_bytes(made) == (tmp_path / "g.onnx.data").stat().st_size
    read = ir.load(tmp_path / "g.onnx").graph.initializers
    assert read["b"].const_value.offset % 4096 == 0
    for name in "ab":
        np.testing.assert_array_equal(read[name].const_value.numpy(), values[name])
    assert read["c"].const_value.tobytes() == values["c"].tobytes()


def test_a_piece_of_the_wrong_size_is_never_written(tmp_path: Path, graph: ir.Model) -> None:
    wrong = Piece((Slot("a", ir.DataType.FLOAT, (2, 2)),), lambda: (np.zeros(4, np.float16),))
    with pytest.raises(RuntimeError, match="a: 8 bytes were made for 16"):
        write_weights(graph, [wrong], tmp_path / "g.onnx")


def test_a_checkpoint_gives_single_tensors_as_the_model_holds_them(checkpoint: Path) -> None:
    """Every tensor, fused ones split and the tied head included."""
    opened = Checkpoint.open(checkpoint, offline=True)
    for name, tensor in build_dim(opened).state_dict().items():
        np.testing.assert_array_equal(opened.read(name).float().numpy(), tensor.numpy(), err_msg=name)


def test_a_checkpoint_file_that_is_mapped_anew_reads_the_same(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Checkpoint.open(checkpoint, offline=True)
    name = "designer.model.language_model.embed_tokens.weight"
    first = opened.read(name)
    monkeypatch.setattr("dimrt.export.model.weights.REMAPPED", 1)
    assert first.equal(opened.read(name))


def test_a_checkpoint_cut_off_while_it_is_read_is_named(reference: Path, tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(reference, tmp_path / "tiny", "edit")
    opened = Checkpoint.open(folder, offline=True)
    weights = folder / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        for name in build_names(opened):
            opened.read(name)


def build_names(opened: Checkpoint) -> Iterator[str]:
    for name, _ in exporting.random_model(64, 1).shapes.items():
        yield name


def test_a_graph_traced_without_storage_is_the_one_traced_with_it(checkpoint: Path, tmp_path: Path) -> None:
    """Same nodes, same bytes, whether the weights are in memory or read one by one."""
    from dimrt.export.model.assembly import empty_dim

    opened = Checkpoint.open(checkpoint, offline=True)
    full, empty = build_dim(opened), empty_dim(opened.config, opened.parts)
    names = {id(parameter): name for name, parameter in empty.named_parameters()}
    held, read = graphs.define("connector", full, FP16), graphs.define("connector", empty, FP16)
    model = trace(held)
    write_weights(model, pieces(held, model), tmp_path / "held.onnx")
    model = trace(read)
    write_weights(model, pieces(read, model, names, opened.read), tmp_path / "read.onnx")
    held_data, read_data = (tmp_path / f"{name}.onnx.data" for name in ("held", "read"))
    assert held_data.read_bytes() == read_data.read_bytes()
    assert next(full.connector.parameters()).device.type == "cpu"


def run_export(checkpoint: object, out: Path, *more: str) -> "subprocess.Popen[str]":
    tests = Path(__file__).parent
    path = os.pathsep.join([str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, str(tests / "exporting.py"), str(checkpoint), str(out), *more],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_an_export_killed_at_any_moment_goes_on(checkpoint: Path, tmp_path: Path) -> None:
    """Killed again and again, one event later each time: what comes of it is what an undisturbed export gives."""
    fresh, out = tmp_path / "fresh", tmp_path / "out"
    process = run_export(checkpoint, fresh, "fp16", GRAPHS)
    assert process.stdout is not None
    lines = [tuple(line.split()[:2]) for line in process.stdout]
    assert process.wait() == 0
    kept: set[str] = set()
    for moment in (("connector", "1"), ("connector", "2"), ("tables", "3"), ("verify", "4")):
        assert moment in lines
        process = run_export(checkpoint, out, "fp16", GRAPHS)
        assert process.stdout is not None
        for line in process.stdout:
            if tuple(line.split()[:2]) == moment:
                os.kill(process.pid, signal.SIGKILL)
                break
        assert process.wait() == -signal.SIGKILL
        assert not out.exists()
        journal = (tmp_path / ".out.dimrt-export" / JOURNAL).read_text()
        finished = {name for name in GRAPHS.split(",") if f'"finished","name":"{name}"' in journal}
        assert kept <= finished
        kept = finished
    process = run_export(checkpoint, out, "fp16", GRAPHS)
    assert process.wait() == 0
    assert kept == set(GRAPHS.split(","))
    assert contents(out) == contents(fresh)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh", "out"]


@pytest.fixture
def connector_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "graph_names", lambda config: ("connector",))


def interrupt(checkpoint: Path, out: Path, phase: str = "verify") -> Path:
    """An export that ends at the beginning of a phase; returns what it leaves."""

    def cancel(event: ExportEvent) -> None:
        if event.phase == phase:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_bundle(checkpoint, out, FP16, offline=True, on_event=cancel)
    return out.parent / f".{out.name}.dimrt-export"


@pytest.mark.usefixtures("connector_only")
@pytest.mark.parametrize(
    "harm",
    [
        lambda left: damage(left / "bundle" / "onnx" / "connector.onnx.data", "flipped"),
        lambda left: (left / "bundle" / "onnx" / "connector.onnx").unlink(),
        lambda left: (left / "bundle" / "onnx" / "stray.onnx").write_bytes(b"?"),
        lambda left: (left / JOURNAL).write_bytes((left / JOURNAL).read_bytes()[:-20]),
        lambda left: (left / JOURNAL).write_bytes(b"\x00\xff not a journal"),
        lambda left: (left / JOURNAL).unlink(),
        lambda left: damage(left / "bundle" / "tables" / "embeddings.safetensors", "cut"),
    ],
    ids=["a flipped byte", "a lost file", "a stray file", "a torn journal", "rubbish", "no journal", "a cut table"],
)
def test_damage_to_what_was_left_is_made_good(checkpoint: Path, tmp_path: Path, harm: object) -> None:
    left = interrupt(checkpoint, tmp_path / "out")
    harm(left)  # type: ignore[operator]
    export_bundle(checkpoint, tmp_path / "out", FP16, offline=True)
    Bundle.open(tmp_path / "out", verify="full")
    assert contents(tmp_path / "out") == contents(export_bundle(checkpoint, tmp_path / "b", FP16, offline=True))


@pytest.mark.usefixtures("connector_only")
@pytest.mark.parametrize("change", ["recipe", "checkpoint", "restart"])
def test_another_export_to_the_same_place_begins_anew(
    checkpoint: Path, reference: Path, tmp_path: Path, change: str
) -> None:
    interrupt(checkpoint, tmp_path / "out")
    notes: list[str] = []
    source = checkpoint if change != "checkpoint" else write_tiny_checkpoint(reference, tmp_path / "tiny", "edit")
    export_bundle(
        source,
        tmp_path / "out",
        FP32 if change == "recipe" else FP16,
        offline=True,
        restart=change == "restart",
        on_event=lambda event: notes.append(event.note) if event.note else None,
    )
    assert len(notes) == 1 and "discarded" in notes[0] and "going on" not in notes[0]
    Bundle.open(tmp_path / "out", verify="full")


@pytest.mark.usefixtures("connector_only")
def test_two_exports_to_one_place_at_once(checkpoint: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    def again(event: ExportEvent) -> None:
        if event.phase == "tables" and not refused:
            with pytest.raises(InputError, match="another export") as caught:
                export_bundle(checkpoint, tmp_path / "out", FP16, offline=True)
            refused.append(str(caught.value))

    export_bundle(checkpoint, tmp_path / "out", FP16, offline=True, on_event=again)
    assert refused and "out" in refused[0]
    Bundle.open(tmp_path / "out", verify="full")


def test_what_another_export_left_is_seen_before_it_is_discarded(tmp_path: Path) -> None:
    with Staging(tmp_path / "out", "one", replace=False) as staging:
        (staging.folder / "file").write_bytes(b"1")
        assert staging.found == "nothing"
    with Staging(tmp_path / "out", "one", replace=False) as staging:
        assert staging.found == "this"
    with Staging(tmp_path / "out", "two", replace=False) as staging:
        assert staging.found == "another"
        assert list(staging.folder.iterdir()) == []
        staging.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("renames", [1, 2])
@pytest.mark.parametrize("key", ["same", "another"])
def test_a_kill_while_a_bundle_is_replaced_loses_neither(tmp_path: Path, renames: int, key: str) -> None:
    """Between the two renames the old folder is put back; after the second the new one stands, and the rest goes."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "content").write_text("old")
    with Staging(out, "same", replace=True) as staging:
        (staging.folder / "content").write_text("new")
    out.rename(staging.root / "replaced")
    if renames == 2:
        staging.folder.rename(out)
    with Staging(out, key, replace=True) as again:
        assert (out / "content").read_text() == ("old" if renames == 1 else "new")
        assert again.found == {(1, "same"): "this", (1, "another"): "another"}.get((renames, key), "nothing")
        again.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_below_the_weights(tmp_path: Path) -> None:
    """A model whose weights are larger than what its export may take beside the libraries."""
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "import exporting\n"
        "from dimrt.export.model.random import RandomCheckpoint\n"
        "from dimrt.export.precision import FP32\n"
        "from dimrt.export.writer import Writer\n"
        "source = exporting.random_model(2048, 4)\n"
        "writer = Writer(source, FP32)\n"
        "peak = lambda: int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]) * 1024\n"
        "before = peak()\n"
        "files = writer.write_graph(writer.define('language'), Path(sys.argv[1]))\n"
        "print(peak() - before, sum(record.size for record in files.values()))\n"
    )
    tests = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)]), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    grown, size = map(int, done.stdout.split())
    assert size > 700e6
    assert grown < 0.8 * size, (grown, size)
