"""Marks of photos whose edit is running, so that one whose edit ends the whole process is known the next time."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from dimrt.errors import ResourceError
from dimrt.files import explained

MARKS = ".dimrt-batch.running"
DEATHS = 2
"""So often in a row may the edit of a photo end with its process; then it counts as failed, and the others go on."""


@contextmanager
def marked(out: Path, photo: str) -> Iterator[None]:
    """Mark a photo while its edit runs; what stays of the mark is the process's sudden end.

    Args:
        out: the folder of results.
        photo: its name in the batch.

    Raises:
        ResourceError: the process ended that way too often already, or the disk is full.
    """
    mark = _mark(out, photo)
    try:
        with explained(mark, mark):
            mark.parent.mkdir(exist_ok=True)
            with mark.open("ab") as file:
                if file.tell() >= DEATHS:
                    raise ResourceError(
                        f"the process ended {DEATHS} times while it edited this photo, perhaps for lack of memory; "
                        "make the photo smaller or remove it (the next run tries again)"
                    )
                file.write(b".")
        yield
    finally:
        mark.unlink(missing_ok=True)


def deaths(out: Path, photo: str) -> int:
    """How often in a row the process ended while it edited this photo."""
    with suppress(FileNotFoundError):
        return _mark(out, photo).stat().st_size
    return 0


def forgive(out: Path, before: Mapping[str, int]) -> None:
    """Set marks back to how often each photo's process had ended `before`: later ends were wanted."""
    for photo, count in before.items():
        if deaths(out, photo) > count:
            mark = _mark(out, photo)
            if count:
                mark.write_bytes(b"." * count)
            else:
                mark.unlink(missing_ok=True)


def remove_marks(out: Path) -> None:
    """Remove the folder of marks when there are none."""
    with suppress(OSError):
        (out / MARKS).rmdir()


def _mark(out: Path, photo: str) -> Path:
    return out / MARKS / hashlib.sha256(photo.encode("utf-8", "surrogateescape")).hexdigest()[:32]
