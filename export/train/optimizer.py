"""Muon for matrices and AdamW for the rest, in one optimizer object.

Muon (Jordan et al., 2024) makes each matrix update orthogonal by five Newton-Schulz steps. torch's own Muon takes 2-D
parameters alone and computes in bfloat16, which is slower than float32 on CPUs without matrix units; here 1x1
convolutions count as matrices, equal shapes are computed in one batch, in float32, and the work is shared by processes.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the odd quintic that pushes singular values towards 1."""
ITERATIONS = 5


@dataclass(frozen=True)
class Rates:
    """Peak learning rates: `matrix` for Muon (an update has root mean square 0.2 * rate), `other` for AdamW."""

    matrix: float = 2e-2
    other: float = 2e-3
    weight_decay: float = 0.01


def orthogonal(update: Tensor) -> Tensor:
    """Matrices [n, rows, columns] with singular values pushed to about 1."""
    flip = update.shape[1] > update.shape[2]
    x = update.transpose(1, 2) if flip else update
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(ITERATIONS):
        gram = x @ x.transpose(1, 2)
        x = a * x + torch.baddbmm(b * gram, gram, gram, alpha=c) @ x
    return x.transpose(1, 2) if flip else x


class MatrixOptimizer:
    """Muon and AdamW over a module's parameters. `matrices` are the names that Muon takes, the parameters whole."""

    def __init__(
        self,
        named: dict[str, nn.Parameter],
        matrices: set[str],
        rates: Rates,
        betas: tuple[float, float] = (0.9, 0.98),
        epsilon: float = 1e-8,
    ) -> None:
        self.rates = rates
        self.groups: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
        for name in sorted(matrices):
            self.groups[_rows_columns(named[name])].append(named[name])
        self.momentum = {
            shape: torch.zeros(len(group), *shape, device=group[0].device) for shape, group in self.groups.items()
        }
        others = [parameter for name, parameter in named.items() if name not in matrices]
        self.adam = torch.optim.AdamW(others, lr=rates.other, betas=betas, eps=epsilon, weight_decay=0.0)

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """One update from the parameters' gradients; `factor` scales both rates (warm-up, decay)."""
        for group in self.adam.param_groups:
            group["lr"] = self.rates.other * factor
        self.adam.step()
        for shape, group in self.groups.items():
            gradient = torch.stack([p.grad.reshape(shape) for p in group])
            momentum = self.momentum[shape].lerp_(gradient, 0.05)
            update = shared_orthogonal(gradient.lerp(momentum, 0.95))
            rate = self.rates.matrix * factor
            for parameter, change in zip(group, update, strict=True):
                parameter.mul_(1 - rate * self.rates.weight_decay)
                parameter.add_(change.reshape(parameter.shape), alpha=-rate * 0.2 * max(shape) ** 0.5)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {"adam": self.adam.state_dict(), "momentum": {f"{r}x{c}": m for (r, c), m in self.momentum.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`, into an optimizer over the same parameters."""
        self.adam.load_state_dict(state["adam"])
        for (rows, columns), momentum in self.momentum.items():
            momentum.copy_(state["momentum"][f"{rows}x{columns}"])


def shared_orthogonal(update: Tensor) -> Tensor:
    """`orthogonal`, each process computing its share of the matrices."""
    if not dist.is_initialized():
        return orthogonal(update)
    size, rank = dist.get_world_size(), dist.get_rank()
    each = -(-len(update) // size)
    padded = torch.cat([update, update.new_zeros(each * size - len(update), *update.shape[1:])])
    mine = orthogonal(padded[rank * each : (rank + 1) * each])
    parts = [torch.empty_like(mine) for _ in range(size)]
    dist.all_gather(parts, mine.contiguous())
    return torch.cat(parts)[: len(update)]


def _rows_columns(parameter: nn.Parameter) -> tuple[int, int]:
    return parameter.shape[0], parameter[0].numel()


def hidden_matrices(module: nn.Module, except_: tuple[str, ...] = ()) -> set[str]:
    """Names of weights that are matrices: linear layers and 1x1 convolutions, without the given name prefixes."""
    names = set()
    for name, parameter in module.named_parameters():
        pointwise = parameter.ndim == 4 and parameter.shape[2:] == (1, 1)
        if (parameter.ndim == 2 or pointwise) and name.endswith("weight") and not name.startswith(except_):
            names.add(name)
    return names
