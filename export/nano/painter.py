"""Nano's painter: sizes, a start that copies the source, and what it learns from."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dimrt.export.model.assembly import make_connector
from dimrt.export.model.config import PainterConfig
from dimrt.export.model.painter import Painter
from dimrt.export.nano.designer import HIDDEN
from dimrt.export.train.data.batch import Batch
from dimrt.export.train.objective import Objective
from dimrt.schedule import flow_schedule

CONSTANTS = 8
CONSTANT = 8.0
"""Value of the constant channels (half of them negative). The blocks' layer norms have no weights and would wash out
how strong a latent is; with most of the norm in constants, the deviation they divide by is nearly the same for all
tokens, and the blocks see the latents almost as they are."""
GATE = 0.3
FIRST = flow_schedule(1, 3.0)[0].sigma
"""Noise level of the first step: the embedding tells neighbouring timesteps apart, so training must see this one."""


def painter_config(depth: int = 6) -> PainterConfig:
    """The painter's sizes."""
    return PainterConfig(
        task="edit",
        latent_channels=32,
        hidden_size=192,
        depth=depth,
        cross_heads=6,
        linear_head_dim=32,
        caption_channels=HIDDEN,
        max_condition=256,
        patch_size=2,
        prediction="residual",
        position_side=8,
    )


def start_painter(painter: Painter, seed: int) -> None:
    """Initialise for training: the output is the source itself, and the embedding passes source latents unmixed."""
    generator = torch.Generator().manual_seed(seed)
    net = painter.transformer
    width, channels = painter.config.hidden_size, painter.config.latent_channels
    with torch.no_grad():
        embed = net.patch_embed.proj
        source_size = channels * painter.config.patch_size**2
        basis = torch.linalg.qr(torch.randn(width - CONSTANTS, width - CONSTANTS, generator=generator))[0]
        embed.weight.zero_()
        embed.weight[CONSTANTS:, channels:] = basis[:, :source_size].reshape(-1, *embed.weight[0, channels:].shape)
        noise = torch.randn(embed.weight[CONSTANTS:, :channels].shape, generator=generator)
        embed.weight[CONSTANTS:, :channels] = noise * 0.02
        embed.bias.zero_()
        embed.bias[:CONSTANTS] = CONSTANT
        embed.bias[: CONSTANTS // 2] = -CONSTANT
        net.proj_out.weight.zero_()
        net.proj_out.bias.zero_()
        net.scale_shift_table.zero_()
        net.time_embed.linear.weight.zero_()
        net.time_embed.linear.bias.zero_()
        for block in net.transformer_blocks:
            block.scale_shift_table.zero_()
            block.scale_shift_table[[2, 5]] = GATE
        painter.null_condition.mul_(0.1)


@dataclass(frozen=True)
class Lesson:
    """How examples are noised and weighed."""

    noise_only: float = 0.7
    """Share of examples at the first timestep, where the noisy latent says nothing."""
    null: float = 0.08
    """Share of examples without a condition."""
    changed: float = 4.0
    """Extra weight of tokens that the edit changes."""
    threshold: float = 0.02
    """Mean squared latent change from which a token counts as changed."""


class PainterLesson(Objective):
    """Painter and connector with the loss of a batch of paintings.

    `importance` [C] weighs the latent channels (the autoencoder's scale: how much a channel shows in pixels).
    """

    outer = (
        "painter.transformer.patch_embed",
        "painter.transformer.proj_out",
        "painter.transformer.time_embed",
        "painter.transformer.caption_projection.linear_1",
    )

    def __init__(self, painter: Painter, connector: nn.Module, importance: Sequence[float], lesson: Lesson) -> None:
        super().__init__()
        self.painter, self.connector, self.lesson = painter, connector, lesson
        weights = torch.tensor(importance, dtype=torch.float32)
        self.register_buffer("importance", (weights / weights.mean())[None, :, None, None], persistent=False)

    def loss(self, player: str, batch: Batch, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch, and its relative error on changed tokens."""
        size, device = len(batch.keys), batch.target.device
        sigma = torch.rand(size, generator=generator)
        sigma[torch.rand(size, generator=generator) < self.lesson.noise_only] = FIRST
        noise = torch.randn(batch.target.shape, generator=generator).to(device)
        without = (torch.rand(size, generator=generator) < self.lesson.null).to(device)
        sigma = sigma.to(device)
        spread = sigma[:, None, None, None]
        noisy = (1 - spread) * batch.target + spread * noise
        return self.score(batch, self.predict(batch, noisy, sigma, without), without)

    def predict(self, batch: Batch, noisy: Tensor, sigma: Tensor, without: Tensor) -> Tensor:
        """Predicted clean latents; rows marked in `without` [B] get the null condition."""
        condition = self.connector(batch.condition)
        null = self.painter.null_condition[: condition.shape[1]]
        condition = torch.where(without[:, None, None], null[None], condition)
        return self.painter.data(noisy, sigma, sigma * 1000, condition, batch.mask, batch.source)

    def score(self, batch: Batch, predicted: Tensor, without: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Every example weighs the same, however little of the picture its edit changes."""
        change = _per_token((batch.target - batch.source).square(), self.painter.config.patch_size)
        weight = 1 + self.lesson.changed * (change > self.lesson.threshold)
        weight = weight / weight.sum((1, 2), keepdim=True)
        error = functional.smooth_l1_loss(predicted, batch.target, reduction="none", beta=0.5) * self.importance
        each = (_per_token(error, self.painter.config.patch_size) * weight).sum((1, 2))
        with torch.no_grad():
            relative = relative_error(batch, predicted, self.painter.config.patch_size, self.lesson.threshold)
            figures = {"relative_error": relative[~without].mean().item()}
        return each.mean(), figures


def relative_error(batch: Batch, predicted: Tensor, patch: int, threshold: float) -> Tensor:
    """Squared error over squared change, on changed tokens, for each example [B]. 1 is doing nothing, 0 is perfect."""
    change = _per_token((batch.target - batch.source).square(), patch)
    error = _per_token((batch.target - predicted).square(), patch)
    where = change > threshold
    return ((error * where).sum((1, 2)) / (change * where).sum((1, 2)).clamp_min(1e-6)).clamp_max(4)


def _per_token(values: Tensor, patch: int) -> Tensor:
    """Mean over channels and the patch: [B, C, h, w] to [B, h / patch, w / patch]."""
    return functional.avg_pool2d(values.mean(1, keepdim=True), patch)[:, 0]


def make_painter(seed: int = 0, depth: int = 6) -> tuple[Painter, nn.Module]:
    """A fresh painter and connector."""
    torch.manual_seed(seed)
    painter = Painter(painter_config(depth))
    start_painter(painter, seed)
    return painter, make_connector(HIDDEN, HIDDEN)
