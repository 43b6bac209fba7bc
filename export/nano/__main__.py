"""`python -m dimrt.export.nano`: make and judge the nano model."""

import logging
from pathlib import Path

import click

from dimrt.export.nano.judging import evaluate, sheet


@click.group(help=__doc__)
def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")


main.add_command(evaluate)
main.add_command(sheet)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--look-steps", type=int, help="Steps of the first phase (64 pictures each) [default: the recipe's].")
@click.option("--steps", type=int, help="Steps of the second phase (24 turns each) [default: the recipe's].")
@click.option("--hard-steps", type=int, help="Steps of the third phase (24 turns each) [default: the recipe's].")
@click.option("--threads", default=1, show_default=True)
def designer(folder: Path, look_steps: int | None, steps: int | None, hard_steps: int | None, threads: int) -> None:
    """Train the designer in FOLDER, or go on with what stands there; the result is FOLDER/qwen."""
    import torch

    from dimrt.export.nano.designer_training import Recipe, train_designer

    torch.set_num_threads(threads)
    given = {"look_steps": look_steps, "steps": steps, "hard_steps": hard_steps}
    train_designer(folder, Recipe(**{name: value for name, value in given.items() if value}))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def autoencoder(folder: Path) -> None:
    """Fit nano's autoencoder and write it to FOLDER/dc-ae."""
    from dimrt.export.nano.recipe import train_autoencoder

    train_autoencoder(folder)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--processes", default=1, show_default=True, help="They share each step's 32 cases.")
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
    """The whole recipe: designer, autoencoder, painter, student, checkpoints, all in FOLDER. Run it again to go on."""
    import torch

    from dimrt.export.nano import recipe
    from dimrt.export.nano.designer_training import Recipe, train_designer

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "designer" / "qwen").exists():
        torch.set_num_threads(1)
        train_designer(folder / "designer", Recipe())
    recipe.train_painter(folder, processes)
    if not (folder / "checkpoint").exists():
        recipe.assemble_checkpoint(folder, folder / "checkpoint")
    recipe.train_student(folder, processes)


if __name__ == "__main__":
    main()
