"""`dimrt distill`: a painter becomes one that needs few steps and no guidance."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dimrt.cli.train import Wish, describe, overrides, run_options, run_shown

if TYPE_CHECKING:
    from dimrt.export.train.launch import Prepared


def describe_student(prepared: "Prepared") -> list[str]:
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
        *describe(prepared),
    ]


@click.command("distill")
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option(
    "--config", metavar="NAME|FILE", help="dim-4.6b-sprint, nano-sprint or a .toml file [default: by the checkpoint]."
)
@click.option("--lora", type=click.IntRange(min=1), metavar="RANK", help="Train adapters; merged when written.")
@click.option(
    "--guidance", type=click.FloatRange(0, 100), metavar="X", help="The teacher's guidance scale [default: its own]."
)
@run_options
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
    values = overrides(settings, checkpoint)
    values += [f"distill.lora.rank={lora}"] if lora is not None else []
    values += [f"distill.guidance={guidance}"] if guidance is not None else []
    preset = config or ("nano-sprint" if checkpoint == "nano" else "dim-4.6b-sprint")
    wish = Wish(out, data, resume=resume, dry_run=dry_run, offline=offline, as_json=as_json, quiet=quiet)
    run_shown("distill", preset, values, wish, describe_student)
