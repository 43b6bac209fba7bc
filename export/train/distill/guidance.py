"""Guidance distillation: one call of the student says what two calls of the guided teacher said.

The first stage of Meng et al. 2023 (arXiv 2210.03142, section 3.1, algorithm 1) for one scale: mean squared error
against the guided prediction, at noise levels of the teacher's own training. The student is sampled by its teacher's
solver at half the cost.
"""

from typing import Literal

import torch
from msgspec import Struct
from torch import Tensor
from torch.nn import functional

from dimrt.export.train.distill.levels import noised, whole_timesteps
from dimrt.export.train.distill.network import Scene, Teacher, predict
from dimrt.export.train.distill.objective import Distillation
from dimrt.export.train.flow import FlowSettings, draw_levels
from dimrt.manifest import Distilled


class GuidanceSettings(Struct, frozen=True, forbid_unknown_fields=True, tag="guidance", tag_field="way"):
    """Noise levels are drawn as in the teacher's training."""

    shift: float = 3.0
    mean: float = 0.0
    spread: float = 1.0


class GuidanceDistillation(Distillation):
    """The student learns the guided velocity (a residual painter: the guided clean latent)."""

    def __init__(self, teacher: Teacher, settings: GuidanceSettings) -> None:
        super().__init__(teacher)
        self.levels = FlowSettings(shift=settings.shift, mean=settings.mean, spread=settings.spread)

    def match(
        self, target: Tensor, scene: Scene, step: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error against the guided teacher."""
        drawn = draw_levels(len(target), self.levels, generator).float()
        latent, sigma = noised(target, whole_timesteps(drawn), generator)
        wanted = self.teacher.velocity(latent, sigma, scene)
        data, velocity = predict(self.student, latent, sigma, scene)
        if self.student.config.prediction == "residual":
            return functional.mse_loss(data, latent - sigma[:, None, None, None] * wanted), {}
        return functional.mse_loss(velocity, wanted), {}

    def facts(self, teacher_steps: int) -> Distilled:
        """The teacher's solver, any number of steps, one row."""
        noise: Literal["kept"] = "kept"
        return Distilled((), noise, teacher_steps, self.teacher.guidance)
