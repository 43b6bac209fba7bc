"""The engine cache: nothing altered, foreign or linked is ever loaded; writers don't disturb each other."""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from built import Build

from dimrt.engines.cache import ABANDONED, PLAN, RECORD, EngineCache, default_root
from dimrt.engines.record import Device, Record
from dimrt.errors import InputError, ResourceError

CARD = Device("NVIDIA GeForce RTX 4060", "8.9", "13000", 8 << 30)
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")


def only(cache: EngineCache) -> Record:
    """The record of the one engine in a cache."""
    (entry,) = cache.entries()
    assert entry.record is not None
    return entry.record


def found(cache: EngineCache, record: Record, device: Device = CARD, **changed: str) -> Record | None:
    """What a runtime on this device would find."""
    identity = record.identity
    asked = {"bundle": identity.bundle, "graph": identity.graph, "flavour": identity.flavour}
    return cache.find(**{**asked, "version": identity.version, **changed}, device=device)


def folder(cache: EngineCache) -> Path:
    """The folder of the one engine."""
    return cache.root / "engines" / only(cache).key


def rewritten(cache: EngineCache, path: Path, **changed: object) -> None:
    """Change the record of an engine, under its right key."""
    record = msgspec.json.decode((path / RECORD).read_bytes(), type=Record)
    identity = {name: changed.pop(name) for name in list(changed) if hasattr(record.identity, name)}
    record = msgspec.structs.replace(record, identity=msgspec.structs.replace(record.identity, **identity), **changed)
    (path / RECORD).write_bytes(msgspec.json.encode(record))
    path.rename(path.with_name(record.key))


def test_an_engine_is_found_by_every_card_it_was_built_for(copied: EngineCache) -> None:
    record = only(copied)
    for capability in ("8.6", "8.9", "12.0"):
        assert found(copied, record, Device("any", capability, "1", 1)) == record
    assert copied.get(record.key) == record
    with copied.plan(record) as plan:
        assert len(plan) == record.plan_bytes
        assert hashlib.sha256(plan).hexdigest() == record.sha256


def test_another_card_version_flavour_bundle_or_graph_finds_nothing(copied: EngineCache) -> None:
    record = only(copied)
    assert found(copied, record, Device("NVIDIA H200", "9.0", "1", 1)) is None
    assert found(copied, record, version="1.6.1.120") is None
    assert found(copied, record, flavour="tensorrt") is None
    assert found(copied, record, bundle="0" * 64) is None
    assert found(copied, record, graph="context") is None


def test_an_engine_built_on_one_gpu_is_for_it_and_its_driver_alone(copied: EngineCache) -> None:
    rewritten(copied, folder(copied), device=CARD.name, driver=CARD.driver)
    record = only(copied)
    assert found(copied, record) == record
    assert found(copied, record, Device("NVIDIA GeForce RTX 4090", "8.9", "13000", 1)) is None
    assert found(copied, record, Device(CARD.name, "8.9", "13010", 1)) is None
    reason = record.identity.mismatch(record.identity.version, Device(CARD.name, "8.9", "13010", 1))
    assert reason == "built with driver 13000, this is 13010"


@pytest.mark.parametrize("place", [0, 0.5, -1])
def test_a_flipped_byte_is_never_loaded(copied: EngineCache, place: float) -> None:
    record, path = only(copied), folder(copied) / PLAN
    content = bytearray(path.read_bytes())
    content[int(place * len(content)) if place != -1 else -1] ^= 0x10
    path.write_bytes(content)
    assert not copied.intact(record)
    assert found(copied, record) is None and copied.get(record.key) is None
    assert found(copied, record) is None
    reached = False
    with pytest.raises(ResourceError, match="altered since it was built"), copied.plan(record):
        reached = True
    assert not reached


def test_a_truncated_plan_is_seen_without_reading_it(copied: EngineCache) -> None:
    path = folder(copied) / PLAN
    path.write_bytes(path.read_bytes()[:-1])
    (entry,) = copied.entries()
    assert entry.record is None and entry.fault is not None and "its record says" in entry.fault


