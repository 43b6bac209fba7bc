"""`dimrt batch`: a folder of photos in, the same folder of edited photos out."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dimrt.cli.bar import Bar, duration
from dimrt.cli.console import Console, cancel_on_interrupt, harmless, print_json
from dimrt.cli.options import (
    Editing,
    bundle_options,
    full_size_options,
    output_options,
    painting_options,
    planning_options,
)
from dimrt.cli.running import Device, load_editor
from dimrt.errors import Cancelled, ResourceError
from dimrt.options import EditOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from dimrt.batch.entry import Entry
    from dimrt.batch.job import Job, Todo
    from dimrt.batch.runner import Report

SOME_FAILED = 1
SHOWN = 20
"""Failures told one by one; the report has them all."""


class BatchView(Bar):
    """Shows how far a batch is, and what failed; a context manager."""

    def __init__(self, console: Console, total: int) -> None:
        super().__init__(console)
        self.counts = {"done": 0, "skipped": 0, "failed": 0}
        self._total = total
        self._start = time.monotonic()

    def on_entry(self, entry: "Entry") -> None:
        """Show one photo's end."""
        self.counts[entry.status] += 1
        if entry.error is not None and self.counts["failed"] <= SHOWN:
            self.note(harmless(f"failed    {entry.input}: {entry.error.message}"))
        elif entry.error is not None and self.counts["failed"] == SHOWN + 1:
            self.note("failed    more of them: the report has them all")
        over = sum(self.counts.values())
        self.show(self._text(over), over, self._total, label="photos", due=over == self._total)

    def _text(self, over: int) -> str:
        parts = [f"{over:,} of {self._total:,}"]
        parts += [f"{self.counts[kind]:,} {kind}" for kind in ("skipped", "failed") if self.counts[kind]]
        worked = over - self.counts["skipped"]
        if worked and over < self._total:
            left = (time.monotonic() - self._start) / worked * (self._total - over)
            parts.append(f"about {duration(left)} left")
        return ", ".join(parts)


@click.command("batch")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("instruction", required=False)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Where the edited photos go."
)
@click.option(
    "--format",
    "suffix",
    metavar="NAME",
    help="Of all results, such as png [default: each photo's own, else jpg or png].",
)
@click.option("--replace", is_flag=True, help="Replace files in DIR that were made otherwise, or by something else.")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Edit at most N photos now, the next run goes on."
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the report goes [default: DIR/dimrt-report.jsonl].",
)
@click.option(
    "--instructions",
    "instructions_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Instructions of single photos: .jsonl or .csv with input (path in FOLDER) and instruction; the others get "
    "INSTRUCTION, or are left out where there is none.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done with each photo, and do nothing.")
@click.option("--no-plan", is_flag=True, help="Paint from the bare instruction.")
@painting_options
@planning_options
@full_size_options
@bundle_options
@click.option(
    "--ray",
    "address",
    metavar="ADDRESS",
    help="Edit on this Ray cluster (auto: the one that runs here; local: this machine alone, all its GPUs). All its "
    "machines must see FOLDER, DIR and the bundle under the same paths.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="With --ray: editors [default: one a GPU, or a machine]."
)
@output_options
def command(
    folder: Path,
    instruction: str | None,
    out: Path,
    suffix: str | None,
    replace: bool,
    limit: int | None,
    report: Path | None,
    instructions_file: Path | None,
    dry_run: bool,
    no_plan: bool,
    quality: int,
    bundle: str | None,
    device: Device,
    target: str | None,
    threads: int | None,
    address: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    **asked: "Unpack[Editing]",
) -> None:
    """Edit a folder of photos, and the folders in it, into the same folders under DIR.

    Photos that are done are skipped: those whose result is in DIR, made from the same bytes with the same instruction,
    options and bundle. So the same command goes on after an interruption, takes in photos that were added or changed,
    and tries again what failed. A photo that can't be edited is reported, and the others go on. Results that were made
    otherwise are a reason to refuse the whole command, unless --replace is given. The photos themselves are never
    written.

    Hidden files, links that lead out of FOLDER and linked folders are left out. Two photos never share a result:
    a.heic goes to a.heic.jpg where another photo has a.jpg. The report has one line of JSON for each photo.

    Exits 0 when all is done, 1 when photos failed, 2 when the command can't be carried out as it is, 3 when the disk is
    full, 130 when it was cancelled.
    """
    check_flags(instruction, instructions_file, asked["plan_style"], no_plan, address, workers)

    from dimrt.batch.instructions import read_instructions
    from dimrt.batch.job import Job

    job = Job(
        folder,
        instruction,
        out,
        instructions={} if instructions_file is None else read_instructions(instructions_file),
        options=EditOptions(**asked, think=not no_plan),
        suffix=None if suffix is None else f".{suffix.lower().removeprefix('.')}",
        quality=quality,
        replace=replace,
        limit=limit,
        report=report,
    )
    console = Console(quiet=quiet, as_json=as_json)
    if dry_run:
        say_what_would_be(job, bundle, console)
        return
    start = time.monotonic()
    if address is None:
        done = edit_here(job, bundle, device, target, threads, console)
    else:
        done = edit_there(job, address, workers, bundle, device, target, threads, console)
    tell(job, done, time.monotonic() - start, console)
    if done.count("failed"):
        click.get_current_context().exit(SOME_FAILED)


