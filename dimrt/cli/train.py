"""`dimrt train`: data becomes a painter."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dimrt.cli.console import Console, print_json
from dimrt.cli.options import apply, check_writable, output_options
from dimrt.cli.training import TrainView
from dimrt.errors import InputError, ResourceError

if TYPE_CHECKING:
    from dimrt.export.train.launch import Prepared


def overrides(settings: tuple[str, ...], checkpoint: str | None) -> list[str]:
    """`--set` and what other flags stand for, as key=value."""
    return [*settings, *([f"model.checkpoint={checkpoint}"] if checkpoint is not None else [])]


@contextmanager
def without_packages_explained(command: str) -> Iterator[None]:
    """Say what to install when the export extra isn't there."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("dimrt"):
            raise
        raise ResourceError(
            f'{command} needs {error.name}, which isn\'t installed. Install it: pip install "dimrt[export]"'
        ) from None


def check_folder(out: Path, resume: bool) -> None:
    """Refuse a run folder before the weights are opened."""
    check_writable(out / "config.toml" if out.is_dir() else out)
    begun = (out / "config.toml").is_file()
    if begun and not resume:
        raise InputError(f"--out {out}: holds a run already. Add --resume to go on with it, or name another folder.")
    if resume and not begun:
        raise InputError(f"--out {out}: holds no run to resume. Leave --resume out to begin one.")
    if not begun and out.is_dir() and any(out.iterdir()):
        raise InputError(f"--out {out}: the folder isn't empty and holds no run. Name another folder.")


def describe(prepared: "Prepared") -> list[str]:
    """What will be trained, in lines."""
    config, found = prepared.config, prepared.estimate
    loop, processes = config.loop, prepared.processes
    each = loop.batch // processes.parts
    shared = f"{processes.world} process(es) on {processes.device.type}, {loop.accumulate} part(s) of {each} each"
    available = "" if found.available is None else f" of {found.available / 1e9:.1f} GB available"
    taken = sum(weight > 0 for weight in prepared.examples.weights())
    return [
        f"trains    {prepared.result.name} ({config.stage}): {found.parameters / 1e6:,.1f} million parameters",
        f"data      {taken:,} examples",
        *(f"note      {line}" for line in prepared.problems.summary().splitlines()),
        f"steps     {loop.steps:,} of {loop.batch} examples ({loop.steps * loop.batch / max(1, taken):,.1f} times "
        f"through); {shared}",
        f"memory    {found.bytes / 1e9:.2f} GB{available}, and activations",
    ]


run_options = apply(
    click.option("-o", "--out", type=click.Path(path_type=Path), metavar="RUN", help="The run's folder."),
    click.option(
        "--data",
        "data",
        multiple=True,
        metavar="DIR|FILE",
        help="Precomputed data, or a TOML file of [[data]] tables; instead of the configuration's. Repeatable.",
    ),
    click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Another value, as loop.steps=100. Repeatable."
    ),
    click.option("--resume", is_flag=True, help="Go on with the run in --out."),
    click.option("--dry-run", is_flag=True, help="Check everything, take one step, leave nothing."),
    click.option("--offline", is_flag=True, help="Open no socket: use folders and what was fetched before."),
    output_options,
)
"""What `dimrt train` and `dimrt distill` share."""


@click.command("train")
@click.argument("config", metavar="CONFIG")
@click.option("--checkpoint", metavar="DIR|HUB_ID|nano", help="Weights to begin with [default: the configuration's].")
@run_options
def command(
    config: str,
    out: Path | None,
    data: tuple[str, ...],
    checkpoint: str | None,
    settings: tuple[str, ...],
    resume: bool,
    dry_run: bool,
    offline: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a painter on pictures and plans, with its connector; designer and autoencoder stay as they are.

    CONFIG is dim-4.6b-t2i, dim-4.6b-edit-stage1, dim-4.6b-edit, nano-drawing, nano, or a .toml file. The result,
    RUN/checkpoint, is what `dimrt export --checkpoint` takes. Several GPUs: accelerate launch -m dimrt.cli train …
    Needs the export extra: pip install "dimrt[export]".
    """
    values = overrides(settings, checkpoint)
    wish = Wish(out, data, resume=resume, dry_run=dry_run, offline=offline, as_json=as_json, quiet=quiet)
    run_shown("train", config, values, wish, describe)


@dataclass(frozen=True)
class Wish:
    """The options that `dimrt train` and `dimrt distill` share."""

    out: Path | None
    data: tuple[str, ...]
    resume: bool
    dry_run: bool
    offline: bool
    as_json: bool
    quiet: bool


def run_shown(
    command: str, config: str, values: list[str], wish: Wish, about: Callable[["Prepared"], list[str]]
) -> None:
    """Check, prepare and show a run. `values` are "key=value" over `config`; `about` says what will be done."""
    out, dry_run = wish.out, wish.dry_run
    if out is None and not dry_run:
        raise click.UsageError("Give the run's folder with -o/--out, or --dry-run.", click.get_current_context())
    first = int(os.environ.get("RANK", "0")) == 0
    if out is not None and first:
        check_folder(out, wish.resume)
    with without_packages_explained(command):
        from dimrt.export.train import launch
        from dimrt.export.train.config import load_config, with_data
    console = Console(quiet=wish.quiet or not first, as_json=wish.as_json)
    chosen = with_data(load_config(config, values), wish.data)
    prepared = launch.prepare(chosen, offline=wish.offline, notify=console.note)
    for line in about(prepared):
        console.note(line)
    with TrainView(console) as view:
        if dry_run or out is None:
            launch.dry_run(prepared, view.on_event)
        else:
            launch.run(prepared, out, resume=wish.resume, on_event=view.on_event)
    if not first:
        return
    if dry_run or out is None:
        console.note(f"one step took {view.seconds:.2f} s: everything is in place")
    else:
        console.note(f"wrote {out / 'checkpoint'}. Use it: dimrt export --checkpoint {out / 'checkpoint'}")
    if wish.as_json:
        print_json({"output": None if dry_run else str(out), "steps": view.step, "figures": view.figures})
