"""A small module to train, and its training in one of two processes: a process that is spawned imports this by name."""

from pathlib import Path

import torch
from torch import nn

from dimrt.export.train.trainer import Settings, Trainer, join_processes


def small_module() -> nn.Module:
    """The same weights at every call."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 12), nn.SiLU(), nn.Linear(12, 12), nn.LayerNorm(12), nn.Linear(12, 2))


def half_loss(module: nn.Module, step: int, half: int) -> torch.Tensor:
    """The loss of one half of the batch of a step."""
    x = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(step))[half]
    return (module(x) - x[:, :2]).square().mean()


def train_beside(rank: int, folder: Path) -> None:
    """Five steps on this process's half, in a group of two."""
    join_processes(rank, 2, folder / "meeting")
    module = small_module()

    def loss(step: int, _generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        return half_loss(module, step, rank), {}

    Trainer(module, loss, Settings(steps=5, warmup=1), folder / "two").run()