def check_flags(
    instruction: str | None,
    instructions: Path | None,
    plan_style: str | None,
    no_plan: bool,
    address: str | None,
    workers: int | None,
) -> None:
    """Refuse flags that say nothing together.

    Raises:
        click.UsageError: they do.
    """
    wrong = None
    if instruction is None and instructions is None:
        wrong = "Give an INSTRUCTION, or --instructions FILE."
    elif plan_style is not None and no_plan:
        wrong = "--plan-style says how the designer writes, and with --no-plan it writes nothing. Leave one out."
    elif workers is not None and address is None:
        wrong = "--workers counts the editors of a Ray cluster. Give --ray too, or leave it out."
    if wrong:
        raise click.UsageError(wrong, click.get_current_context())


def edit_here(
    job: "Job", bundle: str | None, device: Device, target: str | None, threads: int | None, console: Console
) -> "Report":
    """Run the job in this process, with a bar."""
    from dimrt.batch import runner
    from dimrt.batch.job import check_job, look

    check_job(job)
    editor = load_editor(bundle, device, target, threads, console)
    todo = look(job, editor.bundle.digest)
    note_found(todo, console)
    with BatchView(console, len(todo.tasks)) as view, going_on(view, job.out), cancel_on_interrupt() as cancel:
        work = runner.edit_here(editor, job, cancel)
        return runner.follow(runner.results(todo, work, cancel), view.on_entry)


def edit_there(
    job: "Job",
    address: str,
    workers: int | None,
    bundle: str | None,
    device: Device,
    target: str | None,
    threads: int | None,
    console: Console,
) -> "Report":
    """Run the job on a Ray cluster, with a bar. Ctrl-C ends its workers at once."""
    from dimrt.batch import runner
    from dimrt.batch.cluster import Cluster, edit_on_ray
    from dimrt.batch.job import check_job, look
    from dimrt.bundle import Bundle, find_bundle
    from dimrt.request import resolve

    check_job(job)
    path, source = find_bundle(bundle)
    opened = Bundle.open(path)
    resolve(job.options, opened.manifest)
    console.note(f"bundle    {opened.manifest.name} ({source}: {path})")
    todo = look(job, opened.digest)
    note_found(todo, console)
    work = edit_on_ray(Cluster(address, path.resolve(), opened.digest, device, target, threads, workers))
    with BatchView(console, len(todo.tasks)) as view, going_on(view, job.out):
        return runner.follow(runner.results(todo, work), view.on_entry)


def say_what_would_be(job: "Job", bundle: str | None, console: Console) -> None:
    """What would be done with each photo: one line of each on stdout, or one document."""
    from dimrt.batch.job import look
    from dimrt.batch.state import expected
    from dimrt.bundle import Bundle, find_bundle

    todo = look(job, Bundle.open(find_bundle(bundle)[0], verify="layout").digest)
    note_found(todo, console)
    lines = [(what, task) for task, what in expected(todo)]
    if console.as_json:
        print_json({"photos": [{"input": task.input, "output": task.output, "would": what} for what, task in lines]})
        return
    for what, task in lines:
        click.echo(harmless(f"{what:<8}  {task.input} -> {task.output}"))


def note_found(todo: "Todo", console: Console) -> None:
    """What there is in the folder, and what is not touched."""
    from dimrt.batch.find import describe_left_out

    console.note(f"photos    {len(todo.tasks):,} in {todo.job.folder}")
    console.notes(describe_left_out(todo.found))
    renamed = [task for task in todo.tasks if task.input != task.output]
    if renamed:
        first = renamed[0]
        console.note(harmless(f"note      {len(renamed):,} results have other names ({first.input} -> {first.output})"))


def tell(job: "Job", report: "Report", seconds: float, console: Console) -> None:
    """The closing lines of a batch."""
    counts = {status: report.count(status) for status in ("done", "skipped", "failed")}
    if console.as_json:
        print_json(describe(job, report, counts, seconds))
        return
    left = f", {report.left:,} left for the next run" if report.left else ""
    words = ", ".join(f"{count:,} {status}" for status, count in counts.items())
    console.note(f"wrote     {words}{left} ({duration(seconds)}); report: {report.path}")


def describe(job: "Job", report: "Report", counts: dict[str, int], seconds: float) -> dict[str, Any]:
    """The JSON document of a batch."""
    return {
        "folder": str(job.folder),
        "output": str(job.out),
        "report": str(report.path),
        "photos": sum(counts.values()) + report.left,
        **counts,
        "left": report.left,
        "left_out": dict(sorted(report.found.left_out.items())),
        "seconds": round(seconds, 3),
    }


@contextmanager
def going_on(view: BatchView, out: Path) -> Iterator[None]:
    """Say how an interrupted batch goes on."""

    def so_far() -> str:
        return f"{view.counts['done'] + view.counts['skipped']:,} photos are done in {out}"

    try:
        yield
    except (KeyboardInterrupt, Cancelled):
        raise Cancelled(f"cancelled. {so_far()}: the same command goes on from there") from None
    except ResourceError as error:
        if not view.counts["done"]:
            raise
        raise ResourceError(f"{error}. {so_far()}: then the same command goes on from there") from error
