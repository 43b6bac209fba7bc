"""Which files of a folder are photos, and what is left out and why."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dimrt.batch.record import RECORD

PHOTOS = frozenset(
    f".{name}"
    for name in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "webp", "tif", "tiff"),
        *("avif", "heic", "heif", "hif", "jp2", "j2k", "bmp", "ppm", "pgm", "pnm"),
    )
)
"""Suffixes of the formats that dimrt reads, but GIF: most are no photos, and of a moving one a single frame is left."""
RAW = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw"}
)
"""What cameras store before development; named on their own, as their owner thinks of them as photos."""
SYSTEM_FOLDERS = frozenset(
    {"@eadir", "#recycle", "$recycle.bin", "system volume information", "__macosx", "lost+found"}
)
"""Thumbnails and bins of file servers and systems, lower case."""
MOUNT_POINT = 0xA0000003
"""Windows' reparse tag of a junction, which is a link to a folder without being called one."""
LINKS, HIDDEN = "links to folders, out of the tree or nowhere", "hidden"
SYSTEM, EARLIER = "folders of the system", "folders of earlier results"


@dataclass
class Found:
    """What a folder holds.

    Attributes:
        photos: paths relative to the folder, with forward slashes, in the order of the walk: folder by folder, names
            sorted as text.
        bytes: of all photos together.
        left_out: how many entries of each kind were left out: a suffix (".xmp"), or one of the kinds named above.
        unreadable: folders that couldn't be listed, and why.
    """

    photos: list[str] = field(default_factory=list)
    bytes: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    unreadable: dict[str, OSError] = field(default_factory=dict)

    @property
    def raw(self) -> int:
        """How many undeveloped photos were left out."""
        return sum(count for kind, count in self.left_out.items() if kind in RAW)


def find_photos(folder: Path, out: Path) -> Found:
    """Look through a folder and all folders in it.

    Photos are files with a suffix of `PHOTOS`. Left out: hidden files and folders (their name begins with a dot),
    folders of the system, the folder `out` and other folders with results of a batch, links to folders, and links to
    files outside of `folder`.

    Args:
        folder: an existing folder.
        out: where the results go; it need not exist.
    """
    found = Found()
    own = out.stat() if out.is_dir() else None
    _look(folder, PurePosixPath(), folder.resolve(), own, found)
    return found


def _look(folder: Path, place: PurePosixPath, root: Path, out: os.stat_result | None, found: Found) -> None:
    """One folder: its photos in order, then the folders in it."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        found.unreadable[str(place)] = error
        return
    folders = [entry for entry in names if _is_photo_or_folder(entry, place, root, out, found)]
    for entry in folders:
        _look(Path(entry.path), place / entry.name, root, out, found)


def _is_photo_or_folder(
    entry: "os.DirEntry[str]", place: PurePosixPath, root: Path, out: os.stat_result | None, found: Found
) -> bool:
    """Count one entry; whether it is a folder to look into."""
    name, kind = entry.name, None
    try:
        if name.startswith("."):
            kind = HIDDEN
        elif entry.is_dir():
            kind = _no_place_for_photos(entry, out)
            if kind is None:
                return True
        elif PurePosixPath(name).suffix.lower() not in PHOTOS:
            kind = PurePosixPath(name).suffix.lower() or "no suffix"
        elif not _leads_inside(entry, root):
            kind = LINKS
        else:
            found.photos.append(str(place / name))
            found.bytes += entry.stat().st_size
    except OSError as error:
        found.unreadable[str(place / name)] = error
    if kind:
        found.left_out[kind] += 1
    return False


def _no_place_for_photos(entry: "os.DirEntry[str]", out: os.stat_result | None) -> str | None:
    """Why a folder is not looked into; "" when that is nothing to tell: it is where the results go."""
    if entry.is_symlink() or getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0) == MOUNT_POINT:
        return LINKS
    path = Path(entry.path)
    if out is not None and os.path.samestat(path.stat(), out):
        return ""
    if entry.name.lower() in SYSTEM_FOLDERS:
        return SYSTEM
    return EARLIER if (path / RECORD).is_file() else None


def _leads_inside(entry: "os.DirEntry[str]", root: Path) -> bool:
    """Whether an entry is a file of the tree, or a link to one."""
    if entry.is_symlink():
        target = Path(entry.path).resolve()
        return target.is_file() and target.is_relative_to(root)
    return entry.is_file()


def describe_left_out(found: Found) -> Iterator[str]:
    """What was left out, in lines for the user."""
    if found.raw:
        yield f"{found.raw:,} undeveloped (raw) photos left out: dimrt doesn't read them; export them as TIFF or JPEG"
    rest = {kind: count for kind, count in found.left_out.items() if kind not in RAW}
    if rest:
        counts = sorted(rest.items(), key=lambda item: (-item[1], item[0]))
        yield "left out: " + ", ".join(f"{count:,} {kind}" for kind, count in counts)