@pytest.mark.parametrize("name", [PLAN, RECORD])
def test_a_link_is_refused(copied: EngineCache, tmp_path: Path, name: str) -> None:
    record, path = only(copied), folder(copied) / name
    shutil.move(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    (entry,) = copied.entries()
    assert entry.record is None and entry.fault == f"{name} is a link or a special file"
    assert copied.get(record.key) is None
    copied.remove(record.key)
    assert (tmp_path / "elsewhere").exists() and copied.entries() == []


def test_a_linked_engine_folder_is_refused_and_removed_as_a_link(copied: EngineCache, tmp_path: Path) -> None:
    record, path = only(copied), folder(copied)
    shutil.move(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert copied.get(record.key) is None and found(copied, record) is None
    copied.remove(record.key)
    assert (tmp_path / "elsewhere" / PLAN).exists()


def test_a_stranger_in_the_folder_is_a_fault(copied: EngineCache) -> None:
    record = only(copied)
    (folder(copied) / "plan.py").write_text("print()", encoding="utf-8")
    (entry,) = copied.entries()
    assert entry.fault is not None and "'plan.py'" in entry.fault
    assert found(copied, record) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b'{"format": 1}', b"\xff\xfe", b'{"format": 99}', b"null" * 400_000],
    ids=["empty", "object", "list", "short", "bytes", "format", "huge"],
)
def test_a_damaged_record_is_a_fault_and_not_a_crash(copied: EngineCache, content: bytes) -> None:
    record, path = only(copied), folder(copied)
    (path / RECORD).write_bytes(content)
    (entry,) = copied.entries()
    assert entry.record is None and entry.fault
    assert copied.get(record.key) is None


def test_a_record_that_claims_another_key_is_a_fault(copied: EngineCache) -> None:
    path = folder(copied)
    other = path.with_name("0" * 32)
    path.rename(other)
    (entry,) = copied.entries()
    assert entry.fault == "its record is of another engine"


def test_a_record_with_another_sum_does_not_let_a_plan_pass(copied: EngineCache) -> None:
    path = folder(copied)
    document = json.loads((path / RECORD).read_bytes())
    document["sha256"] = "0" * 64
    (path / RECORD).write_text(json.dumps(document), encoding="utf-8")
    assert found(copied, only(copied)) is None


@pytest.mark.parametrize("key", ["", ".", "..", "../engines", "/etc", "x" * 32, "0" * 31, "0" * 32])
def test_a_key_is_no_path(copied: EngineCache, key: str) -> None:
    assert copied.get(key) is None
    with pytest.raises(InputError, match="no engine"):
        copied.remove(key)
    assert copied.entries()


@posix
@pytest.mark.parametrize("inside", [".", "engines", "timing"])
def test_a_folder_that_others_may_write_to_is_refused(copied: EngineCache, inside: str) -> None:
    record = only(copied)
    (copied.root / inside).chmod(0o777)
    with pytest.raises(InputError, match=r"written by others.*chmod 700"):
        found(copied, record)
    with pytest.raises(InputError, match="chmod 700"):
        copied.prepare()


@posix
def test_what_is_made_is_for_its_owner_alone(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "a" / "b")
    cache.prepare()
    with cache.staging("0" * 32) as staged:
        (staged / PLAN).write_bytes(b"x")
    for path in (cache.root, *cache.root.iterdir(), cache.root / "engines" / ("0" * 32)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_room_that_is_a_link_is_refused(tmp_path: Path, copied: EngineCache) -> None:
    shutil.move(copied.root / "engines", tmp_path / "elsewhere")
    (copied.root / "engines").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(InputError, match="holds no links"):
        copied.entries()


def test_an_absent_cache_is_empty(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "none")
    assert cache.entries() == [] and cache.get("0" * 32) is None and cache.sweep() == 0
    assert not cache.root.exists()


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt), cache.staging("0" * 32) as staged:
        (staged / PLAN).write_bytes(b"half")
        raise KeyboardInterrupt
    assert list((cache.root / "engines").iterdir()) == []


