"""Phased consistency distillation (Wang et al. 2024, arXiv 2405.18407): each phase of the flow is crossed in one step.

The flow is cut at `edges`. Within a phase the student learns to reach the phase's lower edge in one straight step from
anywhere, by agreeing with itself one step of the guided teacher's solver earlier (here an Euler step of the flow).
Sampling is deterministic, edge by edge, and needs exactly as many steps as there are phases: another number of steps is
another student.
"""

from typing import Annotated

import torch
from msgspec import Meta, Struct
from torch import Tensor

from dimrt.errors import InputError
from dimrt.export.train.distill.levels import TOP, noised
from dimrt.export.train.distill.network import Scene, Teacher, broad, predict
from dimrt.export.train.distill.objective import Distillation
from dimrt.export.train.flow import LEVELS
from dimrt.manifest import Distilled


class PhasedSettings(Struct, frozen=True, forbid_unknown_fields=True, tag="phased", tag_field="way"):
    """`edges` are falling timesteps where phases begin; `stride` is the teacher's step in timesteps, `huber` the width
    in which the loss is quadratic (of a latent's root mean square difference)."""

    edges: tuple[int, ...] = (TOP, 880, 700, 430)
    stride: Annotated[int, Meta(ge=1, le=500)] = 20
    huber: Annotated[float, Meta(gt=0)] = 0.001


class PhasedDistillation(Distillation):
    """The student agrees with itself along the teacher's trajectory, phase by phase."""

    def __init__(self, teacher: Teacher, settings: PhasedSettings) -> None:
        super().__init__(teacher)
        if not settings.edges or list(settings.edges) != sorted(set(settings.edges), reverse=True):
            raise InputError(f"distill.edges {list(settings.edges)}: give falling timesteps, the first one {TOP}")
        if settings.edges[0] != TOP or settings.edges[-1] < 1:
            raise InputError(f"distill.edges {list(settings.edges)}: they lie in 1 to {TOP}, and the first is {TOP}")
        self.settings = settings

    def match(
        self, target: Tensor, scene: Scene, step: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Pseudo-Huber distance at the lower edge of the phase (Song and Dhariwal 2023, arXiv 2310.14189)."""
        start = torch.randint(1, TOP + 1, (len(target),), generator=generator)
        edges = torch.tensor([*self.settings.edges, 0])
        edge = torch.where(edges[None] < start[:, None], edges[None], 0).amax(1)
        earlier = torch.maximum(start - self.settings.stride, edge)
        latent, level = noised(target, start / LEVELS, generator)
        low, end = (time.to(latent.device) / LEVELS for time in (earlier, edge))
        before = latent - broad(level - low) * self.teacher.velocity(latent, level, scene)
        with torch.no_grad():
            _, velocity = predict(self.student, before, low.clamp_min(1 / LEVELS), scene)
            wanted = before - broad(low - end) * velocity
        _, velocity = predict(self.student, latent, level, scene)
        reached = latent - broad(level - end) * velocity
        width = self.settings.huber
        distance = torch.sqrt((reached - wanted).square().mean((1, 2, 3)) + width**2) - width
        return distance.mean(), {}

    def facts(self, teacher_steps: int) -> Distilled:
        """One step a phase, the noise kept."""
        return Distilled((self.settings.edges,), "kept", teacher_steps, self.teacher.guidance)
