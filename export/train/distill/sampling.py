"""Painting in torch by the schedule that the runtime takes: for samples, tests and benchmarks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dimrt.export.model.painter import Painter
from dimrt.export.train.distill.network import Scene
from dimrt.schedule import Step


@torch.no_grad()
def paint(
    painter: Painter,
    scene: Scene,
    noise: Tensor,
    schedule: Sequence[Step],
    guidance: float = 1.0,
    fresh: torch.Generator | None = None,
) -> Tensor:
    """Painted latents [B, C, h, w].

    Args:
        noise: start noise of that shape.
        schedule: from `dimrt.schedule`.
        guidance: classifier-free guidance scale; 1 evaluates the condition alone.
        fresh: CPU generator of the noise between the steps, for schedules that ask for it.
    """
    latent, previous = noise, torch.zeros_like(noise)
    null = painter.null_condition[: scene.condition.shape[1]].to(scene.condition.dtype).expand_as(scene.condition)
    for call in schedule:
        sigma, a, b, c = call.coefficients
        level, time = torch.tensor(sigma, device=noise.device), torch.tensor(float(call.timestep), device=noise.device)
        data = painter.data(latent, level, time, scene.condition, scene.mask, scene.source).float()
        if guidance != 1:
            without = painter.data(latent, level, time, null, scene.mask, scene.source).float()
            data = without + guidance * (data - without)
        if call.fresh:
            previous = torch.randn(noise.shape, generator=fresh).to(noise.device)
        latent, previous = a * latent + b * data + c * previous, data
    return latent
