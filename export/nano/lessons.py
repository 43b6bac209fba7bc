"""A lesson of nano's painter as a run of the common training loop."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dimrt.errors import InputError
from dimrt.export.model.config import DIMConfig
from dimrt.export.model.dim import DIM
from dimrt.export.model.painter import Painter
from dimrt.export.nano import recipe
from dimrt.export.nano.assembly import assemble
from dimrt.export.nano.painter import Lesson, PainterLesson, make_painter
from dimrt.export.nano.paintings import Paintings
from dimrt.export.train.config import TrainConfig
from dimrt.export.train.launch import Prepared
from dimrt.export.train.processes import Processes
from dimrt.export.train.samples import HeldOut, Sampler
from dimrt.export.train.start import load_trainable, open_start


class Assembled:
    """A model in memory as a source, its tensors in half precision as nano's checkpoint stores them."""

    random_seed = None

    def __init__(self, dim: DIM, config: DIMConfig) -> None:
        self.config, self.parts = config, dim.parts
        self._state = dim.state_dict()

    @property
    def fingerprint(self) -> str:
        """A model in memory is never the same twice."""
        return str(id(self._state))

    def read(self, name: str) -> Tensor:
        """One tensor by its name in `DIM.state_dict()`, float16."""
        return self._state[name].half()


def prepare_lesson(config: TrainConfig, notify: Callable[[str], None]) -> Prepared:
    """Everything of a lesson's run: paintings that aren't there are made first, which takes long.

    Raises:
        InputError: the root folder isn't named, or holds no designer.
    """
    processes = Processes(config.loop)
    root, paintings = open_paintings(config, processes, notify)
    painter, connector = make_painter() if config.nano.fresh else _from_checkpoint(config)
    objective = PainterLesson(painter.train(), connector.train(), recipe.read_basis(root).scale.tolist(), Lesson())
    held = HeldOut(paintings, config.samples.count if config.loop.sample_every else 0)
    autoencoder = recipe.train_autoencoder(root).requires_grad_(False).to(processes.device)
    scale = float(autoencoder.config.scaling_factor)

    def decode(latents: Tensor) -> Tensor:
        return autoencoder.decode(latents.float() / scale).sample

    batches = [paintings.batch([index]) for index in held.held]
    sampler = Sampler(painter, connector, decode, batches, config.samples, config.flow.shift) if batches else None
    designer = recipe.load_designer(root)
    dim = assemble(designer, root / "designer" / "qwen", *make_painter(), recipe.train_autoencoder(root))
    result = replace(dim.config, name=config.model.name or dim.config.name)
    return Prepared(config, processes, Assembled(dim, result), result, objective, held, sampler)


def open_paintings(config: TrainConfig, processes: Processes, notify: Callable[[str], None]) -> tuple[Path, Paintings]:
    """The root folder and the training set of a lesson; what isn't there is made first, which takes long.

    Raises:
        InputError: the root folder isn't named, or holds no designer.
    """
    if config.nano.root is None:
        raise InputError("nano.root is missing: name the folder of `python -m dimrt.export.nano` with --data")
    root, stage = Path(config.nano.root), recipe.stage_of(config.nano.lesson)
    if not (root / "designer" / "qwen").is_dir():
        raise InputError(
            f"{root}: holds no designer; train it with `python -m dimrt.export.nano designer {root / 'designer'}`"
        )
    _make_paintings(root, stage, processes, notify)
    return root, Paintings(stage.folder(root), stage.collection.shards, config.nano.emphasis)


def _make_paintings(root: Path, stage: recipe.Stage, processes: Processes, notify: Callable[[str], None]) -> None:
    """This process's share of the lesson's training set, where it isn't there."""
    folder, shards = stage.folder(root), stage.collection.shards
    missing = [n for n in range(shards) if not (folder / f"conditions-{n:03d}").is_dir()]
    if missing:
        notify(f"making {len(missing)} of {shards} shards of paintings in {folder}: rendering, latents, conditions")
        if processes.rank == 0:
            recipe.train_autoencoder(root)
        processes.meet()
        recipe.write_paintings(root, stage, processes.rank, processes.world)
    processes.meet()


def _from_checkpoint(config: TrainConfig) -> tuple[Painter, nn.Module]:
    """The painter and connector that the lesson goes on with."""
    source = open_start(config.model, "edit", config.loop.seed, offline=True)
    with torch.no_grad():
        return load_trainable(source)
