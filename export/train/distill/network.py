"""A painter as a function of continuous noise levels, and the teacher that is guided and frozen."""

from contextlib import AbstractContextManager
from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from dimrt.errors import InputError
from dimrt.export.model.painter import Painter
from dimrt.export.train.flow import LEVELS, conditioned

if TYPE_CHECKING:
    from dimrt.export.train.data.batch import Batch

SMALLEST = 1e-3
"""Noise level below which a residual painter's velocity is computed as if at this level."""


class Scene:
    """What a painter attends to in a batch: condition [B, N, caption], its mask [B, N] and the source latent."""

    def __init__(self, condition: Tensor, mask: Tensor, source: Tensor | None) -> None:
        self.condition, self.mask, self.source = condition, mask, source

    def rolled(self) -> "Scene":
        """The same with the conditions of other examples: each gets its neighbour's."""
        return Scene(self.condition.roll(1, 0), self.mask.roll(1, 0), self.source)


def broad(values: Tensor) -> Tensor:
    """[B] -> [B, 1, 1, 1]."""
    return values.reshape(-1, 1, 1, 1)


def predict(painter: Painter, latent: Tensor, sigma: Tensor, scene: Scene) -> tuple[Tensor, Tensor]:
    """Predicted clean latent and velocity, both [B, C, h, w] in the latent's dtype.

    The painter is told 1000 sigma as it is, not cut to an integer: along a trajectory noise levels are continuous.
    What the sampler tells it later are integers among them.

    Args:
        latent: [B, C, h, w].
        sigma: [B] noise levels.
    """
    given = latent if scene.source is None else torch.cat([latent, scene.source], dim=1)
    output = painter.transformer(
        given, scene.condition, sigma * LEVELS, encoder_attention_mask=scene.mask, return_dict=False
    )[0].to(latent.dtype)
    if painter.config.prediction == "residual":
        data = scene.source + output
        return data, (latent - data) / broad(sigma.clamp_min(SMALLEST))
    return latent - broad(sigma) * output, output


def plain_attention() -> AbstractContextManager[None]:
    """Attention written out: the fused kernels know no forward derivatives (pytorch issues 128971, 154226)."""
    manager: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
    return manager


class Teacher:
    """A frozen painter and connector, guided by one scale.

    The scale is fixed because the painter's graph takes no guidance: what is learned is one guided painter. Guided
    distillation embeds it as a further input (Meng et al. 2023, arXiv 2210.03142, section 3.1).
    """

    def __init__(self, painter: Painter, connector: nn.Module, guidance: float) -> None:
        self.painter = painter.eval().requires_grad_(False)
        self.connector = connector.eval().requires_grad_(False)
        self.guidance = guidance

    def student(self) -> Painter:
        """A painter to be trained that starts as a copy. Its null condition is never looked at, so never trained."""
        student = deepcopy(self.painter).train().requires_grad_(True)
        student.null_condition.requires_grad_(False)
        return student

    def scene(self, batch: "Batch") -> Scene:
        """A batch's condition as the frozen connector makes it; moves the teacher to the batch's device.

        Raises:
            InputError: a painter of edits gets an example without a source.
        """
        device = batch.target.device
        if self.painter.null_condition.device != device:
            self.painter.to(device)
            self.connector.to(device)
        edits = self.painter.config.task == "edit"
        if edits and batch.source is None:
            raise InputError(f"{batch.keys[0]}: an edit painter is distilled on pairs, and this example has no source")
        with torch.no_grad():
            condition, mask = conditioned(self.painter, self.connector, batch)
        return Scene(condition, mask, batch.source if edits else None)

    @torch.no_grad()
    def velocity(self, latent: Tensor, sigma: Tensor, scene: Scene) -> Tensor:
        """Guided velocity: null + guidance (condition - null), as the sampler guides (of data, noise and velocity
        alike, since all are linear in each other)."""
        if self.guidance == 1:
            return predict(self.painter, latent, sigma, scene)[1]
        count = len(latent)
        null = self.painter.null_condition[: scene.condition.shape[1]].to(scene.condition.dtype)
        both = Scene(
            torch.cat([null.expand(count, -1, -1), scene.condition]),
            scene.mask.repeat(2, 1),
            None if scene.source is None else scene.source.repeat(2, 1, 1, 1),
        )
        found = predict(self.painter, latent.repeat(2, 1, 1, 1), sigma.repeat(2), both)[1]
        without, given = found.chunk(2)
        return without + self.guidance * (given - without)
