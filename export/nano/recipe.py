"""Nano's training recipe: every stage in order, each continuing where it stopped, all below one folder.

folder/designer    the designer (see designer_training), frozen before the painter's conditions are written
folder/dc-ae       the autoencoder, and basis.npz it was built from
folder/<lesson>/   for each of the painter's lessons, its training set, and state and log of painter and connector
folder/checkpoint  the assembled DIM checkpoint
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
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
from dimrt.export.nano.paintings import DRAWING, EDITING, Collection, Paintings, write_conditions, write_latents
from dimrt.export.train.optimizer import Rates
from dimrt.export.train.trainer import Settings, Trainer, averaged, join_processes
from dimrt.files import atomic_folder

BASIS_CASES = 2000
ADAMW_LAYERS = (
    "painter.transformer.patch_embed",
    "painter.transformer.proj_out",
    "painter.transformer.time_embed",
    "painter.transformer.caption_projection.linear_1",
)


@dataclass(frozen=True)
class Stage:
    """One lesson of the painter: what it sees, how it is weighed, and for how long."""

    collection: Collection
    settings: Settings
    lesson: Lesson = field(default_factory=Lesson)

    def folder(self, root: Path) -> Path:
        return root / self.collection.name


STAGES = (
    Stage(DRAWING, Settings(steps=9000, rates=Rates(1e-2, 2e-3), warmup=60, decay=0.1, average=0.999)),
    Stage(EDITING, Settings(steps=16000, rates=Rates(1e-2, 2e-3), warmup=60, decay=0.4, average=0.999, seed=1)),
)
"""The painter's lessons in order; each starts from the averaged weights of the one before."""

Work = Callable[[Path, Stage, int, int], None]
"""(root folder, stage, rank, number of processes)"""


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


def prepare(root: Path, stage: Stage, processes: int) -> None:
    """Render a stage's cases, encode them, and run the frozen designer over them."""
    train_autoencoder(root)
    _in_processes(_prepare, root, stage, processes)


def _prepare(root: Path, stage: Stage, rank: int, processes: int) -> None:
    basis, folder = read_basis(root), stage.folder(root)
    designer = load_designer(root)
    prompts, facts = load_prompts(root / "designer" / "tokenizer.json")
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(rank, stage.collection.shards, processes):
        write_latents(folder, stage.collection, shard, basis)
        write_conditions(folder, shard, designer, prompts, facts)


def train_stage(root: Path, stage: Stage, processes: int) -> None:
    """Train painter and connector to the stage's last step, or go on with what stands there."""
    _in_processes(_train, root, stage, processes)


def painter_lesson(root: Path, stage: Stage) -> PainterLesson:
    """The module under training with its data, as it is before the stage's first step."""
    painter, connector = load_painter(root, before=stage)
    paintings = Paintings(stage.folder(root), stage.collection.shards)
    return PainterLesson(painter.train(), connector.train(), paintings, read_basis(root).scale.tolist(), stage.lesson)


def _train(root: Path, stage: Stage, rank: int, processes: int) -> None:
    lesson = painter_lesson(root, stage)
    Trainer(lesson, lesson.loss, stage.settings, stage.folder(root), ADAMW_LAYERS).run()


def load_painter(root: Path, before: Stage | None = None) -> tuple[Painter, nn.Module]:
    """The averaged painter and connector after the last stage, or after the one before `before` (fresh ones before
    the first)."""
    painter, connector = make_painter()
    done = STAGES if before is None else STAGES[: [stage.collection for stage in STAGES].index(before.collection)]
    if done:
        averaged(nn.ModuleDict({"painter": painter, "connector": connector}), done[-1].folder(root))
    return painter.eval(), connector.eval()


def train_painter(root: Path, processes: int) -> None:
    """All stages in order."""
    for stage in STAGES:
        prepare(root, stage, processes)
        train_stage(root, stage, processes)


def _in_processes(work: Work, root: Path, stage: Stage, processes: int) -> None:
    """Run `work` in this process, or in several with one thread each."""
    if processes == 1:
        work(root, stage, 0, 1)
        return
    root.mkdir(parents=True, exist_ok=True)
    meeting = root / f".meeting-{os.getpid()}"
    meeting.unlink(missing_ok=True)
    multiprocessing.spawn(_enter, (work, root, stage, processes, meeting), nprocs=processes)
    meeting.unlink(missing_ok=True)


def _enter(rank: int, work: Work, root: Path, stage: Stage, processes: int, meeting: Path) -> None:
    join_processes(rank, processes, meeting)
    work(root, stage, rank, processes)


def assemble_checkpoint(folder: Path, output: Path) -> DIM:
    """Write the checkpoint of the frozen designer, the autoencoder and the painter's averaged weights."""
    painter, connector = load_painter(folder)
    dim = assemble(load_designer(folder), folder / "designer" / "qwen", painter, connector, train_autoencoder(folder))
    write_checkpoint(dim, output)
    return dim
