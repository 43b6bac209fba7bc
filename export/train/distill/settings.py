"""How a painter is distilled, as a table of a run's configuration."""

from typing import Annotated

from msgspec import Meta, Struct, field

from dimrt.export.train.distill.consistency import ConsistencyDistillation, ConsistencySettings
from dimrt.export.train.distill.guidance import GuidanceDistillation, GuidanceSettings
from dimrt.export.train.distill.lowrank import adapt
from dimrt.export.train.distill.network import Teacher
from dimrt.export.train.distill.objective import Distillation
from dimrt.export.train.distill.phased import PhasedDistillation, PhasedSettings


class LoraSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Adapters in the place of whole weights; `rank` 0 trains whole weights. `scale` is the rank itself when None."""

    rank: Annotated[int, Meta(ge=0)] = 0
    scale: Annotated[float, Meta(gt=0)] | None = None


class DistillSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """`guidance` is the teacher's scale, its own default when None. `steps` is the student's default number of steps,
    two or the nearest that it knows when None. `method` is the way, told apart by its `way`.
    """

    guidance: Annotated[float, Meta(ge=0, le=100)] | None = None
    steps: Annotated[int, Meta(ge=1)] | None = None
    method: GuidanceSettings | PhasedSettings | ConsistencySettings = field(default_factory=ConsistencySettings)
    lora: LoraSettings = field(default_factory=LoraSettings)


def build(teacher: Teacher, settings: DistillSettings) -> Distillation:
    """The objective that the settings name.

    Raises:
        InputError: a setting doesn't fit the painter.
    """
    method = settings.method
    objective: Distillation
    if isinstance(method, GuidanceSettings):
        objective = GuidanceDistillation(teacher, method)
    elif isinstance(method, PhasedSettings):
        objective = PhasedDistillation(teacher, method)
    else:
        objective = ConsistencyDistillation(teacher, method)
    if settings.lora.rank:
        adapt(objective.student, settings.lora.rank, settings.lora.scale)
    return objective