WRITER = """
import shutil, sys, time
from pathlib import Path
from dimrt.engines.cache import EngineCache
root, source, key = sys.argv[1:]
cache = EngineCache(root)
for _ in range(6):
    with cache.staging(key) as staged:
        for file in Path(source).iterdir():
            shutil.copy(file, staged)
    assert cache.get(key) is not None
"""


def test_many_writers_of_one_engine_leave_one_whole_engine(copied: EngineCache, tmp_path: Path) -> None:
    record, source = only(copied), folder(copied)
    words = [sys.executable, "-c", WRITER, str(tmp_path / "shared"), str(source), record.key]
    writers = [subprocess.Popen(words, stderr=subprocess.PIPE) for _ in range(3)]
    errors = [writer.communicate()[1].decode() for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 3, errors
    shared = EngineCache(tmp_path / "shared")
    assert only(shared) == record and shared.intact(record)
    assert [path.name for path in (shared.root / "engines").iterdir()] == [record.key]


def test_a_better_build_replaces_and_a_failed_one_does_not(copied: EngineCache) -> None:
    record, path = only(copied), folder(copied)
    with pytest.raises(ValueError), copied.staging(record.key, replace=True):
        raise ValueError
    assert only(copied) == record
    with copied.staging(record.key, replace=True) as staged:
        shutil.copy(path / PLAN, staged)
        newer = msgspec.structs.replace(record, created="2999-01-01T00:00:00+00:00")
        (staged / RECORD).write_bytes(msgspec.json.encode(newer))
    assert only(copied) == newer


def test_what_a_killed_build_left_is_swept_after_a_day(copied: EngineCache) -> None:
    left = copied.root / "engines" / ".dimrt-0123.partial"
    left.mkdir()
    (left / PLAN).write_bytes(b"x" * 1000)
    assert copied.sweep() == 0 and left.exists()
    assert len(copied.entries()) == 1
    before = time.time() - ABANDONED - 60
    os.utime(left, (before, before))
    assert copied.sweep() == 1000 and not left.exists()


def test_size_is_counted(copied: EngineCache) -> None:
    (entry,) = copied.entries()
    assert entry.bytes == sum(path.stat().st_size for path in entry.path.iterdir())
    assert copied.remove(entry.key) == entry.bytes


def test_the_newest_of_several_is_found(copied: EngineCache, built: Build) -> None:
    record, path = only(copied), folder(copied)
    shutil.copytree(path, path.with_name("other"))
    rewritten(copied, path.with_name("other"), capabilities=("8.9",), created="2999-01-01T00:00:00+00:00")
    newest = found(copied, record)
    assert newest is not None and newest.identity.capabilities == ("8.9",)
    assert found(copied, record, Device("any", "8.6", "1", 1)) == record


def test_a_librarys_own_cache_is_sealed(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache")
    assert cache.load_sealed("runtime", "kernels") == b""
    path = cache.save_sealed("runtime", "kernels", b"compiled")
    assert cache.load_sealed("runtime", "kernels") == b"compiled"
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    assert cache.load_sealed("runtime", "kernels") == b""
    assert cache.kept_bytes() == path.stat().st_size
    path.write_bytes(b"short")
    assert cache.load_sealed("runtime", "kernels") == b""
    path.unlink()
    (tmp_path / "secret").write_bytes(b"theirs")
    path.symlink_to(tmp_path / "secret")
    assert cache.load_sealed("runtime", "kernels") == b""
    cache.save_sealed("runtime", "kernels", b"ours")
    assert (tmp_path / "secret").read_bytes() == b"theirs" and not path.is_symlink()
    assert cache.forget_kept() > 0 and cache.kept_bytes() == 0
    assert (tmp_path / "secret").exists()


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIMRT_ENGINES", str(tmp_path / "mine"))
    assert default_root() == tmp_path / "mine"
    monkeypatch.delenv("DIMRT_ENGINES")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_root().is_relative_to(tmp_path) and "dimrt" in default_root().parts
