"""`python -m dimrt.export.nano evaluate` and `sheet`: a bundle judged on held-out cases, in numbers and in pictures."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Literal

import click

from dimrt.export.nano.trials import Condition, Planner

HELD_OUT_PHOTOS = Path(__file__).parents[2] / "benchmarks" / "photos"
PLANNERS: tuple[Planner, ...] = ("none", "designer", "oracle")

bundle_option = click.option(
    "--bundle", type=click.Path(path_type=Path), help="Bundle to judge; default: the one `dimrt edit` takes."
)
seed_option = click.option(
    "--seed", default=0, show_default=True, help="Any number: each gives other cases, none from training."
)


def progress(done: int, total: int) -> None:
    """A counter on a terminal's stderr."""
    if sys.stderr.isatty():
        click.echo(f"\r{done}/{total}", nl=done == total, err=True)


@click.command()
@seed_option
@click.option("--cases", type=click.IntRange(0), default=20, show_default=True, help="Scenes for each edit type.")
@click.option(
    "--reasoning",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Scenes for each edit type that refers to an item, whose instruction must be thought through; as many direct "
    "ones beside them.",
)
@click.option(
    "--photo-cases", type=click.IntRange(0), default=4, show_default=True, help="Photographs for each photo edit."
)
@click.option("--photos", type=click.Path(path_type=Path), default=HELD_OUT_PHOTOS, help="Folder of held-out photos.")
@click.option("--plans", default="designer", show_default=True, metavar="LIST", help="Of none, designer and oracle.")
@click.option("--styles", default="full", show_default=True, metavar="LIST", help="Of full, short and brief.")
@click.option(
    "--steps", default="own", show_default=True, metavar="LIST", help="Numbers, own (the bundle's) and teacher."
)
@click.option("--guidance", default="own", show_default=True, metavar="LIST", help="Of own, off and scales.")
@bundle_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def evaluate(
    seed: int,
    cases: int,
    reasoning: int,
    photo_cases: int,
    photos: Path,
    plans: str,
    styles: str,
    steps: str,
    guidance: str,
    bundle: Path | None,
    as_json: bool,
) -> None:
    """Judge a bundle on fresh held-out scenes and photographs, with the true results at hand.

    LISTs are separated by commas; every combination runs on the same cases, and is compared with the first.
    """
    from dimrt import Editor
    from dimrt.errors import DimrtError
    from dimrt.export.nano import evaluate as judge
    from dimrt.export.nano.tables import table
    from dimrt.export.nano.trials import edit_with

    conditions = list(dict.fromkeys(combine(plans, styles, steps, guidance)))
    amount = judge.Amount(cases, reasoning, photo_cases)
    if amount.total == 0:
        raise click.UsageError("there is nothing to judge: give --cases, --reasoning or --photo-cases above 0")
    try:
        run = edit_with(Editor.load(bundle))
        report = judge.evaluate(run, seed, amount, conditions, photos=photos, on_case=progress)
    except DimrtError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(asdict(report), indent=2) if as_json else table(report))


def combine(plans: str, styles: str, steps: str, guidance: str) -> Iterator[Condition]:
    """Every combination of four comma-separated lists; without a plan there is one style.

    Raises:
        click.BadParameter: a word that is none of the list's.
    """
    for planner, style, step, scale in product(*(text.split(",") for text in (plans, styles, steps, guidance))):
        if planner not in PLANNERS:
            raise click.BadParameter(f"{planner!r} is none of {', '.join(PLANNERS)}", param_hint="--plans")
        count, whose = _steps(step)
        yield Condition(planner, "full" if planner == "none" else style, count, _guidance(scale), whose)


def _steps(word: str) -> tuple[int | None, Literal["auto", "teacher"]]:
    if word == "own":
        return None, "auto"
    if word == "teacher":
        return None, "teacher"
    if not word.isdecimal() or int(word) < 1:
        raise click.BadParameter(f"{word!r} is no number from 1, and neither own nor teacher", param_hint="--steps")
    return int(word), "auto"


def _guidance(word: str) -> float | None:
    if word in ("own", "off"):
        return None if word == "own" else 1.0
    try:
        return float(word)
    except ValueError:
        raise click.BadParameter(f"{word!r} is no number, and neither own nor off", param_hint="--guidance") from None


@click.command()
@seed_option
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="PNG to write.")
@click.option("--cases", type=click.IntRange(0), default=3, show_default=True, help="Scenes for each edit type.")
@click.option("--reasoning", type=click.IntRange(0), default=0, show_default=True, help="As for evaluate.")
@click.option("--photo-cases", type=click.IntRange(0), default=0, show_default=True, help="As for evaluate.")
@click.option("--photos", type=click.Path(path_type=Path), default=HELD_OUT_PHOTOS, help="Folder of held-out photos.")
@click.option("--plans", type=click.Choice(PLANNERS), default="designer", show_default=True)
@click.option("--styles", default="full", show_default=True, metavar="NAME", help="Of full, short and brief.")
@click.option("--steps", default="own", show_default=True, metavar="N", help="A number, own or teacher.")
@bundle_option
def sheet(
    seed: int,
    out: Path,
    cases: int,
    reasoning: int,
    photo_cases: int,
    photos: Path,
    plans: Planner,
    styles: str,
    steps: str,
    bundle: Path | None,
) -> None:
    """Draw a contact sheet: source, true result and output of held-out cases, unselected, with the verdicts."""
    from PIL import Image

    from dimrt import Editor
    from dimrt.errors import DimrtError
    from dimrt.export.nano import sheet as drawing
    from dimrt.export.nano.trials import edit_with
    from dimrt.files import atomic_write

    (condition,) = combine(plans, styles, steps, "own")
    if out.suffix.lower() != ".png":
        raise click.BadParameter(f"{out} is no .png", param_hint="--out")
    if not out.parent.is_dir():
        raise click.BadParameter(f"there is no folder {out.parent}", param_hint="--out")
    if cases + reasoning + photo_cases == 0:
        raise click.UsageError("there is nothing to draw: give --cases, --reasoning or --photo-cases above 0")
    try:
        trials = drawing.trials_of(seed, cases, reasoning, photos, photo_cases)
        shown = drawing.run(edit_with(Editor.load(bundle)), trials, condition, progress)
        with atomic_write(out) as file:
            Image.fromarray(drawing.draw(shown)).save(file, "PNG", optimize=True)
    except DimrtError as error:
        raise click.ClickException(str(error)) from error
    good = sum(case.good for case in shown)
    click.echo(f"{out}: {len(shown)} cases, {good} reached")
