"""Nano's training recipe: every stage in order, each continuing where it stopped, all below one folder.

folder/designer      the designer (see designer_training), frozen before the painter's conditions are written
folder/dc-ae         the autoencoder, and basis.npz it was built from
folder/<lesson>/     for each of the painter's lessons, its training set
folder/<lesson>/run  and its run: the state and log of painter and connector, samples, checkpoint; the last lesson
                     practises on the second one's set, in folder/editing/practice
folder/checkpoint    the assembled DIM checkpoint, the student's teacher
folder/student       the student's run; its checkpoint is what nano ships
"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderDC
from torch import multiprocessing, nn
from transformers import Qwen2_5_VLForConditionalGeneration

from dimrt.errors import InputError
from dimrt.export.model.dim import DIM
from dimrt.export.model.painter import Painter
from dimrt.export.nano.assembly import assemble, write_checkpoint
from dimrt.export.nano.autoencoder import Basis, build_autoencoder, fit_basis
from dimrt.export.nano.cases import Mixture, draw_case
from dimrt.export.nano.designer import load_prompts
from dimrt.export.nano.painter import make_painter
from dimrt.export.nano.paintings import DRAWING, EDITING, Collection, write_conditions, write_latents
from dimrt.export.train.checkpoint import load_averages
from dimrt.files import atomic_folder

BASIS_CASES = 2000


@dataclass(frozen=True)
class Stage:
    """One lesson of the painter: what it sees, the preset of its run, and the run's folder beside what it sees."""

    collection: Collection
    preset: str
    place: str = "run"

    def folder(self, root: Path) -> Path:
        """Where its training set stands."""
        return root / self.collection.name

    def run(self, root: Path) -> Path:
        """The folder of its run."""
        return self.folder(root) / self.place


STAGES = (
    Stage(DRAWING, "nano-drawing"),
    Stage(EDITING, "nano"),
    Stage(EDITING, "nano-practice", "practice"),
)
"""The painter's lessons in order; each starts from the averaged weights of the one before."""

Work = Callable[[int, int], None]
"""(rank, number of processes)"""


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
    """The frozen designer of `folder/designer/qwen`, on a GPU where there is one."""
    designer = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        folder / "designer" / "qwen", attn_implementation="eager", dtype=torch.float32
    )
    return designer.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def stage_of(lesson: str) -> Stage:
    """The stage of a lesson's name."""
    return next(stage for stage in STAGES if stage.collection.name == lesson)


def prepare(root: Path, stage: Stage, processes: int) -> None:
    """Render a stage's cases, encode them, and run the frozen designer over them."""
    train_autoencoder(root)
    _in_processes(partial(write_paintings, root, stage), processes)


def write_paintings(root: Path, stage: Stage, rank: int, processes: int) -> None:
    """One process's share of a stage's training set; what is there already stays."""
    basis, folder = read_basis(root), stage.folder(root)
    designer = load_designer(root)
    prompts, facts = load_prompts(root / "designer" / "tokenizer.json")
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(rank, stage.collection.shards, processes):
        write_latents(folder, stage.collection, shard, basis)
        write_conditions(folder, shard, designer, prompts, facts)


def train_stage(root: Path, stage: Stage, processes: int) -> None:
    """Train painter and connector to the stage's last step, or go on with what stands there."""
    number = STAGES.index(stage)
    before = STAGES[number - 1].run(root) / "checkpoint" if number else None
    _in_processes(partial(_train, root, stage.preset, stage.run(root), before), processes)


def train_student(root: Path, processes: int) -> None:
    """Distill the assembled checkpoint to its last step, or go on with what stands there."""
    _in_processes(partial(_train, root, "nano-sprint", root / "student", root / "checkpoint"), processes)


def _train(root: Path, preset: str, place: Path, begin: Path | None, rank: int, processes: int) -> None:
    """One process of a run by a preset, from the weights of checkpoint `begin` where it begins with some."""
    from dimrt.export.train import launch
    from dimrt.export.train.config import load_config

    values = [f'nano.root="{root.resolve()}"']
    if begin is not None:
        values.append(f'model.checkpoint="{begin.resolve()}"')
    begun = (place / "config.toml").is_file()
    launch.run(launch.prepare(load_config(preset, values)), place, resume=begun)


def load_painter(root: Path) -> tuple[Painter, nn.Module]:
    """The averaged painter and connector of the last lesson that has been begun."""
    painter, connector = make_painter()
    for stage in reversed(STAGES):
        for place in (stage.run(root), stage.folder(root)):
            if (place / "state").is_dir() or (place / "state.pt").is_file():
                both = nn.ModuleDict({"painter": painter, "connector": connector})
                both.load_state_dict(load_averages(place), strict=False)
                return painter.eval(), connector.eval()
    raise InputError(f"{root}: holds no painter; train one with `python -m dimrt.export.nano painter {root}`")


def train_painter(root: Path, processes: int) -> None:
    """All stages in order."""
    for stage in STAGES:
        prepare(root, stage, processes)
        train_stage(root, stage, processes)


def _in_processes(work: Work, processes: int) -> None:
    """Run `work` in this process, or in several with one thread each, as `accelerate launch` starts them."""
    if processes == 1:
        work(0, 1)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_enter, (work, processes, port), nprocs=processes)


def _enter(rank: int, work: Work, processes: int, port: int) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ["ACCELERATE_USE_CPU"] = str(not torch.cuda.is_available()).lower()
    work(rank, processes)


def assemble_checkpoint(folder: Path, output: Path) -> DIM:
    """Write the checkpoint of the frozen designer, the autoencoder and the painter's averaged weights."""
    painter, connector = load_painter(folder)
    dim = assemble(load_designer(folder), folder / "designer" / "qwen", painter, connector, train_autoencoder(folder))
    write_checkpoint(dim, output)
    return dim
