"""A distilled painter as a DIM checkpoint: whole weights, and a schedule of its own."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor
from torch.nn.utils import parametrize

from dimrt.export.model.config import DIMConfig
from dimrt.export.model.source import Source
from dimrt.export.train.distill.lowrank import LowRank
from dimrt.export.train.distill.objective import Distillation
from dimrt.export.train.publish import named
from dimrt.manifest import Distilled, Schedule

FEW = 2
"""Default steps of a student that knows several counts."""
_UP, _DOWN = (f".parametrizations.weight.0.{part}" for part in ("up", "down"))


def teacher_steps(schedule: Schedule) -> int:
    """Steps of the flow's own solver: the model's default, or the teacher's where the model is a student itself."""
    return schedule.steps if schedule.distilled is None else schedule.distilled.teacher_steps


def student_schedule(teacher: Schedule, facts: Distilled, steps: int | None = None) -> Schedule:
    """The model facts of a student.

    Args:
        steps: its default; two where it knows two, else the most it knows, else the teacher's.
    """
    counts = sorted(map(len, facts.timesteps))
    if steps is None:
        steps = FEW if FEW in counts else counts[-1] if counts else facts.teacher_steps
    return Schedule(steps=steps, guidance_scale=1.0, shift=teacher.shift, seed=teacher.seed, distilled=facts)


def student_config(teacher: DIMConfig, facts: Distilled, steps: int | None, name: str | None) -> DIMConfig:
    """The teacher's configuration with the student's schedule and name."""
    return replace(named(teacher, name), schedule=student_schedule(teacher.schedule, facts, steps))


def painter_tensors(objective: Distillation, start: Source, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Trained parameters under their names in `DIM.state_dict()`; adapters are added to the weights they adapt.

    Args:
        start: the teacher, whose weights the adapters belong to.
        parameters: of the student, under the objective's names.
    """
    factors = {
        f"student.{name}": part.parametrizations["weight"][0].factor
        for name, part in objective.student.named_modules()
        if parametrize.is_parametrized(part, "weight") and isinstance(part.parametrizations["weight"][0], LowRank)
    }
    tensors = {}
    for name, value in parameters.items():
        layer = name.removesuffix(_UP)
        if layer in factors:
            weight = start.read(f"painter.{layer.removeprefix('student.')}.weight").float()
            change = factors[layer] * (value.float() @ parameters[layer + _DOWN].float())
            tensors[f"painter.{layer.removeprefix('student.')}.weight"] = weight + change.view_as(weight)
        elif not name.endswith(_DOWN):
            tensors[f"painter.{name.removeprefix('student.')}"] = value
    return tensors
