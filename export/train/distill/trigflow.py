"""Between a flow, x = (1 - sigma) data + sigma noise, and TrigFlow, x = cos(t) data + sin(t) noise.

A velocity painter is a TrigFlow model without any training (SANA-Sprint, arXiv 2503.09641, section 3,
"Training-Free Transformation to TrigFlow"): with n = sqrt(sigma^2 + (1 - sigma)^2),

    t = atan2(sigma, 1 - sigma),  x_trig = x / n,  F = ((1 - 2 sigma) x + n^2 velocity) / n,

and then its data prediction is the same number both ways: cos(t) x_trig - sin(t) F = x - sigma velocity. This is the
`data` of the painter's `step` graph, so that a consistency function f(x, t) keeps the graph as it is. Latents are taken
as they are scaled for the painter; the paper's sigma_data = 0.5 multiplies data and noise alike and divides them again
before the network.
"""

import torch
from torch import Tensor


def to_angle(sigma: Tensor) -> Tensor:
    """Noise level sigma in [0, 1] to the angle t in [0, pi/2]."""
    return torch.atan2(sigma, 1 - sigma)


def to_sigma(angle: Tensor) -> Tensor:
    """The angle t in [0, pi/2] to the noise level: sin t / (sin t + cos t)."""
    return torch.sin(angle) / (torch.sin(angle) + torch.cos(angle))


def norm(sigma: Tensor) -> Tensor:
    """n = sqrt(sigma^2 + (1 - sigma)^2): a flow's latent over TrigFlow's."""
    return torch.sqrt(sigma.square() + (1 - sigma).square())


def to_trig(latent: Tensor, velocity: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Latent and velocity of a flow to TrigFlow's latent and F = dx/dt. sigma broadcasts to the latent."""
    n = norm(sigma)
    return latent / n, ((1 - 2 * sigma) * latent + n.square() * velocity) / n


def from_trig(latent: Tensor, change: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of `to_trig`."""
    n = norm(sigma)
    flow = n * latent
    return flow, (n * change - (1 - 2 * sigma) * flow) / n.square()


def draw_angles(count: int, mean: float, spread: float, generator: torch.Generator) -> Tensor:
    """Random angles whose tangent is log-normal, float32 on the CPU.

    sCM (Lu and Song 2024, arXiv 2410.11081, section 4) and SANA-Sprint draw tan(t) = exp(normal) / sigma_data: their
    sigma_data = 0.5 adds log 2 to the mean here.
    """
    return torch.atan(torch.exp(mean + spread * torch.randn(count, generator=generator)))
