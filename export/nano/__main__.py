"""`python -m dimrt.export.nano`: make and judge the nano model."""

import logging
import time
from pathlib import Path

import click


@click.group(help=__doc__)
def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--look-steps", default=350, show_default=True, help="Steps of the vision phase (64 pictures each).")
@click.option("--steps", default=3000, show_default=True, help="Steps of the plan phase (24 turns each).")
@click.option("--minutes", type=float, help="Stop after this long, the learning rate falling to fit.")
@click.option("--threads", default=1, show_default=True)
def designer(folder: Path, look_steps: int, steps: int, minutes: float | None, threads: int) -> None:
    """Train the designer in FOLDER, or go on with what stands there; the result is FOLDER/qwen."""
    import torch

    from dimrt.export.nano.designer_training import Recipe, train_designer

    torch.set_num_threads(threads)
    end = time.time() + minutes * 60 if minutes else None
    train_designer(folder, Recipe(look_steps=look_steps, steps=steps), finish_at=end)


if __name__ == "__main__":
    main()
