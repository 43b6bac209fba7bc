"""`dimrt distill`: a painter becomes one that needs few steps and no guidance."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dimrt.cli.console import Console, print_json
from dimrt.cli.options import output_options
from dimrt.cli.train import check_folder, overrides, without_packages_explained
from dimrt.cli.train import describe as describe_run
from dimrt.cli.training import TrainView

if TYPE_CHECKING:
    from dimrt.export.train.launch import Prepared


def describe(prepared: "Prepared") -> list[str]:
    """What will be distilled, in lines."""
    facts = prepared.result.schedule.distilled
    assert facts is not None
    method, lora = prepared.config.distill.method, prepared.config.distill.lora
    counts = ", ".join(str(len(row)) for row in facts.timesteps) or "any"
    adapters = f", adapters of rank {lora.rank}" if lora.rank else ""
    way = type(method).__name__.removesuffix("Settings").lower()
    return [
        f"teacher   {prepared.start.config.name}: {facts.teacher_steps} steps, guidance {facts.guidance_scale:g}",
        f"student   {counts} steps without guidance, by {way}{adapters}",
        *describe_run(prepared),
    ]


@click.command("distill")
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option(
    "--config", metavar="NAME|FILE", help="dim-4.6b-sprint, nano-sprint or a .toml file [default: by the checkpoint]."
)
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="RUN", help="The run's folder.")
@click.option(
    "--data",
    "data",
    multiple=True,
    metavar="DIR|FILE",
    help="Precomputed data, or a TOML file of [[data]] tables; instead of the configuration's. Repeatable.",
)
@click.option("--lora", type=click.IntRange(min=1), metavar="RANK", help="Train adapters; merged when written.")
@click.option(
    "--guidance", type=click.FloatRange(0, 100), metavar="X", help="The teacher's guidance scale [default: its own]."
)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Another value, as loop.steps=100. Repeatable."
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--dry-run", is_flag=True, help="Check everything, take one step, leave nothing.")
@click.option("--offline", is_flag=True, help="Open no socket: use folders and what was fetched before.")
@output_options
def command(
    checkpoint: str,
    config: str | None,
    out: Path | None,
    data: tuple[str, ...],
    lora: int | None,
    guidance: float | None,
    settings: tuple[str, ...],
    resume: bool,
    dry_run: bool,
    offline: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make a painter that needs few steps and no guidance, from CHECKPOINT (a DIM folder or hub id, or nano).

    The result, RUN/checkpoint, is what `dimrt export --checkpoint` takes; its schedule is in it, and the bundle takes
    it from there. Several GPUs: accelerate launch -m dimrt.cli distill …
    Needs the export extra: pip install "dimrt[export]".
    """
    if out is None and not dry_run:
        raise click.UsageError("Give the run's folder with -o/--out, or --dry-run.", click.get_current_context())
    first = int(os.environ.get("RANK", "0")) == 0
    if out is not None and first:
        check_folder(out, resume)
    with without_packages_explained("distill"):
        from dimrt.export.train import launch
        from dimrt.export.train.config import load_config, with_data
    given = overrides(settings, checkpoint)
    given += [f"distill.lora.rank={lora}"] if lora is not None else []
    given += [f"distill.guidance={guidance}"] if guidance is not None else []
    preset = "nano-sprint" if checkpoint == "nano" else "dim-4.6b-sprint"
    chosen = with_data(load_config(config or preset, given), data)
    console = Console(quiet=quiet or not first, as_json=as_json)
    prepared = launch.prepare(chosen, offline=offline, notify=console.note)
    for line in describe(prepared):
        console.note(line)
    with TrainView(console) as view:
        if dry_run or out is None:
            launch.dry_run(prepared, view.on_event)
        else:
            launch.run(prepared, out, resume=resume, on_event=view.on_event)
    if not first:
        return
    if dry_run or out is None:
        console.note(f"one step took {view.seconds:.2f} s: everything is in place")
    else:
        console.note(f"wrote {out / 'checkpoint'}. Use it: dimrt export --checkpoint {out / 'checkpoint'}")
    if as_json:
        document: dict[str, Any] = {
            "output": None if dry_run else str(out),
            "steps": view.step,
            "figures": view.figures,
        }
        print_json(document)
