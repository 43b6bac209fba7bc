"""How the photos of a job stand against what is in the folder of results."""

from collections.abc import Iterator
from typing import Literal

import msgspec

from dimrt.batch.entry import Entry
from dimrt.batch.job import Task, Todo
from dimrt.batch.record import History, read_history
from dimrt.errors import InputError
from dimrt.integrity import checksum

PARTIAL = ".dimrt-*.partial"
"""Names that `dimrt.files.atomic_write` gives to files it hasn't finished."""
Expected = Literal["edit", "skip", "refuse", "later"]
"""What a run would do with a photo; "later" is over its limit."""


def done_before(task: Task, todo: Todo, history: History) -> Entry | None:
    """The entry of a photo whose result is there, made of the same bytes as asked now; else None."""
    last = history.last.get(task.input)
    if last is None or last.status != "done" or (last.key, last.output) != (task.key, task.output):
        return None
    if history.owner(task.output) != task.input or not (todo.job.out / task.output).is_file():
        return None
    try:
        same = checksum(todo.job.folder / task.input) == last.sha256
    except OSError:  # the edit will say what is wrong with the file
        return None
    return msgspec.structs.replace(last, status="skipped") if same else None


def refuse_others(todo: Todo, history: History) -> None:
    """Refuse a job whose results would replace what it didn't make, or would lie beside what was made otherwise.

    Raises:
        InputError: there is such a file, and the job is not to replace it.
    """
    if todo.job.replace:
        return
    out = todo.job.out
    advice = "choose another folder, or have them replaced (--replace)"
    others = [task for task in todo.tasks if made_otherwise(task, todo, history)]
    if others:
        old = history.last[others[0].input]
        raise InputError(
            f"{len(others):,} results in {out} were made with another instruction, other options or another bundle, "
            f"such as {old.output} ({old.instruction!r}); {advice}"
        )
    strange = [task for task in todo.tasks if in_the_way(task, todo, history)]
    if strange:
        raise InputError(
            f"{len(strange):,} files in {out} are in the way, and no batch made them from these photos, such as "
            f"{strange[0].output}; {advice}"
        )


def made_otherwise(task: Task, todo: Todo, history: History) -> bool:
    """Whether a result of this photo is there that was asked for otherwise."""
    last = history.last.get(task.input)
    return last is not None and last.key != task.key and (todo.job.out / last.output).is_file()


def in_the_way(task: Task, todo: Todo, history: History) -> bool:
    """Whether a file is where the photo's result goes, and isn't an earlier one of the same photo."""
    return history.owner(task.output) != task.input and (todo.job.out / task.output).exists()


def claimed(task: Task, history: History) -> bool:
    """Whether the record says already that this request may write the photo's result."""
    last = history.last.get(task.input)
    return history.owner(task.output) == task.input and last is not None and last.key == task.key


def sweep(todo: Todo) -> None:
    """Remove half-written files that a killed run left where this one writes."""
    for folder in {(todo.job.out / task.output).parent for task in todo.tasks}:
        for partial in folder.glob(PARTIAL):
            partial.unlink(missing_ok=True)


def expected(todo: Todo) -> Iterator[tuple[Task, Expected]]:
    """What a run would do with each photo. Nothing is written.

    Raises:
        InputError: the record can't be read.
    """
    history = read_history(todo.job.out)
    edits = 0
    for task in todo.tasks:
        other = made_otherwise(task, todo, history) or in_the_way(task, todo, history)
        if other and not todo.job.replace:
            yield task, "refuse"
        elif done_before(task, todo, history) is not None:
            yield task, "skip"
        else:
            edits += 1
            yield task, "edit" if todo.job.limit is None or edits <= todo.job.limit else "later"
