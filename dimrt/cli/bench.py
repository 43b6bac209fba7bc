"""`dimrt bench`: what this device can do, and how near an edit comes to it."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import click

from dimrt.cli.console import Console
from dimrt.cli.options import apply, bundle_options, check_writable, json_option, quiet_option, schedule_option
from dimrt.cli.running import Device
from dimrt.errors import InputError
from dimrt.files import atomic_write

MAX_DOCUMENT = 256 * 2**20
"""Bytes of a document that is compared: a day's run has some megabytes."""

SECTIONS = {
    "card": ("device", ("card_lines",)),
    "ceilings": ("ceilings, measured", ("ceiling_lines",)),
    "cold": ("first edit of a process", ("cold_lines",)),
    "edit": ("edits, warm", ("edit_lines", "decode_lines")),
    "graphs": ("graphs, each by itself", ("graph_lines",)),
    "sustained": ("all in all", ("closing_lines",)),
}
"""Heading of each part of the document, and what of `dimrt.measure.show` prints it."""

file_options = apply(
    click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the document (JSON)."),
    click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a report with charts."),
)


class Reporter:
    """Prints parts as they are measured: stages on stderr, results on stdout."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._first = True

    def stage(self, text: str) -> None:
        """Said to a terminal alone: it is overwritten by nothing and would only fill a log."""
        if self._console.terminal:
            self._console.note(f"... {text}")

    def part(self, name: str, document: dict[str, Any]) -> None:
        """Print a part that is complete."""
        if self._console.quiet or self._console.as_json:
            return
        from dimrt.measure import show

        heading, printers = SECTIONS[name]
        blank = "" if self._first else "\n"
        self._first = False
        click.echo(f"{blank}{heading}")
        for printer in printers:
            for line in getattr(show, printer)(document):
                click.echo(f"  {line}".rstrip())
        sys.stdout.flush()


@click.group("bench", invoke_without_command=True)
@bundle_options
@click.option("--graphs", metavar="NAMES", help="Graphs to measure by themselves, with commas [default: all].")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Painter steps [default: the bundle's].")
@click.option("--guidance", type=click.FloatRange(min=0), metavar="X", help="Guidance scale [default: the bundle's].")
@schedule_option
@click.option("--plan-tokens", type=click.IntRange(min=1), metavar="N", help="Length of every plan [default: its own].")
@click.option(
    "--rounds", type=click.IntRange(min=1), metavar="N", help="Photos, each edited twice [default: 10 to 64]."
)
@click.option(
    "--sustained", type=click.FloatRange(min=0), metavar="SECONDS", help="Edits in a row for so long [default: 60]."
)
@click.option("--quick", is_flag=True, help="A short look: few samples, no long run.")
@file_options
@json_option
@quiet_option
@click.pass_context
def command(
    ctx: click.Context,
    bundle: str | None,
    device: Device,
    target: str | None,
    threads: int | None,
    graphs: str | None,
    steps: int | None,
    guidance: float | None,
    schedule: Literal["auto", "student", "teacher"],
    plan_tokens: int | None,
    rounds: int | None,
    sustained: float | None,
    quick: bool,
    out: Path | None,
    html: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure this device: its ceilings, each graph, whole edits.

    Prints the device and what it can do at most, then how long edits take on it. The last line of the output is the
    whole measurement as one JSON document, every sample in it; --json prints nothing else.
    """
    if ctx.invoked_subcommand is not None:
        return
    for path in (out, html):
        if path is not None:
            check_writable(path)
    from dimrt.bundle import find_bundle
    from dimrt.measure.edits import Case
    from dimrt.measure.plan import FULL, QUICK
    from dimrt.measure.runs import bench
    from dimrt.measure.samples import Amount

    plan = QUICK if quick else FULL
    if rounds is not None:
        plan = replace(plan, edits=Amount(rounds, rounds, 0.0))
    if sustained is not None:
        plan = replace(plan, sustained=sustained)
    if graphs is not None:
        plan = replace(plan, graphs=tuple(name.strip() for name in graphs.split(",") if name.strip()))
    case = Case(
        str(find_bundle(bundle)[0]),
        device=device,
        target=target,
        threads=threads,
        steps=steps,
        guidance=guidance,
        schedule=schedule,
        plan_tokens=plan_tokens,
    )
    console = Console(quiet=quiet, as_json=as_json)
    document = bench(case, plan, Reporter(console), _command_line())
    line = json.dumps(document, ensure_ascii=False)
    try:
        if not (as_json or quiet):
            click.echo()
        click.echo(line)
        sys.stdout.flush()
    finally:  # what was measured for minutes reaches its files, though the reader of the output may be gone
        if out is not None:
            with atomic_write(out) as file:
                file.write(f"{line}\n".encode())
            console.note(f"wrote     {out}")
        if html is not None:
            _write_report(document, html, console)


@command.command("compare")
@click.argument("before")
@click.argument("after")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a report with charts.")
@json_option
def compare_command(before: str, after: str, html: Path | None, as_json: bool) -> None:
    """Say whether AFTER is better or worse than BEFORE, or whether there is no evidence of either.

    Both are documents of `dimrt bench -o FILE`.
    """
    from dimrt.measure.comparing.compare import compare, describe, table

    if html is not None:
        check_writable(html)
    one, other = read_document(before), read_document(after)
    found = compare(one, other)
    if html is not None:
        from dimrt.measure.pages.compared import write_comparison

        write_comparison(one, other, found, html)
    if as_json:
        click.echo(json.dumps(describe(found), ensure_ascii=False))
        return
    for line in table(found):
        click.echo(line)


def read_document(name: str) -> dict[str, Any]:
    """A document that `dimrt bench` wrote: the file, or its last line.

    Raises:
        InputError: it can't be read, or isn't one.
    """
    from dimrt.measure.runs import FORMAT

    try:
        with Path(name).open("rb") as file:
            raw = file.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise InputError(f"{name}: can't be read: {error.strerror}. Name a file of `dimrt bench -o FILE`.") from None
    if len(raw) > MAX_DOCUMENT:
        raise InputError(f"{name} is longer than {MAX_DOCUMENT:,} bytes. Name a file of `dimrt bench -o FILE`.")
    lines = raw.decode("utf-8-sig", errors="replace").strip().splitlines()
    try:
        document = json.loads(lines[-1]) if lines else None
    except ValueError:
        document = None
    if not isinstance(document, dict) or "format" not in document or "ceilings" not in document:
        raise InputError(f"{name} is no measurement of `dimrt bench`. Make one with `dimrt bench -o FILE`.")
    if document["format"] != FORMAT:
        raise InputError(f"{name} has format {document['format']}, this dimrt reads {FORMAT}. Measure again.")
    return document


def _write_report(document: dict[str, Any], path: Path, console: Console) -> None:
    from dimrt.measure.pages.report import render

    with atomic_write(path) as file:
        file.write(render(document).encode())
    console.note(f"wrote     {path}")


def _command_line() -> str:
    """The command as it was given; where files lie on this machine is nobody's business."""
    words = [
        "dimrt" if i == 0 else Path(word).name if "/" in word or "\\" in word else word
        for i, word in enumerate(sys.argv)
    ]
    return " ".join(words)
