"""One photo of a batch: read, edit, write. What is wrong with it becomes an entry, not the end of the batch."""

import time
from dataclasses import dataclass
from pathlib import Path

from dimrt.batch.entry import Entry, Problem
from dimrt.batch.job import Task
from dimrt.batch.marks import marked
from dimrt.editor import Editor
from dimrt.errors import BundleError, Cancelled, InputError, ResourceError
from dimrt.files import FULL
from dimrt.integrity import checksum
from dimrt.options import EditOptions
from dimrt.phases import Cancel
from dimrt.photo.read import read_photo
from dimrt.photo.write import write_photo


@dataclass(frozen=True)
class Place:
    """Where photos come from and results go, and how they are edited and written: the same for a whole job."""

    folder: Path
    out: Path
    options: EditOptions
    quality: int


def edit_photo(editor: Editor, task: Task, place: Place, cancel: Cancel | None = None) -> Entry:
    """Edit one photo of a batch.

    Args:
        cancel: stops the edit, as in `Editor.edit`.

    Returns:
        A done or a failed entry.

    Raises:
        Cancelled: `cancel` was set; nothing was written.
        BundleError: the bundle can't do this, whatever the photo.
        ResourceError: the disk is full; other lacks of the machine may be this photo's alone, and are failures of it.
    """
    start = time.perf_counter()
    try:
        with marked(place.out, task.input):
            return _edit(editor, task, place, cancel, start)
    except (Cancelled, BundleError):
        raise
    except ResourceError as error:
        if disk_is_full(error):
            raise
        return failed(task, error, time.perf_counter() - start)
    except Exception as error:  # whatever a strange file does to a decoder: the other photos go on
        return failed(task, error, time.perf_counter() - start)


def failed(task: Task, error: Exception, seconds: float | None = None) -> Entry:
    """The entry of a photo that failed."""
    problem = Problem(type(error).__name__, str(error) or type(error).__name__)
    return task.entry("failed", error=problem, seconds=None if seconds is None else round(seconds, 3))


def disk_is_full(error: BaseException) -> bool:
    """Whether an error says that nothing more can be written."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL


def _edit(editor: Editor, task: Task, place: Place, cancel: Cancel | None, start: float) -> Entry:
    source, target = place.folder / task.input, place.out / task.output
    digest = checksum(source)
    photo = read_photo(source)
    result = editor.edit(photo, task.instruction, place.options, cancel=cancel)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or not target.parent.resolve().is_relative_to(place.out.resolve()):
        raise InputError(f"{target} leads out of {place.out} by a link; remove the link")
    notes = write_photo(target, result.image, photo, place.quality)
    height, width = result.image.shape[:2]
    return task.entry(
        "done",
        seconds=round(time.perf_counter() - start, 3),
        width=width,
        height=height,
        file_bytes=target.stat().st_size,
        seed=result.seed,
        steps=result.steps,
        guidance_scale=result.guidance_scale,
        composite=result.composite,
        notes=(*photo.notes, *notes),
        bundle=result.bundle,
        provider=result.provider,
        sha256=digest,
    )
