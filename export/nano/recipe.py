"""Nano's training recipe: every stage in order, each continuing where it stopped, all below one folder.

folder/designer    the designer (see designer_training), frozen before the painter's conditions are written
folder/dc-ae       the autoencoder, and basis.npz it was built from
folder/paintings   latents and conditions
folder/painter     the painter's and connector's training state and log
folder/checkpoint  the assembled DIM checkpoint
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderDC
from torch import multiprocessing, nn
from transformers import Qwen2_5_VLForConditionalGeneration

from dimrt.export.model.dim import DIM
from dimrt.export.model.painter import Painter
from dimrt.export.nano.assembly import assemble, write_checkpoint
from dimrt.export.nano.autoencoder import Basis, build_autoencoder, fit_basis
from dimrt.export.nano.cases import Mixture, draw_case
from dimrt.export.nano.designer import load_prompts
from dimrt.export.nano.painter import Lesson, PainterLesson, make_painter
from dimrt.export.nano.paintings import Collection, Paintings, write_conditions, write_latents
from dimrt.export.train.optimizer import Rates
from dimrt.export.train.trainer import Settings, Trainer, averaged, join_processes
from dimrt.files import atomic_folder

Work = Callable[[Path, "PainterRecipe", int], None]
BASIS_CASES = 2000
SETTINGS = Settings(steps=3200, rates=Rates(1e-2, 2e-3), warmup=60, decay=0.35, log_every=25, save_seconds=120)
ADAMW_LAYERS = (
    "painter.transformer.patch_embed",
    "painter.transformer.proj_out",
    "painter.transformer.time_embed",
    "painter.transformer.caption_projection.linear_1",
)


@dataclass(frozen=True)
class PainterRecipe:
    """Everything that decides the painter's training."""

    collection: Collection = field(default_factory=Collection)
    lesson: Lesson = field(default_factory=Lesson)
    settings: Settings = SETTINGS
    processes: int = 2


def painter_recipe(shards: int = 40, steps: int = 3200, processes: int = 2) -> PainterRecipe:
    """The recipe with another length, amount of data or number of processes."""
    whole = PainterRecipe()
    return replace(
        whole,
        collection=replace(whole.collection, shards=shards),
        settings=replace(whole.settings, steps=steps),
        processes=processes,
    )


def train_autoencoder(folder: Path) -> AutoencoderDC:
    """Fit the basis on training pictures and write the autoencoder, or read it when it is there."""
    target = folder / "dc-ae"
    if not target.exists():
        mixture = Mixture(photos=0.35, textures=0.15)
        basis = fit_basis(draw_case("training", 3, index, mixture).source for index in range(BASIS_CASES))
        with atomic_folder(target) as partial:
            build_autoencoder(basis).save_pretrained(partial)
            np.savez(partial / "basis.npz", mean=basis.mean, components=basis.components, scale=basis.scale)
    return AutoencoderDC.from_pretrained(target).eval()


def read_basis(folder: Path) -> Basis:
    """The basis that `train_autoencoder` wrote."""
    with np.load(folder / "dc-ae" / "basis.npz") as content:
        return Basis(**content)


def load_designer(folder: Path) -> Qwen2_5_VLForConditionalGeneration:
    """The frozen designer of `folder/designer/qwen`."""
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(
        folder / "designer" / "qwen", attn_implementation="eager", dtype=torch.float32
    ).eval()


def prepare_latents(folder: Path, recipe: PainterRecipe) -> None:
    """Render the cases and encode them (no designer needed)."""
    train_autoencoder(folder)
    _in_processes(_latents, folder, recipe)


def _latents(folder: Path, recipe: PainterRecipe, rank: int) -> None:
    basis = read_basis(folder)
    (folder / "paintings").mkdir(parents=True, exist_ok=True)
    for shard in range(rank, recipe.collection.shards, recipe.processes):
        write_latents(folder / "paintings", recipe.collection, shard, basis)


def prepare_conditions(folder: Path, recipe: PainterRecipe) -> None:
    """Run the frozen designer over the cases."""
    _in_processes(_conditions, folder, recipe)


def _conditions(folder: Path, recipe: PainterRecipe, rank: int) -> None:
    designer = load_designer(folder)
    prompts, facts = load_prompts(folder / "designer" / "tokenizer.json")
    for shard in range(rank, recipe.collection.shards, recipe.processes):
        write_conditions(folder / "paintings", shard, designer, prompts, facts)


def train_painter(folder: Path, recipe: PainterRecipe) -> None:
    """Train painter and connector to the recipe's last step; `load_painter` reads the result."""
    _in_processes(_painter, folder, recipe)


def painter_lesson(folder: Path, recipe: PainterRecipe) -> PainterLesson:
    """The module under training with its data."""
    painter, connector = make_painter(recipe.settings.seed)
    paintings = Paintings(folder / "paintings", recipe.collection.shards)
    return PainterLesson(painter, connector, paintings, read_basis(folder).scale.tolist(), recipe.lesson)


def _painter(folder: Path, recipe: PainterRecipe, rank: int) -> None:
    lesson = painter_lesson(folder, recipe)
    Trainer(lesson, lesson.loss, recipe.settings, folder / "painter", ADAMW_LAYERS).run()


def load_painter(folder: Path) -> tuple[Painter, nn.Module]:
    """The averaged painter and connector of the last checkpoint."""
    painter, connector = make_painter()
    averaged(nn.ModuleDict({"painter": painter, "connector": connector}), folder / "painter")
    return painter.eval(), connector.eval()


def _in_processes(work: Work, folder: Path, recipe: PainterRecipe) -> None:
    """Run `work(folder, recipe, rank)` in the recipe's processes, one thread each when there are several."""
    if recipe.processes == 1:
        work(folder, recipe, 0)
        return
    folder.mkdir(parents=True, exist_ok=True)
    meeting = folder / f".meeting-{os.getpid()}"
    meeting.unlink(missing_ok=True)
    multiprocessing.spawn(_enter, (work, folder, recipe, meeting), nprocs=recipe.processes)
    meeting.unlink(missing_ok=True)


def _enter(rank: int, work: Work, folder: Path, recipe: PainterRecipe, meeting: Path) -> None:
    join_processes(rank, recipe.processes, meeting)
    work(folder, recipe, rank)


def assemble_checkpoint(folder: Path, output: Path) -> DIM:
    """Write the checkpoint of the frozen designer, the autoencoder and the painter's averaged weights."""
    painter, connector = load_painter(folder)
    dim = assemble(load_designer(folder), folder / "designer" / "qwen", painter, connector, train_autoencoder(folder))
    write_checkpoint(dim, output)
    return dim
