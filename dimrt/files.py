"""Atomic writes: the target is either the old content or the whole new one, on every platform.

A temporary file (or folder) in the target's own folder is written, flushed, synced and renamed. Whatever goes wrong,
a KeyboardInterrupt included, the temporary is removed.
"""

import errno
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

from dimrt.errors import InputError, ResourceError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
WINDOWS = sys.platform == "win32"
RENAME_TRIES = 8
RENAME_PAUSE = 0.02
"""Seconds before the first retry of a rename; doubled each time (about 2.5 s in all)."""


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Yield a binary file that becomes `path` when the block ends without an exception.

    An existing file is replaced and its permissions are kept; a symbolic link is written through.

    Raises:
        InputError: the folder doesn't exist, may not be written, or `path` is not a regular file.
        ResourceError: the disk, the quota or the file-size limit is exhausted.
    """
    target = _file_target(Path(path))
    temporary = _temporary_beside(target)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        _rename(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        _explain(error, target, _size(temporary))
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a new empty folder that becomes `path` when the block ends without an exception.

    Args:
        path: the final folder; its parent must exist. An empty folder may stand there.
        replace: whether a folder with content is replaced; it stays untouched until the new one is complete.

    Raises:
        InputError: `path` is taken, or its parent is missing or may not be written.
        ResourceError: the disk, the quota or the file-size limit is exhausted.
    """
    target = folder_target(path, replace=replace)
    temporary = _temporary_beside(target)
    try:
        with explained(target, temporary):
            temporary.mkdir()
            yield temporary
            publish_folder(temporary, target, replace=replace)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish_folder(folder: Path, path: str | Path, *, replace: bool = False, aside: Path | None = None) -> None:
    """Make a finished folder durable and put it at `path`, in one rename.

    Args:
        folder: on the same file system as `path`.
        replace: whether a folder with content is replaced.
        aside: where a folder that is replaced stands for the moment between the two renames; it must not exist.

    Raises:
        InputError: `path` is taken.
        OSError: it was taken meanwhile.
    """
    for entry in sorted(folder.rglob("*")):
        if entry.is_file():
            _sync_file(entry)
    for entry in (*folder.rglob("*"), folder):
        if entry.is_dir():
            _sync_folder(entry)
    target = folder_target(path, replace=replace)
    if replace:
        _swap_folder(folder, target, aside or _temporary_beside(target))
    else:
        if WINDOWS and target.exists():
            target.rmdir()  # an empty one, which a rename doesn't replace there
        _rename(folder, target)  # fails where another process was quicker
    _sync_folder(target.parent)


@contextmanager
def explained(target: Path, written: Path) -> Iterator[None]:
    """Failures of writing `target` become typed errors; `written` is what there is of it so far."""
    try:
        yield
    except OSError as error:
        _explain(error, target, _size(written))


def _file_target(path: Path) -> Path:
    """The regular file that `path` stands for (links followed), checked to be writable in principle."""
    target = path.resolve()
    _require_folder(target)
    if target.exists() and not target.is_file():
        raise InputError(f"{path} is not a regular file; name a file to write")
    return target


def folder_target(path: str | Path, *, replace: bool) -> Path:
    """The absolute path of a folder to be written.

    Raises:
        InputError: a file or, unless `replace`, a folder with content is there, or the parent is missing.
    """
    target = Path(path).resolve()
    _require_folder(target)
    if target.exists():
        if not target.is_dir():
            raise InputError(f"{path} is a file; name a folder to write")
        if not replace and any(target.iterdir()):
            raise InputError(f"{path} already exists and is not empty; remove it or choose another folder")
    return target


def _require_folder(target: Path) -> None:
    if not target.parent.is_dir():
        raise InputError(f"can't write {target}: the folder {target.parent} doesn't exist; create it first")


def _temporary_beside(target: Path) -> Path:
    return target.parent / f".dimrt-{secrets.token_hex(6)}.partial"


def _rename(source: Path, target: Path) -> None:
    """Rename, replacing a file; waits out virus scanners and indexers that hold a file open on Windows."""
    for attempt in range(RENAME_TRIES):
        try:
            source.replace(target)
            return
        except PermissionError:
            if not WINDOWS or attempt == RENAME_TRIES - 1:
                raise
            time.sleep(RENAME_PAUSE * 2**attempt)


def _swap_folder(source: Path, target: Path, aside: Path) -> None:
    """Put `source` at `target`; a folder already there is moved aside first and put back when that fails."""
    if not target.exists():
        _rename(source, target)
        return
    _rename(target, aside)
    try:
        _rename(source, target)
    except BaseException:
        _rename(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _sync_file(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Make a rename durable. Windows can't open folders and doesn't need it."""
    if WINDOWS:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    """Bytes of a file or of a folder's files; 0 when it isn't there."""
    if path.is_dir():
        return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())
    return path.stat().st_size if path.exists() else 0


def _explain(error: OSError, target: Path, written: int) -> NoReturn:
    """Raise the typed error of a failed write; other errors pass as they are."""
    if error.errno in FULL:
        free = shutil.disk_usage(target.parent).free
        raise ResourceError(
            f"can't write {target}: {os.strerror(error.errno or 0)} after {written:,} bytes, "
            f"{free:,} bytes free there; free some space or write to another disk"
        ) from error
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        raise InputError(
            f"can't write {target}: {os.strerror(error.errno or 0)}; check its permissions or choose another place"
        ) from error
    raise error
