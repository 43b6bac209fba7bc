"""Atomic writes: whole or not at all, with typed errors and no leftovers."""

import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from dimrt import files
from dimrt.errors import InputError, ResourceError
from dimrt.files import atomic_folder, atomic_write, publish_folder

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions and links")


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def disk_full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_write_replaces_the_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old and longer")
    with atomic_write(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old and longer"
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["out.bin"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_failure_inside_leaves_the_old_file(tmp_path: Path, failure: type[BaseException]) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    with pytest.raises(failure), atomic_write(target) as file:
        file.write(b"half")
        raise failure
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["out.bin"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_is_a_resource_error(tmp_path: Path, code: int) -> None:
    with (
        pytest.raises(ResourceError, match=r"out\.bin.* after 1,000 bytes.*free") as caught,
        atomic_write(tmp_path / "out.bin") as file,
    ):
        file.write(bytes(1000))
        file.flush()
        raise OSError(code, os.strerror(code))
    assert caught.value.exit_code == 3
    assert names(tmp_path) == []


def test_full_disk_at_sync_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(ResourceError, match=r"out\.bin"), atomic_write(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["out.bin"]


def test_missing_folder_and_wrong_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"doesn't exist"), atomic_write(tmp_path / "no" / "out.bin"):
        pass
    with pytest.raises(InputError, match="not a regular file"), atomic_write(tmp_path):
        pass


@posix
def test_link_is_written_through_and_permissions_kept(tmp_path: Path) -> None:
    target, link = tmp_path / "real.bin", tmp_path / "link.bin"
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to(target)
    with atomic_write(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_rename_waits_out_a_sharing_violation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows another program may hold the target open for a moment."""
    real, calls = Path.replace, []

    def busy_twice(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) < 3:
            raise PermissionError(errno.EACCES, "sharing violation")
        return real(self, target)

    source = tmp_path / "a"
    source.write_bytes(b"a")
    monkeypatch.setattr(files, "WINDOWS", True)
    monkeypatch.setattr(files, "RENAME_PAUSE", 0.0)
    monkeypatch.setattr(Path, "replace", busy_twice)
    files._rename(source, tmp_path / "b")
    assert len(calls) == 3
    assert names(tmp_path) == ["b"]


def test_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with atomic_folder(target) as folder:
        (folder / "onnx").mkdir()
        (folder / "onnx" / "a").write_bytes(b"a")
        assert not target.exists()
    assert (target / "onnx" / "a").read_bytes() == b"a"
    assert names(tmp_path) == ["bundle"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_folder_failure_leaves_nothing(tmp_path: Path, failure: type[BaseException]) -> None:
    with pytest.raises(failure), atomic_folder(tmp_path / "bundle") as folder:
        (folder / "a").write_bytes(b"a")
        raise failure
    assert names(tmp_path) == []


def test_folder_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(ResourceError, match="after 5 bytes"), atomic_folder(tmp_path / "bundle") as folder:
        (folder / "a").write_bytes(b"abcde")
    assert names(tmp_path) == []


def test_folder_in_use_is_kept_unless_replaced(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_bytes(b"old")
    with pytest.raises(InputError, match="not empty"), atomic_folder(target):
        pass
    with pytest.raises(RuntimeError), atomic_folder(target, replace=True):
        raise RuntimeError
    assert names(target) == ["old"]
    with atomic_folder(target, replace=True) as folder:
        (folder / "new").write_bytes(b"new")
    assert names(target) == ["new"]
    assert names(tmp_path) == ["bundle"]


def test_a_folder_that_another_process_put_there_meanwhile_is_never_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check came before the other one's rename."""
    mine, theirs = tmp_path / "mine", tmp_path / "there"
    for folder in (mine, theirs):
        folder.mkdir()
        (folder / "name").write_text(folder.name)
    monkeypatch.setattr(files, "folder_target", lambda path, *, replace: path)
    with pytest.raises(OSError):
        publish_folder(mine, theirs)
    assert (theirs / "name").read_text() == "there" and (mine / "name").exists()


def test_folder_replacement_that_fails_puts_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_bytes(b"old")
    real, calls = Path.replace, []

    def second_fails(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EIO, "input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", second_fails)
    with pytest.raises(OSError, match="input/output"), atomic_folder(target, replace=True) as folder:
        (folder / "new").write_bytes(b"new")
    assert names(target) == ["old"]
    assert names(tmp_path) == ["bundle"]
