"""A painter small enough that a distillation step takes milliseconds, and examples for it."""

import torch
from torch import nn

from dimrt.export.model.config import PainterConfig
from dimrt.export.model.painter import Painter
from dimrt.export.train.data.batch import Batch
from dimrt.export.train.distill.network import Teacher

WIDTH = 24


def small_teacher(prediction: str = "velocity", task: str = "edit", guidance: float = 2.0, seed: int = 0) -> Teacher:
    """A random painter of width 32 over 2-channel latents, with weights large enough that every path shows."""
    torch.manual_seed(seed)
    config = PainterConfig(task, 2, 32, 2, 2, 16, WIDTH, 6, prediction=prediction)
    painter = Painter(config)
    connector = nn.Sequential(nn.Linear(8, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
    return Teacher(painter, connector, guidance)


def small_batch(count: int = 3, task: str = "edit", seed: int = 0) -> Batch:
    """Latents of 4 x 4 and conditions of 3 to 5 rows."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.ones(count, 5)
    mask[0, 3:] = 0
    condition = torch.randn(count, 5, 8, generator=generator) * mask[:, :, None]
    target = torch.randn(count, 2, 4, 4, generator=generator)
    source = torch.randn(count, 2, 4, 4, generator=generator) if task == "edit" else None
    return Batch(target, source, condition, mask, [f"example {n}" for n in range(count)])


class SmallExamples:
    """Sixteen examples made of their numbers."""

    def __init__(self, task: str = "edit") -> None:
        self.task = task

    def __len__(self) -> int:
        return 16

    def sizes(self) -> list[tuple[int, int]]:
        return [(4, 4)] * 16

    def weights(self) -> list[float]:
        return [1.0] * 16

    def batch(self, indices: list[int]) -> Batch:
        rows = [small_batch(2, self.task, seed=index) for index in indices]
        return Batch(
            torch.stack([row.target[1] for row in rows]),
            None if self.task == "generate" else torch.stack([row.source[1] for row in rows]),
            torch.stack([row.condition[1] for row in rows]),
            torch.stack([row.mask[1] for row in rows]),
            [f"example {index}" for index in indices],
        )
