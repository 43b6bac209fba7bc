"""`python -m dimrt.export.nano`: make and judge the nano model."""

import json
import logging
import sys
import time
from dataclasses import asdict
from pathlib import Path

import click

HELD_OUT_PHOTOS = Path(__file__).parents[2] / "benchmarks" / "photos"


@click.group(help=__doc__)
def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--look-steps", default=300, show_default=True, help="Steps of the vision phase (64 pictures each).")
@click.option("--steps", default=1150, show_default=True, help="Steps of the plan phase (24 turns each).")
@click.option("--minutes", type=float, help="Stop after this long, the learning rate falling to fit.")
@click.option("--threads", default=1, show_default=True)
def designer(folder: Path, look_steps: int, steps: int, minutes: float | None, threads: int) -> None:
    """Train the designer in FOLDER, or go on with what stands there; the result is FOLDER/qwen."""
    import torch

    from dimrt.export.nano.designer_training import Recipe, train_designer

    torch.set_num_threads(threads)
    end = time.time() + minutes * 60 if minutes else None
    train_designer(folder, Recipe(look_steps=look_steps, steps=steps), finish_at=end)


@main.command()
@click.option("--seed", default=0, show_default=True, help="Any number: each gives other cases, none from training.")
@click.option(
    "--cases", type=click.IntRange(1), default=20, show_default=True, help="Scenes for each of the nine edit types."
)
@click.option(
    "--photo-cases",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Photographs for each photographic edit.",
)
@click.option("--photos", type=click.Path(path_type=Path), default=HELD_OUT_PHOTOS, help="Folder of held-out photos.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Bundle to judge; default: the one `dimrt edit` takes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def evaluate(seed: int, cases: int, photo_cases: int, photos: Path, bundle: Path | None, as_json: bool) -> None:
    """Judge a bundle on fresh held-out scenes and photographs, with the true results at hand."""
    from dimrt import Editor
    from dimrt.errors import DimrtError
    from dimrt.export.nano import evaluate as judging

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{done}/{total}", nl=done == total, err=True)

    try:
        editor = Editor.load(bundle)

        def edit(picture: judging.Picture, instruction: str) -> tuple[judging.Picture, str]:
            result = editor.edit(picture, instruction)
            return result.image, result.blueprint.text if result.blueprint else ""

        report = judging.evaluate(edit, seed, cases=cases, photos=photos, photo_count=photo_cases, on_case=progress)
    except DimrtError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(asdict(report), indent=2) if as_json else judging.table(report))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def autoencoder(folder: Path) -> None:
    """Fit nano's autoencoder and write it to FOLDER/dc-ae."""
    from dimrt.export.nano.recipe import train_autoencoder

    train_autoencoder(folder)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--processes", default=1, show_default=True, help="Each takes a core and 32 cases a step.")
def painter(folder: Path, processes: int) -> None:
    """Train the painter in FOLDER (which holds designer/), or go on with what stands there."""
    from dimrt.export.nano.recipe import train_painter

    train_painter(folder, processes)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Default: FOLDER/checkpoint.")
def assemble(folder: Path, output: Path | None) -> None:
    """Put the trained parts of FOLDER together as a DIM checkpoint."""
    from dimrt.export.nano.recipe import assemble_checkpoint

    assemble_checkpoint(folder, output or folder / "checkpoint")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--processes", default=1, show_default=True, help="Of the painter's training.")
def train(folder: Path, processes: int) -> None:
    """The whole recipe: designer, autoencoder, painter, checkpoint, all in FOLDER. Run it again to go on."""
    import torch

    from dimrt.export.nano import recipe
    from dimrt.export.nano.designer_training import Recipe, train_designer

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "designer" / "qwen").exists():
        torch.set_num_threads(1)
        train_designer(folder / "designer", Recipe())
    recipe.train_painter(folder, processes)
    recipe.assemble_checkpoint(folder, folder / "checkpoint")


if __name__ == "__main__":
    main()
