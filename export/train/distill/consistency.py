"""Continuous-time consistency distillation with an adversarial term, as SANA-Sprint trains (arXiv 2503.09641).

The student's data prediction f(x, sigma) is to be the same all along a trajectory of the guided teacher. What is taken
from the paper and from sCM (Lu and Song 2024, arXiv 2410.11081), in the flow's own terms (see `trigflow`):

- the loss ||F - F- - g||^2 (sCM equation 8) with the tangent g = cos t df/dt, normalized to g / (||g|| + c) and warmed
  up: its part that only pulls the velocity to the teacher's is there from the start, the rest comes in over `warmup`
  steps (sCM section 4.2);
- noise levels with log-normal tan t (see `trigflow.draw_angles`);
- the adversarial term (LADD, arXiv 2403.12015; SANA-Sprint's hybrid distillation): hinge loss on features of the
  frozen teacher, weight 0.5; half of the student's pictures are painted from pure noise ("max-time weighting");
- the q/k norms that the paper adds against exploding gradients DIM's painter has already.

Left out, and why:
- The learned weighting exp(-u(t)). Normalized tangents make the squared error of an example ||g||^2, close to 1, at
  every t, so the learned weight settles where the effective weight of every t is 1: it is 1 here from the start.
- The dense time embedding t in place of 1000 t. It changes what the graph is told and needs another training of the
  teacher. Without it the exact derivative diverges, as the paper warns: an embedding of 1000 t turns by radians between
  two timesteps, and between them nothing was ever trained. `tangent = "difference"` therefore takes the derivative over
  a few whole timesteps, all of which the teacher knows: it is the default, and benchmarks/distill_choice.py shows both.
- Guidance as an input: the graph has none (see `network.Teacher`).

A velocity painter's data prediction is its input where the noise ends, f(x, 0) = x, which alone makes the loss have one
solution. A residual painter predicts data without its input and has no such tie: with the tangent at full weight it
drifts (nano's README has the figures), so its preset keeps the warm-up longer than the run.
"""

from typing import TYPE_CHECKING, Annotated

import torch
from msgspec import Meta, Struct, field
from torch import Tensor

from dimrt.errors import InputError
from dimrt.export.train.distill.critic import Critic, CriticSettings
from dimrt.export.train.distill.levels import TOP, noised, whole_timesteps
from dimrt.export.train.distill.network import Scene, Teacher, broad, predict
from dimrt.export.train.distill.objective import Distillation
from dimrt.export.train.distill.tangent import Way, tangent
from dimrt.export.train.distill.trigflow import draw_angles, norm, to_sigma
from dimrt.export.train.flow import LEVELS
from dimrt.export.train.objective import Figures
from dimrt.manifest import Distilled

if TYPE_CHECKING:
    from dimrt.export.train.data.batch import Batch

ROWS = ((TOP,), (TOP, 780), (TOP, 850, 600, 300))
"""Timesteps of one, two and four steps. The second step of two is that of diffusers' SanaSprintPipeline, t = 1.3."""


class ConsistencySettings(Struct, frozen=True, forbid_unknown_fields=True, tag="consistency", tag_field="way"):
    """`mean` and `spread` are of log tan t. `stride` is the step of a tangent by "difference", in timesteps; `soft` the
    c that is added to the tangent's norm. `timesteps` are the student's schedules, one row a number of steps."""

    mean: float = 0.9
    spread: Annotated[float, Meta(gt=0)] = 1.6
    warmup: Annotated[int, Meta(ge=0)] = 4000
    tangent: Way = "difference"
    stride: Annotated[int, Meta(ge=1, le=100)] = 5
    soft: Annotated[float, Meta(gt=0)] = 0.1
    top_share: Annotated[float, Meta(ge=0, le=1)] = 0.5
    timesteps: tuple[tuple[int, ...], ...] = ROWS
    critic: CriticSettings = field(default_factory=CriticSettings)


class ConsistencyDistillation(Distillation):
    """sCM, and LADD with a critic when its weight isn't zero.

    In every step the student learns first, then the critic, on the same examples; the paper's alternate by batch.
    """

    def __init__(self, teacher: Teacher, settings: ConsistencySettings) -> None:
        super().__init__(teacher)
        self.settings = settings
        try:
            self.facts(1)
        except ValueError as error:
            raise InputError(f"distill.timesteps: {error}") from error
        if settings.critic.weight:
            self.critic = Critic(teacher.painter, settings.critic)
            self.players = ("student", "critic")

    def loss(self, player: str, batch: "Batch", step: int, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """The student's: consistency and how real it looks. The critic's: to tell the two apart."""
        scene = self.teacher.scene(batch)
        critic = self.critic
        if player == "critic" and critic is not None:
            with torch.no_grad():
                painted = self.painted(batch.target, scene, generator)
            return critic.judge(self.teacher.painter, painted, batch.target, scene, generator)
        loss, figures = self.match(batch.target, scene, step, generator)
        if critic is None:
            return loss, figures
        score = critic.score(self.teacher.painter, self.painted(batch.target, scene, generator), scene, generator)
        return loss - critic.settings.weight * score, {**figures, "consistency": loss.detach(), "score": score.detach()}

    def match(
        self, target: Tensor, scene: Scene, step: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """||F - F- - g||^2 summed over a latent, mean over the batch, in the units of what the painter predicts."""
        latent, sigma = noised(target, self.draw(len(target), generator), generator)
        n, level = broad(norm(sigma)), broad(sigma)
        guided = self.teacher.velocity(latent, sigma, scene)
        found, velocity = predict(self.student, latent, sigma, scene)
        data, own = found.detach(), velocity.detach()
        stride = self.settings.stride / LEVELS
        change = tangent(self.student, latent, sigma, guided, scene, data, self.settings.tangent, stride)
        near = (1 - level).square() / n * (guided - own)
        warm = min(1.0, (step + 1) / max(1, self.settings.warmup))
        g = near + warm * ((1 - level) * n * change - near)
        length = g.flatten(1).norm(dim=1)
        g = g / broad(length + self.settings.soft)
        if self.student.config.prediction == "residual":
            error = found - data + level / n * g
        else:
            error = n * (velocity - own) - g
        return error.square().sum((1, 2, 3)).mean(), {"tangent": length.mean()}

    def painted(self, target: Tensor, scene: Scene, generator: torch.Generator) -> Tensor:
        """Clean latents that the student paints in one step, a share of them from (all but) pure noise."""
        sigma = self.draw(len(target), generator)
        top = torch.rand(len(target), generator=generator) < self.settings.top_share
        latent, level = noised(target, torch.where(top, TOP / LEVELS, sigma), generator)
        return predict(self.student, latent, level, scene)[0]

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Random noise levels [count], at whole timesteps."""
        return whole_timesteps(to_sigma(draw_angles(count, self.settings.mean, self.settings.spread, generator)))

    def facts(self, teacher_steps: int) -> Distilled:
        """The student's schedules, with fresh noise between the steps."""
        return Distilled(self.settings.timesteps, "fresh", teacher_steps, self.teacher.guidance)
