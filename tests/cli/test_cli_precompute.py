"""`dimrt precompute`: data sets become shards, and what goes wrong is said."""

import json
import signal
import time
from pathlib import Path

import pytest
from cli_harness import Dimrt, left_in, start

pytest.importorskip("torch")

from tiny import write_tiny_checkpoint
from training_sets import write_dim_edit

from dimrt.export.train.data.precomputed import Precomputed


@pytest.fixture(scope="module")
def checkpoint(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny edit checkpoint."""
    return write_tiny_checkpoint(reference, tmp_path_factory.mktemp("tiny") / "checkpoint", "edit")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six rows, one of them without its source, in two shapes."""
    path, rows = write_dim_edit(tmp_path / "set", 6, ((128, 128), (200, 110)), "x")
    (path.parent / rows[4]["image_path"]).unlink()
    return path


def test_a_set_becomes_shards(dimrt: Dimrt, data: Path, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ("precompute", f"dim-edit={data.parent}", "-o", out, "--checkpoint", checkpoint, "--offline")
    done = dimrt(*line, "--shard-size", 2, "--json")
    assert done.code == 0, done.err
    assert done.document == {
        "output": str(out),
        "complete": True,
        "examples": 5,
        "left_out": 1,
        "problems": {"missing picture": 1},
    }
    (problem,) = (out / "problems.jsonl").read_text().splitlines()
    assert json.loads(problem)["line"] == 5 and json.loads(problem)["file"] == str(data.resolve())
    stored = Precomputed(out)
    stored.verify()
    assert len(stored) == 5 and len(stored.index.shards) == 3
    again = dimrt(*line, "--shard-size", 2)
    assert again.code == 0
    assert "3 of 3 shards are there already" in again.err
    assert "missing picture" in again.err and f"{data.resolve()}:5" in again.err


def test_shares_and_tables(dimrt: Dimrt, data: Path, checkpoint: Path, tmp_path: Path) -> None:
    table = tmp_path / "data.toml"
    table.write_text('[[data]]\nkind = "dim-edit"\npath = "set"\nweight = 0.5\n')
    line = ("precompute", table, "-o", tmp_path / "out", "--checkpoint", checkpoint, "--offline", "--shard-size", 2)
    first = dimrt(*line, "--share", "2/2", "--json")
    assert first.code == 0 and not first.document["complete"], first.err
    second = dimrt(*line, "--share", "1/2", "--json")
    assert second.document["complete"] and second.document["examples"] == 5
    assert list(Precomputed(tmp_path / "out").weights()) == [0.5] * 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "KIND=PATH|dim-edit=…"),
        (["nothing.toml"], "no such file"),
        (["dim-edit=none"], "none"),
        (["{data}", "--share", "3/2"], "--share 3/2"),
        (["{data}", "-o", "none/out"], "Create it first"),
        (["{data}", "--checkpoint", "none"], "none"),
        (["{data}", "--checkpoint", "nano", "--restart", "-o", "{data_folder}"], "holds other files"),
    ],
)
def test_what_is_wrong_is_said_before_the_work(
    dimrt: Dimrt, data: Path, checkpoint: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    words = [word.format(data=f"dim-edit={data}", data_folder=data.parent) for word in arguments]
    line = ["-o", tmp_path / "out", "--checkpoint", checkpoint, "--offline"]
    done = dimrt("precompute", *line, *words)
    assert done.code == 2
    assert any(part in done.err for part in message.split("|")), done.err
    assert not (tmp_path / "out").exists()
    assert sorted(left_in(data.parent)) == ["image", "tos_dataset_edit.jsonl"]


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_job_goes_on(dimrt: Dimrt, checkpoint: Path, tmp_path: Path, kind: signal.Signals) -> None:
    path, _ = write_dim_edit(tmp_path / "set", 60, text="x")
    out = tmp_path / "out"
    line = ("precompute", f"dim-edit={path}", "-o", out, "--checkpoint", checkpoint, "--offline", "--shard-size", 1)
    job = start(*line, stderr=-1)
    while job.poll() is None and not list(out.glob("shard-*.json")):
        time.sleep(0.01)
    job.send_signal(kind)
    _, said = job.communicate()
    assert 0 < len(list(out.glob("shard-*.json"))) < 60
    assert not (out / "index.json").exists()
    if kind == signal.SIGINT:
        assert job.returncode == 130
        assert "give the same command again" in said.decode()
    done = dimrt(*line, "--json")
    assert done.code == 0 and done.document["examples"] == 60
    assert len(Precomputed(out)) == 60
    assert not list(out.glob(".dimrt-*"))
