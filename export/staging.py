"""Where an export is made before it appears: a folder beside the result that outlives a kill.

Its name follows from the result's, so that the same command finds it again. A journal says which export it belongs
to, which files are finished and how far the file in hand has come; whatever the journal doesn't vouch for is written
again. A lock keeps a second export away.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO

import msgspec

from dimrt.errors import InputError
from dimrt.export.stream import Mark
from dimrt.files import explained, folder_target, publish_folder
from dimrt.integrity import checksum
from dimrt.lock import try_lock
from dimrt.manifest import FileRecord, Graph

BUNDLE, JOURNAL, LOCK, REPLACED = "bundle", "journal", "lock", "replaced"


class Header(msgspec.Struct, frozen=True, tag="export"):
    """The first line: what is being exported."""

    key: str


class Marked(msgspec.Struct, frozen=True, tag="mark"):
    """How far a file has come."""

    file: str
    mark: Mark


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """Files that are complete together: a graph and its weights, a table."""

    name: str
    files: dict[str, FileRecord]
    graph: Graph | None = None


Line = Header | Marked | Finished


class Staging:
    """The folder of one export; a context manager that holds its lock. It's the ledger of the streams into it.

    Attributes:
        folder: the bundle that is being made.
        found: what stood there before: "nothing", "this" export, or "another" one, which was discarded.
    """

    def __init__(self, out: str | Path, key: str, *, replace: bool, restart: bool = False) -> None:
        """`key` identifies the export: same key, same bytes. `restart` discards what an earlier one left.

        Raises:
            InputError: `out` is taken, or its parent is missing.
        """
        self.root = staging_folder(Path(out).resolve())
        _sweep(self.root)
        self._out, self._replace = folder_target(out, replace=replace), replace
        self._key, self._restart = key, restart
        self.folder = self.root / BUNDLE
        self.found = "nothing"
        self.on_bytes: Callable[[int], None] = lambda count: None
        self._marks: dict[str, Mark] = {}
        self._finished: dict[str, Finished] = {}
        self._lock: IO[bytes] | None = None
        self._journal: IO[bytes] | None = None

    def __enter__(self) -> "Staging":
        """Take the lock, and go on with what is there or begin.

        Raises:
            InputError: another export to the same place is running.
        """
        with explained(self._out, self.root):
            self._lock = _locked(self.root, self._out)
            try:
                self._put_back()
                self._go_on()
            except BaseException:
                self._release()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock; what is there stays unless it was published or discarded."""
        self._release()

    def _release(self) -> None:
        for file in (self._journal, self._lock):
            if file is not None:
                file.close()
        self._journal = self._lock = None

    def _put_back(self) -> None:
        """Undo a replacement that was killed between its two renames."""
        replaced = self.root / REPLACED
        if replaced.is_dir() and not self._out.exists():
            replaced.rename(self._out)
            folder_target(self._out, replace=self._replace)

    def _go_on(self) -> None:
        """Read the journal; begin anew where it is of another export, damaged or absent."""
        path = self.root / JOURNAL
        lines, good = _read_journal(path)
        old = lines[0].key if lines and isinstance(lines[0], Header) else None
        if old != self._key or self._restart:
            self.found = "nothing" if old is None else "another"
            self._clear()
            self.folder.mkdir()
            self._journal = path.open("wb")
            self._append(Header(self._key))
            return
        self.found = "this"
        self.folder.mkdir(exist_ok=True)
        os.truncate(path, good)
        self._journal = path.open("ab")
        for line in lines[1:]:
            if isinstance(line, Marked):
                self._marks[line.file] = line.mark
            elif isinstance(line, Finished) and self._intact(line):
                self._finished[line.name] = line
        known = self._marks.keys() | self.sums.keys()
        for path in self.folder.rglob("*"):
            if path.is_file() and path.relative_to(self.folder).as_posix() not in known:
                path.unlink()

    def _intact(self, line: Finished) -> bool:
        """Whether finished files are still what they were. They are read: a kill of the machine may have lost bytes."""
        for name, record in line.files.items():
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != record.size or checksum(path) != record.sha256:
                return False
        return True

    def _append(self, line: Line) -> None:
        if self._journal is None:
            raise RuntimeError("this staging folder isn't open")
        self._journal.write(msgspec.json.encode(line) + b"\n")
        self._journal.flush()

    @property
    def worth_keeping(self) -> bool:
        """Whether anything is finished that another run would go on with."""
        return bool(self._marks or self._finished)

    def mark(self, name: str) -> Mark | None:
        """How far a file came in an earlier run."""
        return self._marks.get(name)

    def keep(self, name: str, mark: Mark) -> None:
        """Remember how far a file has come."""
        self._append(Marked(name, mark))
        self._marks[name] = mark

    def wrote(self, count: int) -> None:
        """Pass on that bytes were written."""
        self.on_bytes(count)

    def finished(self, name: str) -> Finished | None:
        """A graph or table that is complete."""
        return self._finished.get(name)

    def finish(self, name: str, files: dict[str, FileRecord], graph: Graph | None = None) -> None:
        """A graph or table is complete: it's never written again."""
        line = Finished(name, files, graph)
        self._append(line)
        self._finished[name] = line

    @property
    def sums(self) -> dict[str, FileRecord]:
        """Sizes and sums of all finished files."""
        return {name: record for line in self._finished.values() for name, record in line.files.items()}

    def publish(self) -> None:
        """Put the finished bundle in its place and remove the rest."""
        with explained(self._out, self.root):
            publish_folder(self.folder, self._out, replace=self._replace, aside=self.root / REPLACED)
        self.discard()

    def discard(self) -> None:
        """Remove everything."""
        self._clear()
        if sys.platform == "win32":  # an open file can't be removed there
            self._release()
        shutil.rmtree(self.root, ignore_errors=True)

    def _clear(self) -> None:
        """Remove everything but the lock."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        for entry in self.root.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != LOCK:
                entry.unlink()


def staging_folder(out: Path) -> Path:
    """Where an export to `out` is made."""
    return out.parent / f".{out.name}.dimrt-export"


def _sweep(root: Path) -> None:
    """Remove what an export left that was killed after its bundle appeared: there is no bundle in it any more."""
    if (root / JOURNAL).is_file() and not (root / BUNDLE).exists():
        with (root / LOCK).open("a+b") as file:
            if try_lock(file):
                shutil.rmtree(root, ignore_errors=True)


def _read_journal(path: Path) -> tuple[list[Line], int]:
    """The lines up to the first that is torn or damaged, and the byte where they end."""
    lines: list[Line] = []
    good = 0
    if path.is_file():
        for raw in path.read_bytes().splitlines(keepends=True):
            try:
                if not raw.endswith(b"\n"):
                    break
                lines.append(msgspec.json.decode(raw, type=Line))
            except (msgspec.DecodeError, UnicodeDecodeError):
                break
            good += len(raw)
    return lines, good


def _locked(root: Path, out: Path) -> IO[bytes]:
    """The lock file of a staging folder, locked until it's closed."""
    while True:
        root.mkdir(exist_ok=True)
        try:
            file = (root / LOCK).open("a+b")
        except FileNotFoundError:  # the other export just finished and removed the folder
            continue
        if not try_lock(file):
            file.close()
            raise InputError(f"another export to {out} is running; wait for it, or choose another folder")
        if (root / LOCK).is_file() and os.path.samestat(os.fstat(file.fileno()), (root / LOCK).stat()):
            return file
        file.close()  # it was removed between opening and locking
