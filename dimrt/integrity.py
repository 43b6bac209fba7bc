"""What makes a folder a closed list of plain files: names, kinds, sizes and sha256 sums, checked before any parsing."""

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from dimrt.errors import AlteredBundle, BundleError
from dimrt.manifest import FileRecord

MANIFEST = "manifest.json"
CHUNK = 2**20
MOUNT_POINT = 0xA0000003
"""IO_REPARSE_TAG_MOUNT_POINT of Windows."""


def check_layout(root: Path, files: Mapping[str, FileRecord]) -> None:
    """The files on disk are exactly the listed ones, regular, and of the listed sizes."""
    check_names(root, files)
    present = walk(root)
    missing = sorted(files.keys() - present.keys())
    if missing:
        raise AlteredBundle(f"{root} lacks {_some(missing)}; copy or export the bundle again")
    extra = sorted(present.keys() - files.keys() - {MANIFEST})
    if extra:
        raise AlteredBundle(
            f"{root} holds {_some(extra)}, which its manifest doesn't list; remove what isn't the bundle's"
        )
    for name, record in files.items():
        if present[name] != record.size:
            raise AlteredBundle(
                f"{root / name} has {present[name]:,} bytes, the manifest says {record.size:,}; "
                "copy or export the bundle again"
            )


def check_names(root: Path, names: Iterable[str]) -> None:
    """Names are relative, forward, inside the bundle, and distinct where upper and lower case are the same."""
    listed = list(names)
    for name in listed:
        parts = name.split("/")
        if PurePosixPath(name).is_absolute() or any(part in {"", ".", ".."} for part in parts):
            raise BundleError(f"{root / MANIFEST} lists {name!r}, which is not a path inside the bundle")
        if any(character in '\\:*?"<>|' or ord(character) < 32 for character in name) or name.lower() == MANIFEST:
            raise BundleError(f"{root / MANIFEST} lists {name!r}, which a bundle can't hold on every platform")
    if len({name.lower() for name in listed}) != len(listed):
        raise BundleError(f"{root / MANIFEST} lists names that differ in upper and lower case only")


def walk(root: Path) -> dict[str, int]:
    """Sizes of all files under `root` by name with forward slashes; anything but files and folders is refused."""
    found: dict[str, int] = {}
    pending = [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(root / prefix) as entries:
            listed = list(entries)
        if prefix and not listed:
            raise BundleError(f"{root / prefix} is an empty folder, which the manifest doesn't list; remove it")
        for entry in listed:
            name = prefix + entry.name
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode) and not _is_junction(status):
                pending.append(name + "/")
            elif stat.S_ISREG(status.st_mode):
                # On Windows scandir's size may lag behind for a file that was just written.
                found[name] = (root / name).lstat().st_size
            else:
                raise BundleError(f"{root / name} is a link or a special file; a bundle holds plain files only")
    return found


def _is_junction(status: os.stat_result) -> bool:
    """Whether a Windows folder is a junction or mount point; other platforms have none."""
    return getattr(status, "st_reparse_tag", 0) == MOUNT_POINT


def check_sums(root: Path, files: Mapping[str, FileRecord]) -> None:
    """The sha256 of every listed file is the listed one."""
    for name, record in files.items():
        if checksum(root / name) != record.sha256:
            raise AlteredBundle(
                f"{root / name} was altered: its sha256 differs from the manifest's; copy or export the bundle again"
            )


def checksum(path: Path) -> str:
    """sha256 (hex) of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
