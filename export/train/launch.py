"""A run from its configuration: weights, data and objective put together, the folder checked, then the loop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import msgspec
from torch import Tensor

from dimrt.errors import InputError
from dimrt.export.model.config import DIMConfig
from dimrt.export.model.source import Source, load_part
from dimrt.export.train.config import TrainConfig, differences, encode_config, load_config
from dimrt.export.train.data.batch import Examples
from dimrt.export.train.estimate import Estimate, check_memory, estimate
from dimrt.export.train.flow import FlowObjective
from dimrt.export.train.loop import Hooks, TrainEvent, train
from dimrt.export.train.objective import Objective
from dimrt.export.train.processes import Processes
from dimrt.export.train.publish import Trained, write_checkpoint
from dimrt.export.train.samples import HeldOut, Sampler
from dimrt.export.train.start import load_trainable, open_start
from dimrt.files import atomic_write

Notify = Callable[[str], None]


class Paints(Protocol):
    """What paints sample sheets."""

    def write(self, path: Path, device: object, main: bool) -> None:
        """Paint a sheet; the main process writes it."""


@dataclass(frozen=True)
class Prepared:
    """Everything of a run but its folder.

    Attributes:
        start: the weights it begins with, which hold the frozen parts of the result.
        result: facts of the trained model.
        notes: what a person should know of the data.
    """

    config: TrainConfig
    processes: Processes
    start: Source
    result: DIMConfig
    objective: Objective
    examples: Examples
    sampler: Paints | None
    notes: tuple[str, ...] = ()

    @property
    def estimate(self) -> Estimate:
        """Numbers under training, and memory."""
        return estimate(self.objective, self.config.loop, self.processes)


def prepare(config: TrainConfig, *, offline: bool = False, notify: Notify = lambda text: None) -> Prepared:
    """Open weights and data of a run and build what is trained, with every check that can be made before.

    Raises:
        InputError, CheckpointError: what the configuration names is missing or doesn't fit.
        ResourceError: it needs more memory than there is.
    """
    if config.objective == "nano":
        from dimrt.export.nano.lessons import prepare_lesson

        return prepare_lesson(config, notify)
    processes = Processes(config.loop)
    notify(f"opening {config.model.checkpoint}")
    start = open_start(config.model, config.stage, config.loop.seed, offline)
    examples, notes = _open_data(config, start, processes, notify)
    held = HeldOut(examples, config.samples.count if config.loop.sample_every else 0)
    painter, connector = load_trainable(start)
    objective = FlowObjective(painter, connector, config.flow)
    sampler = None
    if held.held:
        autoencoder = load_part(start, "autoencoder").to(processes.device)
        scale = float(autoencoder.config.scaling_factor)
        batches = [examples.batch([index]) for index in held.held]
        sampler = Sampler(
            painter,
            connector,
            lambda latents: autoencoder.decode(latents.float() / scale).sample,
            batches,
            config.samples,
            config.flow.shift,
        )
    schedule = msgspec.structs.replace(start.config.schedule, shift=config.flow.shift)
    result = replace(start.config, name=config.model.name or start.config.name, schedule=schedule)
    prepared = Prepared(config, processes, start, result, objective, held, sampler, notes)
    check_memory(prepared.estimate)
    return prepared


def _open_data(
    config: TrainConfig, start: Source, processes: Processes, notify: Notify
) -> tuple[Examples, tuple[str, ...]]:
    """The training set of a configuration."""
    if not config.data:
        raise InputError(
            "the run has no data: name precomputed folders or a TOML file of [[data]] tables with --data, or write the "
            "tables into the configuration"
        )
    from dimrt.export.train.data.sets import open_examples

    return open_examples(config.data, start, processes.device, notify)


def run(
    prepared: Prepared,
    folder: Path,
    *,
    resume: bool = False,
    on_event: Callable[[TrainEvent], None] = lambda event: None,
    until: int | None = None,
) -> None:
    """Train into a run folder, new or resumed.

    Raises:
        InputError: the folder holds a run and `resume` isn't set, or none and it is.
        What `loop.train` raises.
    """
    for note in open_folder(folder, prepared.config, resume, prepared.processes):
        on_event(TrainEvent(0, prepared.config.loop.steps, note=note))
    train(prepared.objective, prepared.examples, prepared.config.loop, folder, _hooks(prepared, on_event), until)


def dry_run(prepared: Prepared, on_event: Callable[[TrainEvent], None] = lambda event: None) -> None:
    """One step of the run, a sample sheet and a state, in a temporary folder that goes away."""
    once = msgspec.structs.replace(prepared.config.loop, sample_every=1 if prepared.sampler else 0, export_every=0)
    with TemporaryDirectory(prefix="dimrt-train-") as folder:
        hooks = replace(_hooks(prepared, on_event), export=None)
        train(prepared.objective, prepared.examples, once, Path(folder), hooks, until=1)


def open_folder(folder: Path, config: TrainConfig, resume: bool, processes: Processes) -> list[str]:
    """Make a run's folder with `config.toml`, or check that of a run to go on with; returns notes on what differs."""
    path = folder / "config.toml"
    begun, notes = path.is_file(), []
    if begun and not resume:
        raise InputError(f"{folder}: holds a run already; add --resume to go on with it, or choose another folder")
    if resume and not begun:
        raise InputError(f"{folder}: holds no run to resume; leave --resume out to begin one")
    if begun and (differing := differences(load_config(path), config)):
        notes.append(f"{path}: this run was begun with other values of {', '.join(differing)}")
    processes.meet()
    if processes.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(encode_config(config))
    processes.meet()
    return notes


def _hooks(prepared: Prepared, on_event: Callable[[TrainEvent], None]) -> Hooks:
    processes, sampler = prepared.processes, prepared.sampler

    def sample(_step: int, path: Path) -> None:
        if sampler is not None:
            sampler.write(path, processes.device, processes.rank == 0)

    def export(folder: Path, parameters: Mapping[str, Tensor]) -> None:
        write_checkpoint(Trained(prepared.start, parameters, prepared.config.storage, prepared.result), folder)

    return Hooks(on_event, sample if sampler is not None else None, export)
