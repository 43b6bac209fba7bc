"""What all ways of distilling share: a student, its frozen teacher, and the critic when there is one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dimrt.export.train.distill.critic import Critic
from dimrt.export.train.distill.network import Scene, Teacher
from dimrt.export.train.objective import Figures, Objective
from dimrt.manifest import Distilled

if TYPE_CHECKING:
    from dimrt.export.train.data.batch import Batch


class Distillation(Objective):
    """Base of the ways. `student` is trained; the teacher is held in a list, so that its weights stay apart."""

    players = ("student",)
    outer = (
        "student.transformer.patch_embed",
        "student.transformer.proj_out",
        "student.transformer.time_embed",
        "student.transformer.caption_projection",
    )

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self._teacher = [teacher]
        self.student = teacher.student()
        self.critic: Critic | None = None

    @property
    def teacher(self) -> Teacher:
        """The frozen teacher."""
        return self._teacher[0]

    def parameters_of(self, player: str) -> Iterator[tuple[str, nn.Parameter]]:
        """Of the student, or of the critic's heads; all that `requires_grad` when the run begins."""
        prefix = f"{player}."
        return ((name, p) for name, p in self.named_parameters() if name.startswith(prefix) and p.requires_grad)

    def frozen_bytes(self) -> int:
        """Of the teacher, which every process holds whole."""
        teacher = (*self.teacher.painter.parameters(), *self.teacher.connector.parameters())
        return sum(value.nbytes for value in teacher)

    def loss(self, player: str, batch: "Batch", step: int, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """The student's distance from its teacher, as the way measures it."""
        return self.match(batch.target, self.teacher.scene(batch), step, generator)

    def match(
        self, target: Tensor, scene: Scene, step: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of clean latents [B, C, h, w] and figures for the log."""
        raise NotImplementedError

    def facts(self, teacher_steps: int) -> Distilled:
        """How the student is sampled."""
        raise NotImplementedError
