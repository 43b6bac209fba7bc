"""Noise levels at whole timesteps, and latents at them."""

import torch
from torch import Tensor

from dimrt.export.train.flow import LEVELS

TOP = LEVELS - 1
"""The timestep of the first step: the highest that a painter was trained on."""


def whole_timesteps(sigma: Tensor) -> Tensor:
    """Noise levels moved to the nearest that the teacher was trained on: whole timesteps from 1 to 999, over 1000."""
    return (sigma * LEVELS).round().clamp(1, TOP) / LEVELS


def noised(target: Tensor, sigma: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Latents mixed with noise, and the levels, on the target's device. sigma [B] and all noise are from the CPU."""
    noise = torch.randn(target.shape, generator=generator).to(target.device)
    level = sigma.to(target.device)
    spread = level[:, None, None, None]
    return (1 - spread) * target + spread * noise, level
