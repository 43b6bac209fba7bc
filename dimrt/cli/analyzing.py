"""`dimrt export --analyze`: which layers cost most in which format, and a recipe within an error budget."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dimrt.cli.console import Console, print_json
from dimrt.cli.exporting import ExportView
from dimrt.cli.options import check_writable
from dimrt.errors import InputError

if TYPE_CHECKING:
    from dimrt.export.model.random import RandomCheckpoint
    from dimrt.export.precision import Recipe

BUDGET = 0.05
SHOWN = 20
"""Layers in the table; `--json` has them all."""


def check_recipe_out(out: Path, force: bool) -> None:
    """Refuse a recipe file that could not be written at the end."""
    if out.suffix != ".toml":
        raise InputError(f"--out {out}: --analyze writes a recipe; give a file that ends in .toml")
    check_writable(out)
    if out.exists() and not force:
        raise InputError(f"--out {out}: the file exists. Add --force to replace it.")


def analyze(
    source: "str | RandomCheckpoint | None",
    base: "Recipe",
    out: Path,
    budget: float,
    console: Console,
    *,
    designer: str | None,
    autoencoder: str | None,
    calibration: str | None,
    offline: bool,
) -> None:
    """Measure, print the layers that cost most, and write a recipe to `out`; `base` gives the dtypes."""
    from dimrt.export.precision.analyze import analyze_checkpoint

    with ExportView(console) as view:
        analysis = analyze_checkpoint(
            source,
            designer=designer,
            autoencoder=autoencoder,
            calibration=calibration,
            offline=offline,
            base=base,
            folder=out.resolve().parent,
            on_event=view.on_event,
        )
    recipe = analysis.write(out, budget, base)
    if console.as_json:
        layers: list[dict[str, Any]] = [
            {"graph": layer.graph, "weight": layer.weight, "errors": layer.errors} for layer in analysis.worst_first()
        ]
        print_json({"recipe": str(out), "budget": budget, "measured_on": analysis.source, "layers": layers})
    elif not console.quiet:
        click.echo(analysis.table(SHOWN))
    console.note(f"wrote {out} ({len(recipe.rules)} rules). Use it: dimrt export --recipe {out}")
