"""How fast a student's data prediction changes along its teacher's trajectory.

With velocity v of the teacher and noise level sigma as the clock, d/dsigma f(x, sigma) = (df/dx) v + df/dsigma: one
Jacobian-vector product, or the difference of two predictions a small step apart. It is the derivative of the same
function whatever the clock: sCM's df/dt (arXiv 2410.11081, section 4) is this times dsigma/dt = n^2.
"""

from typing import Literal

import torch
from torch import Tensor

from dimrt.export.model.painter import Painter
from dimrt.export.train.distill.network import Scene, broad, plain_attention, predict

Way = Literal["jvp", "difference"]


@torch.no_grad()
def tangent(
    painter: Painter, latent: Tensor, sigma: Tensor, velocity: Tensor, scene: Scene, data: Tensor, way: Way, step: float
) -> Tensor:
    """The data prediction's derivative in sigma, [B, C, h, w].

    Args:
        latent, sigma: where on the trajectory; [B, C, h, w] and [B].
        velocity: the teacher's there.
        data: the painter's data prediction there, which a difference starts from.
        way: "jvp" is exact. "difference" is (f(x, sigma) - f(x - step v, sigma - step)) / step: it needs no forward
            derivatives of the network (FSDP and fused attention know none) and smooths over how the time embedding
            rings between the timesteps that were trained.
        step: of the difference, in sigma; where sigma is smaller, half of it.
    """
    if way == "jvp":
        with plain_attention():
            _, change = torch.func.jvp(
                lambda x, level: predict(painter, x, level, scene)[0],
                (latent, sigma),
                (velocity, torch.ones_like(sigma)),
            )
        derivative: Tensor = change
        return derivative
    back = torch.minimum(torch.full_like(sigma, step), sigma / 2)
    earlier, _ = predict(painter, latent - broad(back) * velocity, sigma - back, scene)
    return (data - earlier) / broad(back)
