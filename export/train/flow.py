"""Flow matching, the objective the published painter was trained with.

A latent is mixed with noise, x = (1 - sigma) target + sigma noise, and the painter learns the velocity noise - target
(SANA, arXiv 2410.10629, section 4.1) by mean squared error. Noise levels follow SD3 (arXiv 2403.03206, section 3.1):
the logistic function of a normal number, moved towards noise by the shift, sigma = shift s / (1 + (shift - 1) s). As in
the published training there are 1000 levels, s = 0, 0.001 ... 0.999, which reach as far as the sampler's grid, and the
painter is told 1000 sigma cut to an integer.

In a share of the examples (classes dropped, 0.1) the learned null condition stands in for the condition; as in the
sampler it takes the condition's mask, so that only its first rows learn.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from msgspec import Meta, Struct
from torch import Tensor, nn
from torch.nn import functional

from dimrt.errors import InputError
from dimrt.export.model.painter import Painter
from dimrt.export.train.objective import Figures, Objective

if TYPE_CHECKING:
    from dimrt.export.train.data.batch import Batch

LEVELS = 1000


class FlowSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Noise levels and dropped conditions. `mean` and `spread` are those of the normal number behind a level."""

    shift: Annotated[float, Meta(gt=0)] = 3.0
    mean: float = 0.0
    spread: Annotated[float, Meta(gt=0)] = 1.0
    drop: Annotated[float, Meta(ge=0, le=1)] = 0.1
    checkpointing: bool = False
    """Gradient checkpointing: blocks are computed again for the gradients instead of being kept."""


@dataclass(frozen=True)
class Noised:
    """Some examples on their way to noise: latent [B, C, h, w], sigma [B], timestep [B] (an integer), noise."""

    latent: Tensor
    sigma: Tensor
    timestep: Tensor
    noise: Tensor


def level_table(shift: float) -> Tensor:
    """The 1000 noise levels of training, rising, float64."""
    base = torch.arange(LEVELS, dtype=torch.float64) / LEVELS
    return shift * base / (1 + (shift - 1) * base)


def draw_levels(count: int, settings: FlowSettings, generator: torch.Generator) -> Tensor:
    """Random noise levels [count], float64 on the CPU."""
    normal = torch.randn(count, generator=generator, dtype=torch.float64)
    place = (torch.sigmoid(settings.mean + settings.spread * normal) * LEVELS).long().clamp_max(LEVELS - 1)
    return level_table(settings.shift)[place]


def mix(target: Tensor, sigma: Tensor, generator: torch.Generator) -> Noised:
    """Latents [B, C, h, w] mixed with noise at levels `sigma` [B] (float64, CPU). Noise is drawn on the CPU."""
    noise = torch.randn(target.shape, generator=generator).to(target.device)
    timestep = (sigma * LEVELS).trunc().to(device=target.device, dtype=torch.float32)
    level = sigma.to(device=target.device, dtype=torch.float32)
    spread = level[:, None, None, None]
    return Noised((1 - spread) * target + spread * noise, level, timestep, noise)


def last_rows(condition: Tensor, mask: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """At most the last `limit` valid rows of each condition [B, N, D] with mask [B, N]; DIM drops the first ones."""
    if condition.shape[1] <= limit:
        return condition, mask
    length = mask.sum(1).long()
    place = torch.arange(limit, device=mask.device) + (length - limit).clamp_min(0)[:, None]
    rows = condition.gather(1, place[:, :, None].expand(-1, -1, condition.shape[2]))
    return rows, mask.gather(1, place)


def conditioned(
    painter: Painter, connector: nn.Module, batch: "Batch", dropped: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What the painter attends to, [B, N, caption], and its mask; rows marked in `dropped` [B] get the null condition.

    Differentiable in the connector and the null condition.
    """
    rows, mask = last_rows(batch.condition, batch.mask, painter.config.max_condition)
    condition = connector(rows)
    if dropped is not None:
        null = painter.null_condition[: condition.shape[1]].to(condition.dtype)
        condition = torch.where(dropped.to(condition.device)[:, None, None], null[None], condition)
    return condition, mask


class FlowObjective(Objective):
    """A painter and its connector under flow matching.

    A painter that predicts a residual learns its clean latent instead, source + output, by the same mean squared
    error: its velocity error is that divided by sigma, which no weighting could bound.
    """

    outer = (
        "painter.transformer.patch_embed",
        "painter.transformer.proj_out",
        "painter.transformer.time_embed",
        "painter.transformer.caption_projection",
        "connector",
    )

    def __init__(self, painter: Painter, connector: nn.Module, settings: FlowSettings) -> None:
        super().__init__()
        self.painter, self.connector, self.settings = painter, connector, settings
        if settings.checkpointing:
            painter.transformer.enable_gradient_checkpointing()

    def loss(self, player: str, batch: "Batch", step: int, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """Mean squared error of the velocity (or clean latent), and its mean over low and high noise levels."""
        edits = self.painter.config.task == "edit"
        if edits and batch.source is None:
            raise InputError(
                f"{batch.keys[0]}: an edit is trained on pairs, and this example has no source picture; "
                "train the text-to-image stage on it, or take it out"
            )
        source = batch.source if edits else None
        count = len(batch.keys)
        sigma = draw_levels(count, self.settings, generator)
        noised = mix(batch.target, sigma, generator)
        dropped = torch.rand(count, generator=generator) < self.settings.drop
        condition, mask = conditioned(self.painter, self.connector, batch, dropped)
        output = self.painter(noised.latent, noised.timestep, condition, mask, source)
        residual = self.painter.config.prediction == "residual"
        wanted = batch.target - source if residual else noised.noise - batch.target
        each = functional.mse_loss(output.float(), wanted, reduction="none").mean((1, 2, 3))
        return each.mean(), _by_level(each.detach(), noised.sigma)


def _by_level(each: Tensor, sigma: Tensor) -> dict[str, Tensor]:
    """Mean loss of the examples below and above half noise, where there are some: the two learn at different times."""
    low = sigma < 0.5
    parts = {"loss_low_noise": each[low], "loss_high_noise": each[~low]}
    return {name: part.mean() for name, part in parts.items() if len(part)}
