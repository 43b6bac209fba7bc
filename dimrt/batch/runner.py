"""A batch from its folder to its report, as a stream of entries that ends in the report."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from dimrt.batch.entry import Entry, Lines, Problem, write_entries
from dimrt.batch.find import Found
from dimrt.batch.job import Job, Task, Todo, check_job, look
from dimrt.batch.marks import deaths
from dimrt.batch.record import Record
from dimrt.batch.state import claimed, done_before, refuse_others, sweep
from dimrt.batch.work import Place, edit_photo
from dimrt.editor import Editor
from dimrt.errors import Cancelled
from dimrt.phases import Cancel
from dimrt.request import resolve

Work = Callable[[list[Task], Place], Generator[Entry, None, None]]
"""What edits photos: an entry, done or failed, for each task."""


@dataclass
class Report:
    """What became of a batch. Iterates over its entries, in the order of the photos.

    Attributes:
        entries: one for each photo that was done, skipped or failed.
        left: photos that a limit left for the next run.
        found: what else there was in the folder.
        path: the file that holds the entries as JSON lines.
    """

    found: Found
    path: Path
    entries: list[Entry] = field(default_factory=list)
    left: int = 0

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def count(self, status: str) -> int:
        """How many photos ended so: "done", "skipped" or "failed"."""
        return sum(entry.status == status for entry in self.entries)


def run(
    job: Job,
    editor: Editor | None = None,
    *,
    on_entry: Callable[[Entry], None] | None = None,
    cancel: Cancel | None = None,
) -> Report:
    """Edit a folder of photos.

    Args:
        job: what to do.
        editor: what edits; None loads the default bundle.
        on_entry: called for each photo when it is done, skipped or failed.
        cancel: stops the batch, within the running edit; what is done stays, and the same job goes on from there.

    Raises:
        InputError: the job can't be done as it is, or `out` holds other results; nothing was written.
        BundleError: the bundle can't do this.
        ResourceError: the disk is full.
        Cancelled: `cancel` was set.
    """
    check_job(job)
    editor = Editor.load() if editor is None else editor
    return follow(results(look(job, editor.bundle.digest), edit_here(editor, job, cancel), cancel), on_entry)


def follow(entries: Generator[Entry, None, Report], on_entry: Callable[[Entry], None] | None = None) -> Report:
    """Run `results` to its end."""
    with closing(entries):
        while True:
            try:
                entry = next(entries)
            except StopIteration as end:
                report: Report = end.value
                return report
            if on_entry is not None:
                on_entry(entry)


def edit_here(editor: Editor, job: Job, cancel: Cancel | None = None) -> Work:
    """Work that edits one photo after the other in this process.

    Raises:
        InputError: an option is out of range for the editor's bundle.
    """
    resolve(job.options, editor.bundle.manifest)

    def work(tasks: list[Task], place: Place) -> Generator[Entry, None, None]:
        for task in tasks:
            yield edit_photo(editor, task, place, cancel)

    return work


def results(todo: Todo, work: Work, cancel: Cancel | None = None) -> Generator[Entry, None, Report]:
    """The entries of a job as they come: first what is done already, then the edits. Close it to stop.

    Args:
        todo: from `look`.
        work: what edits, see `edit_here`.
        cancel: looked at between two photos here.

    Raises:
        As `run`.
    """
    job = todo.job
    report = Report(todo.found, job.report_path)
    place = Place(job.folder, job.out, job.options, job.quality)
    with Record(job.out) as record:
        refuse_others(todo, record.history)
        sweep(todo)
        lines = Lines(report.path, fresh=True)
        with closing(lines), closing(_entries(todo, place, record, work, report, cancel)) as entries:
            for entry in entries:
                lines.append(entry)
                report.entries.append(entry)
                yield entry
        place_of = {task.input: number for number, task in enumerate(todo.tasks)}
        report.entries.sort(key=lambda entry: place_of.get(entry.input, len(place_of)))
        write_entries(report.path, report.entries)
    return report


def _entries(
    todo: Todo, place: Place, record: Record, work: Work, report: Report, cancel: Cancel | None
) -> Generator[Entry, None, None]:
    for name, error in todo.found.unreadable.items():
        yield Entry(name, "", "failed", error=Problem(type(error).__name__, f"{name}: {error.strerror}"))
    waiting: list[Task] = []
    for task in todo.tasks:
        if cancel is not None and cancel.is_set():
            raise Cancelled
        done = done_before(task, todo, record.history)
        if done is None:
            waiting.append(task)
        else:
            yield done
    # A photo that ended the process before comes last: if it does so again, the others are done.
    waiting.sort(key=lambda task: deaths(place.out, task.input))
    chosen = waiting[: todo.job.limit]
    report.left = len(waiting) - len(chosen)
    record.append(*(task.entry("claimed") for task in chosen if not claimed(task, record.history)))
    with closing(work(chosen, place)) as entries:
        for entry in entries:
            record.append(entry)
            yield entry
