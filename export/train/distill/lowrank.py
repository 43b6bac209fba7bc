"""Low-rank adapters on a painter's products (Hu et al. 2021, arXiv 2106.09685), merged before anything is written.

They are parametrizations of the weights themselves, W + (scale / rank) B A, so that the painter stays the same module:
the teacher's weight is kept as the original and takes no gradients. Of B A, B starts at zero: training starts at the
teacher.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dimrt.errors import InputError

KINDS = (nn.Linear, nn.Conv2d)


class LowRank(nn.Module):
    """Adds scale / rank * B A to a weight [out, in] or [out, in, 1, 1]."""

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        outputs, inputs = weight.shape[0], weight[0].numel()
        self.factor = scale / rank
        self.down = nn.Parameter(torch.empty(rank, inputs, dtype=weight.dtype, device=weight.device))
        self.up = nn.Parameter(torch.zeros(outputs, rank, dtype=weight.dtype, device=weight.device))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """The adapted weight."""
        return weight + (self.factor * (self.up @ self.down)).view_as(weight)


def adapt(module: nn.Module, rank: int, scale: float | None = None) -> list[str]:
    """Freeze a module and put adapters on its linear layers and 1x1 convolutions.

    Args:
        rank: of the adapters; a product that is smaller gets none.
        scale: alpha of the paper; the rank itself when None.

    Returns:
        Names of the adapted layers.

    Raises:
        InputError: no layer is large enough.
    """
    module.requires_grad_(False)
    chosen = [
        (name, part)
        for name, part in module.named_modules()
        if isinstance(part, KINDS) and _is_product(part) and min(part.weight.shape[:2]) > rank
    ]
    if not chosen:
        raise InputError(f"lora.rank {rank}: no layer of this painter is wider than that; give a smaller rank")
    for _, part in chosen:
        parametrize.register_parametrization(part, "weight", LowRank(part.weight, rank, scale or float(rank)))
    return [name for name, _ in chosen]


def merge(module: nn.Module) -> None:
    """Write the adapted weights into the layers and drop the adapters: the same outputs, bit for bit."""
    for part in list(module.modules()):
        if parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight", leave_parametrized=True)


def load(module: nn.Module, parameters: Mapping[str, Tensor]) -> None:
    """Write trained parameters (of all, or of the adapters alone) into a module of the same build."""
    named = dict(module.named_parameters())
    with torch.no_grad():
        for name, value in parameters.items():
            named[name].copy_(value)


def _is_product(part: nn.Module) -> bool:
    return isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1))
