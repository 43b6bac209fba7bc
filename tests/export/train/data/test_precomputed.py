"""Latents and conditions on disk: equal to those made on demand, resumable, verified."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_sets import write_dim_edit

from dimrt.errors import CheckFailed, CheckpointError, InputError, ResourceError
from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.train.data import precompute as precomputing
from dimrt.export.train.data.formats import open_rows
from dimrt.export.train.data.frozen import Frozen, frozen_digests
from dimrt.export.train.data.mixed import open_examples
from dimrt.export.train.data.online import Online
from dimrt.export.train.data.precompute import PrecomputeEvent, Work, precompute
from dimrt.export.train.data.precomputed import Precomputed
from dimrt.export.train.data.problems import Problems
from dimrt.export.train.data.shards import Index, OpenShard, write_shard
from dimrt.export.train.data.spec import DataSpec

SIZES = ((128, 128), (200, 110))
DIGESTS = {"designer": "d", "autoencoder": "a"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Seven rows of two sizes; the target of the third is damaged behind its header."""
    path, rows = write_dim_edit(tmp_path / "set", 7, SIZES, "x")
    damaged = path.parent / rows[2]["image_path_target"]
    damaged.write_bytes(damaged.read_bytes()[:200])
    return path


def work(path: Path, tiny: Frozen, folder: Path, **options: Any) -> tuple[Work, Problems]:
    problems = Problems()
    online = Online(open_rows(DataSpec("dim-edit", str(path)), problems), tiny, problems)
    return Work([online], DIGESTS, folder, **{"batch": 2, "shard_examples": 3, **options}), problems


def write(path: Path, tiny: Frozen, folder: Path, **options: Any) -> Index | None:
    return precompute(*work(path, tiny, folder, **options))


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_examples_equal_those_made_on_demand(data: Path, tmp_path: Path, tiny: Frozen) -> None:
    job, problems = work(data, tiny, tmp_path / "out", dtype="float32")
    index = precompute(job, problems)
    assert index is not None and index.examples == 6 and [shard.examples for shard in index.shards] == [2, 3, 1]
    assert [(problem.kind, problem.line) for problem in problems] == [("unreadable picture", 3)]
    (line,) = (tmp_path / "out" / "problems.jsonl").read_text().splitlines()
    assert json.loads(line)["line"] == 3
    online = job.sets[0]
    stored = Precomputed(tmp_path / "out")
    stored.verify()
    kept = [0, 1, 3, 4, 5, 6]
    assert list(stored.sizes()) == [online.sizes()[index] for index in kept]
    assert list(stored.weights()) == [1.0] * 6 and len(stored) == 6
    for places in ([0, 5], [1, 4], [3]):
        expected, found = online.batch([kept[place] for place in places]), stored.batch(places)
        assert found.keys == expected.keys
        for name in ("target", "source", "condition", "mask"):
            values = getattr(found, name)
            assert values.dtype == torch.float32
            torch.testing.assert_close(values, getattr(expected, name), atol=2e-5, rtol=1e-5)


