"""A run from its configuration: weights, data and objective put together, the folder checked, then the loop."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import msgspec
import torch
from torch import Tensor

from dimrt.errors import InputError
from dimrt.export.model.config import DIMConfig
from dimrt.export.model.source import Source, load_part
from dimrt.export.train.config import TrainConfig, differences, encode_config, load_config
from dimrt.export.train.data.batch import Examples
from dimrt.export.train.data.frozen import Frozen, frozen_digests
from dimrt.export.train.data.mixed import open_examples
from dimrt.export.train.data.precomputed import Precomputed
from dimrt.export.train.data.problems import Problems
from dimrt.export.train.data.spec import DataSpec
from dimrt.export.train.estimate import Estimate, check_memory, estimate
from dimrt.export.train.flow import FlowObjective
from dimrt.export.train.hooks import Hooks, TrainEvent
from dimrt.export.train.loop import train
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
        problems: rows of the data that can't be used.
        published: trained parameters by the objective's names to those of `DIM.state_dict()`.
    """

    config: TrainConfig
    processes: Processes
    start: Source
    result: DIMConfig
    objective: Objective
    examples: Examples
    sampler: Paints | None
    problems: Problems = field(default_factory=Problems)
    published: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict

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
    if config.objective == "distill":
        from dimrt.export.train.distill.launch import prepare_distillation

        return prepare_distillation(config, offline=offline, notify=notify)
    processes = Processes(config.loop)
    notify(f"opening {config.model.checkpoint}")
    start = open_start(config.model, config.stage, config.loop.seed, offline)
    examples, problems = open_data(config.data, start, processes, notify)
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
    prepared = Prepared(config, processes, start, result, objective, held, sampler, problems)
    check_memory(prepared.estimate)
    return prepared


def open_data(
    specs: Sequence[DataSpec], start: Source, processes: Processes, notify: Notify
) -> tuple[Examples, Problems]:
    """The training set, and the rows of it that can't be used (the list grows while training).

    Raises:
        InputError: there is none, or it doesn't go with the model.
        CheckpointError: precomputed data was made with other frozen parts than the start's.
    """
    if not specs:
        raise InputError(
            "the run has no data: name precomputed folders or a TOML file of [[data]] tables with --data, or write the "
            "tables into the configuration"
        )

    def frozen() -> Frozen:
        notify("loading designer and autoencoder")
        half = processes.device.type != "cpu"
        return Frozen.load(start, processes.device, torch.bfloat16 if half else torch.float32)

    made = [Precomputed(Path(spec.path)) for spec in specs if spec.kind == "precomputed"]
    if made:
        notify("comparing precomputed data with designer and autoencoder")
        digests = frozen_digests(start)
        for part in made:
            part.check(digests)
    problems = Problems()
    notify("reading the data")
    return open_examples(specs, frozen, problems), problems


def run(
    prepared: Prepared,
    folder: Path,
    *,
    resume: bool = False,
    on_event: Callable[[TrainEvent], None] = lambda event: None,
    until: int | None = None,
) -> None:
    """Train into a run folder, new or resumed. Rows that couldn't be used are listed in its `problems.jsonl`.

    Raises:
        InputError: the folder holds a run and `resume` isn't set, or none and it is.
        What `loop.train` raises.
    """
    for note in open_folder(folder, prepared.config, resume, prepared.processes):
        on_event(TrainEvent(0, prepared.config.loop.steps, note=note))
    try:
        train(prepared.objective, prepared.examples, prepared.config.loop, folder, _hooks(prepared, on_event), until)
    finally:
        if len(prepared.problems) and prepared.processes.rank == 0:
            prepared.problems.write(folder / "problems.jsonl")


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
        trained = prepared.published(parameters)
        write_checkpoint(Trained(prepared.start, trained, prepared.config.storage, prepared.result), folder)

    return Hooks(on_event, sample if sampler is not None else None, export)
