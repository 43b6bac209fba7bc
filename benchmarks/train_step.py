"""Time of one training step of nano's painter: this project's loop against a plain diffusers-style loop.

`python benchmarks/train_step.py`. The other side is written as diffusers' own training scripts are: accelerate, the
library's model, `compute_density_for_timestep_sampling`, AdamW, gradient clipping, `EMAModel`. Both sides train the
same weights on batches held in memory, with the same objective (flow matching, velocity), one thread, in turns of a few
steps so that other work on the machine hits both alike. The loop's side includes what it does in every step beside:
order, noise drawn by step, the check for numbers that aren't finite, averages, and the sums for its log.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from accelerate import Accelerator
from common import write_result
from diffusers import SanaTransformer2DModel
from diffusers.training_utils import EMAModel, compute_density_for_timestep_sampling
from torch import nn

from dimrt.export.model.assembly import make_connector
from dimrt.export.model.painter import Painter
from dimrt.export.nano.designer import HIDDEN
from dimrt.export.nano.painter import painter_config
from dimrt.export.train.data.batch import Batch
from dimrt.export.train.flow import FlowObjective, FlowSettings
from dimrt.export.train.hooks import Hooks
from dimrt.export.train.loop import Run
from dimrt.export.train.record import Means
from dimrt.export.train.settings import LoopSettings, OptimizerSettings

SHIFT, DROP, CLIP, RATE, DECAY = 3.0, 0.1, 1.0, 1e-4, 0.999
ROWS = 96
"""Rows of a condition: nano's turns have 60 to 110."""


class Pictures:
    """Random latents of 128-pixel pictures with conditions."""

    def __init__(self, count: int) -> None:
        draw = torch.Generator().manual_seed(0)
        self.latents = torch.randn(2, count, 32, 16, 16, generator=draw)
        self.condition = torch.randn(count, ROWS, HIDDEN, generator=draw)

    def __len__(self) -> int:
        return len(self.condition)

    def sizes(self) -> Sequence[tuple[int, int]]:
        return [(16, 16)] * len(self)

    def weights(self) -> Sequence[float]:
        return [1.0] * len(self)

    def batch(self, indices: Sequence[int]) -> Batch:
        chosen = list(indices)
        keys = [str(index) for index in chosen]
        mask = torch.ones(len(chosen), ROWS)
        return Batch(self.latents[0, chosen], self.latents[1, chosen], self.condition[chosen], mask, keys)


def new_painter() -> tuple[Painter, nn.Module]:
    """Nano's painter of a velocity, and its connector, the same at every call."""
    torch.manual_seed(0)
    return Painter(replace(painter_config(), prediction="velocity")), make_connector(HIDDEN, HIDDEN)


def our_side(batch: int, pictures: Pictures, folder: Path) -> Callable[[], None]:
    """One step of this project's loop."""
    painter, connector = new_painter()
    optimizer = {"painter": OptimizerSettings(rate=RATE, weight_decay=0.0)}
    settings = LoopSettings(steps=10**6, batch=batch, average=DECAY, clip=CLIP, optimizer=optimizer)
    run = Run(FlowObjective(painter, connector, FlowSettings(SHIFT, drop=DROP)), pictures, settings, folder, Hooks())
    return lambda: run.advance(Means())


def plain_side(batch: int, pictures: Pictures) -> Callable[[], None]:
    """One step of a loop as diffusers' scripts write it."""
    painter, connector = new_painter()
    accelerator = Accelerator()
    null = painter.null_condition
    model: SanaTransformer2DModel = painter.transformer
    trained = [*model.parameters(), *connector.parameters(), null]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
    average = EMAModel(trained, decay=DECAY, foreach=True)
    model, connector, optimizer = accelerator.prepare(model, connector, optimizer)
    order = torch.utils.data.RandomSampler(range(len(pictures)), replacement=True, num_samples=10**6)
    numbers = iter(torch.utils.data.BatchSampler(order, batch, drop_last=True))

    def step() -> None:
        data = pictures.batch(next(numbers))
        noise = torch.randn_like(data.target)
        u = compute_density_for_timestep_sampling("logit_normal", batch, 0.0, 1.0)
        sigma = SHIFT * u / (1 + (SHIFT - 1) * u)
        noisy = (1 - sigma[:, None, None, None]) * data.target + sigma[:, None, None, None] * noise
        dropped = torch.rand(batch) < DROP
        condition = torch.where(dropped[:, None, None], null[None, :ROWS], connector(data.condition))
        given = torch.cat([noisy, data.source], dim=1)
        times = (sigma * 1000).trunc()
        output = model(given, condition, times, encoder_attention_mask=data.mask, return_dict=False)[0]
        loss = nn.functional.mse_loss(output.float(), (noise - data.target).float())
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        average.step(trained)
        loss.detach().item()

    return step


def measure(sides: dict[str, Callable[[], None]], turns: int, each: int) -> dict[str, dict[str, float]]:
    """Seconds of wall clock and of processor per step, median over the turns, after a first turn that isn't counted."""
    wall: dict[str, list[float]] = {name: [] for name in sides}
    busy: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(turns + 1):
        for name, step in sides.items():
            began, worked = time.perf_counter(), time.process_time()
            for _ in range(each):
                step()
            if turn:
                wall[name].append((time.perf_counter() - began) / each)
                busy[name].append((time.process_time() - worked) / each)
    return {
        name: {
            "wall_seconds": round(statistics.median(wall[name]), 4),
            "processor_seconds": round(statistics.median(busy[name]), 4),
            "fastest_processor_seconds": round(min(busy[name]), 4),
        }
        for name in sides
    }


def main() -> None:
    """Measure and write benchmarks/results/train-step.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--each", type=int, default=2, help="Steps of one side before the other's turn.")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    pictures = Pictures(4 * given.batch)
    with TemporaryDirectory() as folder:
        sides = {"dimrt": our_side(given.batch, pictures, Path(folder)), "diffusers": plain_side(given.batch, pictures)}
        found = measure(sides, given.turns, given.each)
    parameters = sum(value.numel() for module in new_painter() for value in module.parameters())
    settings = {"batch": given.batch, "turns": given.turns, "steps_a_turn": given.each, "parameters": parameters}
    ratio = found["dimrt"]["processor_seconds"] / found["diffusers"]["processor_seconds"]
    write_result("train-step", settings, {**found, "processor_ratio": round(ratio, 3)}, given.out)


if __name__ == "__main__":
    main()
