"""What a batch is asked to do, and the tasks that come of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dimrt.batch.entry import Entry, Status
from dimrt.batch.find import PHOTOS, Found, find_photos
from dimrt.batch.names import name_outputs
from dimrt.blueprint import Blueprint
from dimrt.errors import InputError
from dimrt.files import folder_target
from dimrt.options import EditOptions
from dimrt.photo.write import FORMATS, QUALITY

REPORT = "dimrt-report.jsonl"
_DEFAULTS = EditOptions()
ONE_PHOTOS_OWN = ("mask", "region", "feather")
"""Options that make sense for one photo only."""


@dataclass(frozen=True)
class Job:
    """A folder of photos to edit.

    Attributes:
        folder: the photos, and folders of photos.
        instruction: what to change, in words; None: only photos in `instructions` are edited.
        out: folder of the results; made when it isn't there, its parent must be. It may be in `folder`.
        instructions: by photo (relative path with forward slashes), where one has another instruction.
        options: of every edit.
        suffix: format of all results (".png"); None keeps each photo's where it can be written.
        quality: of JPEG, WebP, AVIF and HEIC, 1 to 100.
        replace: whether files in `out` that were made otherwise (another instruction, other options or bundle, not by
            a batch at all) are replaced; else they are a reason to refuse the job.
        limit: edits of this run at most; None edits all photos.
        report: file of the report; None: `dimrt-report.jsonl` in `out`.
    """

    folder: Path
    instruction: str | None
    out: Path
    instructions: Mapping[str, str] = field(default_factory=dict)
    options: EditOptions = _DEFAULTS
    suffix: str | None = None
    quality: int = QUALITY
    replace: bool = False
    limit: int | None = None
    report: Path | None = None

    @property
    def report_path(self) -> Path:
        """Where the report is written."""
        return self.out / REPORT if self.report is None else self.report


@dataclass(frozen=True)
class Task:
    """One photo of a job: relative paths of photo and result, the instruction, and the sum of all that is asked."""

    input: str
    output: str
    instruction: str
    key: str

    def entry(self, status: Status, **facts: Any) -> Entry:
        """An entry of this photo."""
        return Entry(self.input, self.output, status, self.instruction, key=self.key, **facts)


@dataclass(frozen=True)
class Todo:
    """A job that was looked at: the photos that are there, in order, and everything else that is."""

    job: Job
    tasks: tuple[Task, ...]
    found: Found


def look(job: Job, digest: str) -> Todo:
    """Check a job and find its photos. Nothing is written.

    Args:
        digest: of the bundle that will run.

    Raises:
        InputError: the job can't be done as it is: a folder, the instruction, the format, an option.
    """
    check_job(job)
    found = find_photos(job.folder, job.out)
    unknown = sorted(job.instructions.keys() - set(found.photos))
    if unknown:
        raise InputError(
            f"{len(unknown):,} of the photos with instructions of their own are not in {job.folder} (first: "
            f"{unknown[0]}); give paths relative to that folder, with forward slashes"
        )
    outputs = name_outputs(found.photos, job.suffix)
    wanted = {photo: job.instructions.get(photo, job.instruction) for photo in found.photos}
    tasks = (
        Task(photo, outputs[photo], text, task_key(job, text, digest))
        for photo, text in wanted.items()
        if text is not None
    )
    return Todo(job, tuple(tasks), found)


def task_key(job: Job, instruction: str, digest: str) -> str:
    """The sum of all that decides a result but the photo's bytes. Options left at their defaults don't count, so that
    a later version's new ones change nothing."""
    options = {
        entry.name: value.text if isinstance(value, Blueprint) else value
        for entry in fields(EditOptions)
        if (value := getattr(job.options, entry.name)) != entry.default
    }
    asked = [instruction, options, job.suffix, job.quality, digest]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def check_job(job: Job) -> None:
    """Check all that can be told without looking for photos.

    Raises:
        InputError: as `look`.
    """
    _check_folders(job.folder, job.out)
    texts = [*job.instructions.values(), *([] if job.instruction is None else [job.instruction])]
    if not texts or not all(text.strip() for text in texts):
        raise InputError("the instruction is empty; say in words what to change")
    if job.suffix is not None and job.suffix not in FORMATS:
        raise InputError(f"unknown picture format {job.suffix!r}; choose one of {', '.join(FORMATS)}")
    if not 1 <= job.quality <= 100:
        raise InputError(f"quality {job.quality} is not from 1 to 100")
    if job.limit is not None and job.limit < 1:
        raise InputError(f"limit {job.limit} is not a positive number; leave it out to edit all photos")
    given = [name for name in ONE_PHOTOS_OWN if getattr(job.options, name) is not None]
    if given:
        raise InputError(f"a batch takes no {given[0]}: it belongs to one photo; edit that photo by itself")
    if job.report_path.suffix.lower() in PHOTOS:
        raise InputError(f"the report can't be {job.report_path}: it isn't a picture; end its name in .jsonl")
    if job.report is not None and not job.report.parent.is_dir():
        raise InputError(f"can't write {job.report}: the folder {job.report.parent} doesn't exist; create it first")


def _check_folders(folder: Path, out: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a folder of photos (one photo is edited by `dimrt edit`)")
    if not out.is_dir():
        folder_target(out, replace=False)
        return
    source = folder.resolve()
    if any(parent.samefile(out) for parent in (source, *source.parents)):
        raise InputError(
            f"results in {out} would lie among the photos of {folder}; choose another folder, such as {folder / 'out'}"
        )