def test_half_precision_is_near_and_half_as_large(data: Path, tmp_path: Path, tiny: Frozen) -> None:
    whole, half = (write(data, tiny, tmp_path / name, dtype=name) for name in ("float32", "float16"))
    assert whole is not None and half is not None
    sizes = [sum(shard.size for shard in index.shards) for index in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0]
    one, other = (Precomputed(tmp_path / name).batch([0, 5]) for name in ("float32", "float16"))
    torch.testing.assert_close(one.condition, other.condition, atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(one.target, other.target, atol=1e-2, rtol=1e-3)
    assert not torch.equal(one.target, other.target)


def test_a_batch_of_several_sizes_is_refused(data: Path, tmp_path: Path, tiny: Frozen) -> None:
    write(data, tiny, tmp_path / "out")
    with pytest.raises(InputError, match="one latent size"):
        Precomputed(tmp_path / "out").batch([0, 1])


class Killed(Exception):
    """A process that ends at this place."""


def killed_after(examples: int) -> Callable[[PrecomputeEvent], None]:
    def notify(event: PrecomputeEvent) -> None:
        if event.done >= examples:
            raise Killed

    return notify


@pytest.mark.parametrize("examples", [1, 3, 5, 7])
def test_a_killed_run_goes_on_and_ends_in_the_same_files(
    data: Path, tmp_path: Path, tiny: Frozen, examples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(data, tiny, tmp_path / "whole")
    with pytest.raises(Killed):
        precompute(*work(data, tiny, tmp_path / "out"), notify=killed_after(examples))
    with pytest.raises(InputError, match="isn't finished"):
        Precomputed(tmp_path / "out")
    (tmp_path / "out" / ".dimrt-0123456789ab.partial").write_bytes(b"half a shard")
    before = {name for name in contents(tmp_path / "out") if name.endswith(".safetensors")}
    written: list[str] = []

    def counted(path: Path, *arguments: Any) -> Any:
        written.append(path.name)
        return write_shard(path, *arguments)

    monkeypatch.setattr(precomputing, "write_shard", counted)
    job, problems = work(data, tiny, tmp_path / "out")
    assert precompute(job, problems) is not None
    assert before.isdisjoint(written) and len(before) + len(written) == 3
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert [problem.line for problem in problems] == [3]


def test_a_finished_folder_is_left_alone_and_a_lost_shard_is_made_anew(
    data: Path, tmp_path: Path, tiny: Frozen
) -> None:
    write(data, tiny, tmp_path / "out")
    before = contents(tmp_path / "out")
    events: list[PrecomputeEvent] = []
    precompute(*work(data, tiny, tmp_path / "out"), notify=events.append)
    assert contents(tmp_path / "out") == before
    assert [(event.done, event.total) for event in events] == [(7, 7)] and "3 of 3 shards" in str(events[0].note)
    (tmp_path / "out" / "shard-00001.safetensors").unlink()
    with pytest.raises(InputError, match="is missing"):
        Precomputed(tmp_path / "out")
    write(data, tiny, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_shards_are_shared_by_processes(data: Path, tmp_path: Path, tiny: Frozen) -> None:
    write(data, tiny, tmp_path / "whole")
    assert write(data, tiny, tmp_path / "out", share=(1, 2)) is None
    assert write(data, tiny, tmp_path / "out", share=(0, 2)) is not None
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


CHANGES: dict[str, dict[str, Any]] = {
    "dtype": {"dtype": "float32"},
    "shards": {"shard_examples": 4},
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_settings_are_refused_until_begun_anew(data: Path, tmp_path: Path, tiny: Frozen, change: str) -> None:
    write(data, tiny, tmp_path / "out")
    with pytest.raises(InputError, match="--restart"):
        write(data, tiny, tmp_path / "out", **CHANGES[change])
    assert precompute(*work(data, tiny, tmp_path / "out", **CHANGES[change]), restart=True) is not None
    assert len(Precomputed(tmp_path / "out")) == 6


def test_other_data_is_refused(data: Path, tmp_path: Path, tiny: Frozen) -> None:
    write(data, tiny, tmp_path / "out")
    data.write_text("\n".join(data.read_text().splitlines()[:5]))
    with pytest.raises(InputError, match="other data"):
        write(data, tiny, tmp_path / "out")


def test_a_folder_of_something_else_is_left_alone(data: Path, tmp_path: Path, tiny: Frozen) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="other files"):
        write(data, tiny, tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["letter.txt"]


def shrink(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)


def test_a_truncated_shard_is_found_when_the_folder_is_opened(data: Path, tmp_path: Path, tiny: Frozen) -> None:
    write(data, tiny, tmp_path / "out")
    shrink(tmp_path / "out" / "shard-00001.safetensors")
    with pytest.raises(InputError, match=r"shard-00001\.safetensors has [\d,]+ bytes"):
        Precomputed(tmp_path / "out")


def test_a_changed_byte_is_found_at_first_use(data: Path, tmp_path: Path, tiny: Frozen) -> None:
    write(data, tiny, tmp_path / "out")
    flip(tmp_path / "out" / "shard-00001.safetensors")
    stored = Precomputed(tmp_path / "out")
    assert stored.batch([0]).keys
    with pytest.raises(InputError, match=r"shard-00001.*sha256"):
        stored.batch([2])
    with pytest.raises(InputError, match="sha256"):
        Precomputed(tmp_path / "out").verify()
    assert Precomputed(tmp_path / "out", verify="sizes").batch([2]).keys


def test_a_shard_of_another_make_is_refused(data: Path, tmp_path: Path, tiny: Frozen) -> None:
    """A file that is a shard by its bytes, but whose parts don't add up."""
    index = write(data, tiny, tmp_path / "out")
    assert index is not None
    from safetensors.torch import load_file, save_file

    path = tmp_path / "out" / index.shards[0].file
    tensors = load_file(path)
    for name, value in (
        ("sizes", tensors["sizes"] + 1),
        ("starts", tensors["starts"] + 1),
        ("source", tensors["source"][:-1]),
        ("weights", tensors["weights"][:-1]),
    ):
        save_file(tensors | {name: value}, path)
        record = index.shards[0].__class__(path.name, path.stat().st_size, "", index.shards[0].examples)
        with pytest.raises(InputError, match="add up"):
            OpenShard(tmp_path / "out", record)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no precomputed data"),
        (b"{", "can't be read"),
        (b'{"format": 1}', "can't be read"),
        ({"format": 2}, "format 2"),
        ({"shards": [{"file": "../x.safetensors", "size": 1, "sha256": "", "examples": 1}]}, "outside"),
    ],
)
def test_an_index_that_is_wrong_is_refused(
    data: Path, tmp_path: Path, tiny: Frozen, content: bytes | dict[str, Any] | None, message: str
) -> None:
    write(data, tiny, tmp_path / "out")
    path = tmp_path / "out" / "index.json"
    if content is None:
        path.unlink()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | content))
    with pytest.raises(InputError, match=message):
        Precomputed(tmp_path / "out")


