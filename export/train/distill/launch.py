"""A distillation run from its configuration: the teacher opened, the student built, samples by its own schedule."""

from collections.abc import Callable
from functools import partial

import msgspec
import torch

from dimrt.errors import InputError
from dimrt.export.model.source import Source, load_part
from dimrt.export.train.config import TrainConfig
from dimrt.export.train.data.batch import Examples
from dimrt.export.train.data.problems import Problems
from dimrt.export.train.distill.network import Teacher
from dimrt.export.train.distill.objective import Distillation
from dimrt.export.train.distill.result import painter_tensors, student_config, teacher_steps
from dimrt.export.train.distill.settings import build
from dimrt.export.train.estimate import check_memory
from dimrt.export.train.launch import Prepared, open_data
from dimrt.export.train.processes import Processes
from dimrt.export.train.samples import HeldOut, Sampler
from dimrt.export.train.start import SanaStart, Widened, load_trainable, open_start
from dimrt.manifest import Schedule
from dimrt.schedule import painter_schedule


def prepare_distillation(
    config: TrainConfig, *, offline: bool = False, notify: Callable[[str], None] = lambda text: None
) -> Prepared:
    """Open teacher and data of a run and build its student, with every check that can be made before.

    Raises:
        InputError, CheckpointError: what the configuration names is missing or doesn't fit.
        ResourceError: it needs more memory than there is.
    """
    processes = Processes(config.loop)
    notify(f"opening {config.model.checkpoint}")
    start = open_start(config.model, config.stage, config.loop.seed, offline)
    objective = open_objective(config, start)
    facts = objective.facts(teacher_steps(start.config.schedule))
    try:
        result = student_config(start.config, facts, config.distill.steps, config.model.name)
    except ValueError as error:
        counts = ", ".join(str(len(row)) for row in facts.timesteps)
        raise InputError(f"distill.steps {config.distill.steps}: this student knows {counts} steps; {error}") from error
    examples, problems = _open_examples(config, start, processes, notify)
    held = HeldOut(examples, config.samples.count if config.loop.sample_every else 0)
    sampler = _sampler(config, objective, start, result.schedule, held, processes) if held.held else None
    published = partial(painter_tensors, objective, start)
    prepared = Prepared(config, processes, start, result, objective, held, sampler, problems, published)
    check_memory(prepared.estimate)
    return prepared


def open_objective(config: TrainConfig, start: Source) -> Distillation:
    """Teacher and student of a run; the guidance is the teacher's own default unless the configuration says another.

    Raises:
        InputError: the weights are no finished painter, or a setting doesn't fit them.
    """
    if isinstance(start, Widened | SanaStart):
        raise InputError(
            f"model.checkpoint {config.model.checkpoint}: a teacher is a trained DIM model of stage "
            f'"{config.stage}"; train one first, or set stage'
        )
    own = start.config.schedule
    guidance = own.guidance_scale if config.distill.guidance is None else config.distill.guidance
    painter, connector = load_trainable(start)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.loop.seed)  # of the critic's heads and the adapters
        objective = build(Teacher(painter, connector, guidance), config.distill)
    if config.flow.checkpointing:
        painter.transformer.enable_gradient_checkpointing()
        objective.student.transformer.enable_gradient_checkpointing()
    return objective


def _open_examples(
    config: TrainConfig, start: Source, processes: Processes, notify: Callable[[str], None]
) -> tuple[Examples, Problems]:
    """The data of a configuration: tables, or the paintings of nano's lesson."""
    if config.data or config.nano.root is None:
        return open_data(config.data, start, processes, notify)
    from dimrt.export.nano.lessons import open_paintings

    return open_paintings(config, processes, notify)[1], Problems()


def _sampler(
    config: TrainConfig,
    objective: Distillation,
    start: Source,
    schedule: Schedule,
    held: HeldOut,
    processes: Processes,
) -> Sampler:
    """Sheets of the student at its default number of steps, without guidance."""
    autoencoder = load_part(start, "autoencoder").to(processes.device)
    scale = float(autoencoder.config.scaling_factor)
    sampler = Sampler(
        objective.student,
        objective.teacher.connector,
        lambda latents: autoencoder.decode(latents.float() / scale).sample,
        [held.batch([index]) for index in held.held],
        msgspec.structs.replace(config.samples, guidance=1.0, steps=schedule.steps),
        schedule.shift,
    )
    sampler.schedule = painter_schedule(schedule, schedule.steps, "student")
    return sampler
