"""`dimrt precompute`: latents and conditions of data sets, computed once for training."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dimrt.cli.bar import Bar, duration
from dimrt.cli.console import Console, print_json
from dimrt.cli.options import check_writable, output_options
from dimrt.cli.train import without_packages_explained
from dimrt.errors import Cancelled, InputError

if TYPE_CHECKING:
    from dimrt.export.train.data.precompute import PrecomputeEvent
    from dimrt.export.train.data.spec import DataSpec

SHORT = ("dim-edit", "pairs", "folders")
"""Kinds of sets that need no table."""


class PrecomputeView(Bar):
    """Shows the events of one job; a context manager."""

    def on_event(self, event: "PrecomputeEvent") -> None:
        """Show one event."""
        if event.note is not None:
            self.note(f"note      {event.note}")
        else:
            self.show(describe_event(event), event.done, event.total, due=event.done == event.total)


def describe_event(event: "PrecomputeEvent") -> str:
    """How many rows are done and how long the rest takes."""
    out = f", {event.left_out:,} left out" if event.left_out else ""
    left = "" if event.left is None else f", about {duration(event.left)} left"
    return f"{event.done:,} of {event.total:,} rows{out}{left}"


def read_data(places: tuple[str, ...]) -> "list[DataSpec]":
    """The sets that the arguments name: TOML files of tables, or KIND=PATH."""
    from dimrt.export.train.data.spec import DataSpec, read_specs

    specs: list[DataSpec] = []
    for place in places:
        kind, sign, path = place.partition("=")
        if sign and kind in SHORT:
            specs.append(DataSpec(kind, path).resolved(Path()))
        elif place.endswith(".toml"):
            specs += read_specs(Path(place))
        else:
            raise InputError(f"{place}: name a .toml file of [[data]] tables, or {'=…, '.join(SHORT)}=…")
    return specs


def parse_share(share: str | None) -> tuple[int, int]:
    """I/N, with I counted from 1, as (number from 0, count)."""
    if share is None:
        return 0, 1
    number, _, count = share.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise InputError(f"--share {share}: give I/N with 1 <= I <= N, as 2/8 for the second of eight processes")
    return int(number) - 1, int(count)


@contextmanager
def resumable(out: Path) -> Iterator[None]:
    """Say how an interrupted job goes on."""
    try:
        yield
    except (KeyboardInterrupt, Cancelled):
        raise Cancelled(
            f"cancelled. Finished shards stay in {out}: give the same command again to go on, with --restart to begin "
            "anew"
        ) from None


@click.command("precompute")
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Where to write.")
@click.option(
    "--checkpoint",
    metavar="DIR|HUB_ID|nano",
    help="Whose designer and autoencoder are used [default: the published DIM-4.6B-Edit].",
)
@click.option("--designer", metavar="DIR|HUB_ID", help="Where the Qwen2.5-VL files are [default: the checkpoint's].")
@click.option("--autoencoder", metavar="DIR|HUB_ID", help="Where the DC-AE files are [default: the checkpoint's].")
@click.option("--offline", is_flag=True, help="Open no socket: use folders and what was fetched before.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="What to run on."
)
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="Of latents and conditions on disk.",
)
@click.option(
    "--batch", type=click.IntRange(min=1), default=8, show_default=True, metavar="N", help="Rows computed together."
)
@click.option("--shard-size", type=click.IntRange(min=1), metavar="N", help="Rows of a shard [default: about 256 MB].")
@click.option("--share", metavar="I/N", help="Take only every N-th shard, for N processes on one folder.")
@click.option("--restart", is_flag=True, help="Begin anew, whatever an earlier job left.")
@output_options
def command(
    data: tuple[str, ...],
    out: Path,
    checkpoint: str | None,
    designer: str | None,
    autoencoder: str | None,
    offline: bool,
    device: str,
    dtype: str,
    batch: int,
    shard_size: int | None,
    share: str | None,
    restart: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compute latents and conditions of data sets once, for training.

    DATA is a .toml file of [[data]] tables, or a set by itself: dim-edit=DIR, pairs=FILE, folders=DIR. Rows that can't
    be used are left out and listed in DIR/problems.jsonl. What is interrupted goes on when the same command is given
    again. Needs the export extra: pip install "dimrt[export]".
    """
    check_writable(out / "index.json" if out.is_dir() else out)
    part = parse_share(share)
    with without_packages_explained("precompute"):
        from dimrt.export.train.data.job import Layout, Model, precompute_sets
        from dimrt.export.train.data.problems import Problems
    specs = read_data(data)
    console, problems = Console(quiet=quiet, as_json=as_json), Problems()
    model = Model(checkpoint, designer, autoencoder, offline, device)
    layout = Layout(dtype, batch, shard_size, part)
    with PrecomputeView(console) as view, resumable(out):
        index = precompute_sets(specs, model, out, layout, problems, restart=restart, notify=view.on_event)
    for line in problems.summary().splitlines():
        console.note(f"note      {line}")
    if index is None:
        console.note(f"share {share} is written. {out} is complete once the other shares are, too.")
    else:
        console.note(f"wrote {out}: {index.examples:,} examples. Use it: dimrt train CONFIG --data {out} -o RUN")
    if as_json:
        counts = {"examples": None if index is None else index.examples, "left_out": len(problems)}
        print_json({"output": str(out), "complete": index is not None, **counts, "problems": dict(problems.counts)})