def test_another_checkpoint_is_refused(data: Path, tmp_path: Path, tiny: Frozen, tiny_checkpoint: Path) -> None:
    job, problems = work(data, tiny, tmp_path / "out")
    digests = frozen_digests(Checkpoint.open(tiny_checkpoint, offline=True))
    precompute(Work(job.sets, digests, job.folder, shard_examples=3), problems)
    stored = Precomputed(tmp_path / "out")
    stored.check(digests)
    with pytest.raises(CheckpointError, match="another designer than"):
        stored.check({**digests, "designer": "0"})


def test_what_half_precision_cannot_hold_is_said(data: Path, tmp_path: Path, tiny: Frozen) -> None:
    job, _ = work(data, tiny, tmp_path / "out")
    batch = job.sets[0].batch([0])
    batch.condition[0, 0, 0] = 1e6
    with pytest.raises(CheckFailed, match="float32"):
        write_shard(tmp_path / "x.safetensors", [(batch, 0)], [1.0], "float16")
    assert not (tmp_path / "x.safetensors").exists()


def test_a_disk_that_is_too_small_is_told_before(
    data: Path, tmp_path: Path, tiny: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precomputing, "disk_usage", lambda path: type("", (), {"free": 1000})())
    with pytest.raises(ResourceError, match="GB are free"):
        write(data, tiny, tmp_path / "out")


def test_precomputed_sets_need_no_frozen_parts_and_mix(data: Path, tmp_path: Path, tiny: Frozen) -> None:
    write(data, tiny, tmp_path / "out")

    def frozen() -> Frozen:
        raise AssertionError("not needed")

    spec = DataSpec("precomputed", str(tmp_path / "out"), weight=0.5)
    mixed = open_examples([spec, spec], frozen, Problems())
    assert len(mixed) == 12 and list(mixed.weights()) == [0.5] * 12
    batch = mixed.batch([6, 0])
    assert torch.equal(batch.target[0], batch.target[1]) and batch.source is not None


def test_rows_that_cannot_be_used_at_all_are_an_error(tmp_path: Path, tiny: Frozen) -> None:
    path, rows = write_dim_edit(tmp_path / "set", 2, text="x")
    for row in rows:
        file = path.parent / row["image_path"]
        file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(InputError, match="not one row"):
        write(path, tiny, tmp_path / "out")
