"""The engine cache: a private folder of plans, each with its record, and nothing else.

    engines/<key>/plan            the serialized engine
    engines/<key>/engine.json     its record
    timing/<name>, runtime/<name> what the library wants to keep; sealed with their sha256

An engine is code that runs on the GPU. No byte reaches a deserializer before its sha256 has been compared; a folder
that others may write to isn't used at all.
"""

import hashlib
import mmap
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dimrt.engines.record import FORMAT, Device, Record
from dimrt.errors import InputError, ResourceError
from dimrt.files import atomic_folder, atomic_write, publish_folder
from dimrt.integrity import checksum

PLAN, RECORD = "plan", "engine.json"
KEPT = ("timing", "runtime")
ROOMS = ("engines", *KEPT)
LARGEST_RECORD = 1 << 20
SEAL = hashlib.sha256().digest_size
ABANDONED = 24 * 3600
"""Seconds after which a half-written engine is taken for left behind."""
KEY = re.compile(r"[0-9a-f]{32}")
WINDOWS = sys.platform == "win32"


@dataclass(frozen=True)
class Entry:
    """One folder of the cache: its record, or what is wrong with it. `bytes` is what it takes on disk."""

    key: str
    path: Path
    bytes: int
    record: Record | None
    fault: str | None


class EngineCache:
    """Engines on this machine.

    Args:
        root: the folder; default: `DIMRT_ENGINES`, else the user's cache folder. It is created when first written.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root) if root is not None else default_root()

    def entries(self) -> list[Entry]:
        """Everything in the cache, checked in form but not in sum, oldest first.

        Raises:
            InputError: the cache isn't a private folder of the user.
        """
        folder = self.root / "engines"
        if not self._usable() or not folder.is_dir():
            return []
        found = [_entry(path) for path in sorted(folder.iterdir()) if not path.name.startswith(".dimrt-")]
        return sorted(found, key=lambda entry: entry.record.created if entry.record else "")

    def find(
        self, bundle: str, graph: str, flavour: str, version: str, device: Device, *, verify: bool = True
    ) -> Record | None:
        """The newest engine of a graph that this device can run; None: build it.

        Args:
            bundle: digest of the bundle.
            version: of the flavour that will load it.
            verify: compare the plan's sha256 now; without it, `plan` still does before it gives a byte.
        """
        for entry in reversed(self.entries()):
            record = entry.record
            if (
                record is not None
                and (record.identity.bundle, record.identity.graph, record.identity.flavour) == (bundle, graph, flavour)
                and record.identity.mismatch(version, device) is None
                and (not verify or self.intact(record))
            ):
                return record
        return None

    def get(self, key: str) -> Record | None:
        """The engine with this key, its plan verified; None when it isn't there or was altered."""
        path = self.root / "engines" / key
        if not KEY.fullmatch(key) or not self._usable() or not path.is_dir():
            return None
        record = _entry(path).record
        return record if record is not None and self.intact(record) else None

    def intact(self, record: Record) -> bool:
        """Whether the plan's bytes have the recorded sha256."""
        held = _entry(self.root / "engines" / record.key).record
        return bool(held == record) and checksum(self._plan(record)) == record.sha256

    @contextmanager
    def plan(self, record: Record) -> Iterator[memoryview]:
        """The plan's bytes, mapped and verified in one pass, for a deserializer; None of them before they are checked.

        Raises:
            ResourceError: the plan was altered since it was built.
        """
        with self._plan(record).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            view = memoryview(mapped)
            try:
                if hashlib.sha256(view).hexdigest() != record.sha256:
                    raise ResourceError(
                        f"engine {record.key} was altered since it was built and isn't loaded; "
                        f"remove it with `dimrt engines rm {record.key}` and build it again"
                    )
                yield view
            finally:
                view.release()

    @contextmanager
    def staging(self, key: str, *, replace: bool = False) -> Iterator[Path]:
        """A folder that becomes the engine `key` when the block ends without an exception; write plan and record in it.

        Two processes that build the same engine don't disturb each other: the first to finish is kept.

        Args:
            replace: whether an engine already there is replaced when this one is finished; else it is kept. What is
                there and can't be used is removed first.
        """
        target = self.prepare() / "engines" / key
        if not replace and os.path.lexists(target) and self.get(key) is None:
            _discard(target)
        try:
            with atomic_folder(target, replace=True) as staged:
                staged.chmod(0o700)
                yield staged
                if not replace:
                    _put(staged, target)
                    raise _Stored
        except _Stored:
            return
        except OSError:
            # Another process replaced the same engine between our last look and the rename.
            if not replace or _entry(target).record is None:
                raise

    def remove(self, key: str) -> int:
        """Remove one folder of the cache, whatever is in it; returns the bytes freed.

        Raises:
            InputError: there is no such engine.
        """
        path = self.root / "engines" / key
        if not KEY.fullmatch(key) or not self._usable() or not os.path.lexists(path):
            raise InputError(f"no engine {key!r} in {self.root}; `dimrt engines ls` lists them")
        size = _size(path)
        _discard(path)
        return size

    def sweep(self) -> int:
        """Remove half-written engines that a killed process left behind over a day ago; returns the bytes freed."""
        folder = self.root / "engines"
        freed = 0
        for path in folder.glob(".dimrt-*.partial") if self._usable() else ():
            if time.time() - path.lstat().st_mtime > ABANDONED:
                freed += _size(path)
                _discard(path)
        return freed

    def kept_bytes(self) -> int:
        """Bytes of what libraries keep here beside the engines (timing, compiled kernels)."""
        return sum(_size(self.root / room) for room in KEPT if self._usable() and (self.root / room).is_dir())

    def forget_kept(self) -> int:
        """Remove what libraries keep here beside the engines; returns the bytes freed."""
        freed = self.kept_bytes()
        for room in KEPT:
            for path in (self.root / room).iterdir() if (self.root / room).is_dir() else ():
                _discard(path)
        return freed

    def load_sealed(self, room: str, name: str) -> bytes:
        """What `save_sealed` kept; empty when there is nothing, or when it was altered."""
        path = self.root / room / name
        if not self._usable() or not path.is_file() or path.is_symlink():
            return b""
        content = path.read_bytes()
        return content[SEAL:] if hashlib.sha256(content[SEAL:]).digest() == content[:SEAL] else b""

    def save_sealed(self, room: str, name: str, content: bytes) -> Path:
        """Keep a library's own cache (a timing cache, compiled kernels) under its sha256, atomically."""
        path = self.prepare() / room / name
        if path.is_symlink():
            path.unlink()
        with atomic_write(path) as file:
            file.write(hashlib.sha256(content).digest() + content)
        return path

    def prepare(self) -> Path:
        """Create the folders, for their owner alone, and return the root.

        Raises:
            InputError: the cache isn't a private folder of the user.
        """
        if not self._usable():
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._usable()
        for room in ROOMS:
            (self.root / room).mkdir(mode=0o700, exist_ok=True)
        return self.root

    def _plan(self, record: Record) -> Path:
        return Path(self.root, "engines", record.key, PLAN)

    def _usable(self) -> bool:
        """Whether the cache exists; one that others may write to, or that isn't ours, is refused."""
        for folder in (self.root, *(self.root / room for room in ROOMS)):
            try:
                status = folder.lstat() if folder != self.root else folder.stat()
            except FileNotFoundError:
                if folder == self.root:
                    return False
                continue
            if not stat.S_ISDIR(status.st_mode):
                raise InputError(
                    f"{folder} is not a folder; the engine cache holds no links: name another with --cache"
                )
            if not WINDOWS and (status.st_uid != os.getuid() or status.st_mode & 0o022):
                raise InputError(
                    f"{folder} belongs to or can be written by others, and engines are code; "
                    f"run `chmod 700 {folder}` or name another folder with --cache"
                )
        return True


class _Stored(Exception):
    """The engine is in its place, by this process or by another that was quicker."""


def _put(staged: Path, target: Path) -> None:
    """Put a finished engine in its place, unless another process has: what is there is never away for a moment."""
    try:
        publish_folder(staged, target)
    except (InputError, OSError):
        if _entry(target).record is None:
            raise


def default_root() -> Path:
    """`DIMRT_ENGINES`, else dimrt's folder in the user's cache folder of this platform (it need not exist)."""
    variable = os.environ.get("DIMRT_ENGINES")
    if variable:
        return Path(variable).expanduser()
    if WINDOWS:
        base = os.environ.get("LOCALAPPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Local") / "dimrt" / "engines"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "dimrt"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dimrt"


def _entry(path: Path) -> Entry:
    """Look at one folder: exactly a plan and a record, plain files of the recorded size, under the record's key."""
    try:
        record = _read_record(path)
        return Entry(path.name, path, _size(path), record, None)
    except (OSError, ValueError, msgspec.DecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Entry(path.name, path, _size(path) if os.path.lexists(path) else 0, None, reason)


def _read_record(path: Path) -> Record:
    """The record of an engine's folder.

    Raises:
        ValueError, OSError: why the folder isn't an engine of ours.
    """
    if not stat.S_ISDIR(path.lstat().st_mode):
        raise ValueError("not a folder")
    for entry in path.iterdir():
        if entry.name not in (PLAN, RECORD):
            raise ValueError(f"holds {entry.name!r}, which is no part of an engine")
        if not stat.S_ISREG(entry.lstat().st_mode):
            raise ValueError(f"{entry.name} is a link or a special file")
    if (path / RECORD).stat().st_size > LARGEST_RECORD:
        raise ValueError(f"{RECORD} has over {LARGEST_RECORD:,} bytes")
    record = msgspec.json.decode((path / RECORD).read_bytes(), type=Record)
    if record.format != FORMAT:
        raise ValueError(f"made by another dimrt (cache format {record.format}, this one has {FORMAT})")
    if record.key != path.name:
        raise ValueError("its record is of another engine")
    size = (path / PLAN).stat().st_size
    if size != record.plan_bytes:
        raise ValueError(f"{PLAN} has {size:,} bytes, its record says {record.plan_bytes:,}")
    return record


def _size(path: Path) -> int:
    """Bytes of a folder's files, or of a file or link itself."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(entry.lstat().st_size for entry in path.rglob("*") if not entry.is_dir())


def _discard(path: Path) -> None:
    """Remove a folder or a link (not what it points to)."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
