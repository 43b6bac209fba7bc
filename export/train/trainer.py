"""One training loop for every stage: gradients, optimizer, average, log, checkpoints and exact resume.

A batch depends on (seed, step, process) alone, never on what ran before: a resumed run takes the same batches and
reaches the same losses as one that was never stopped.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dimrt.export.train.average import Average
from dimrt.export.train.optimizer import MatrixOptimizer, Rates, hidden_matrices
from dimrt.files import atomic_write

Loss = Callable[[int, torch.Generator], tuple[Tensor, dict[str, float]]]
"""(step, generator) to (loss, figures for the log). The generator is seeded for this step and process."""


@dataclass(frozen=True)
class Settings:
    """Length and habits of a run. Rates rise over `warmup` steps and fall linearly over the last `decay` share."""

    steps: int
    rates: Rates = field(default_factory=Rates)
    warmup: int = 100
    decay: float = 0.3
    average: float = 0.998
    clip: float = 1.0
    seed: int = 0
    log_every: int = 50
    save_seconds: float = 180.0


class Trainer:
    """Trains `module` in place, writing `state.pt` and `log.jsonl` into `folder`; continues from `state.pt` if there.

    `adamw` names parameter prefixes that AdamW takes although they are matrices (outer layers, embeddings).
    """

    def __init__(
        self, module: nn.Module, loss: Loss, settings: Settings, folder: Path, adamw: tuple[str, ...] = ()
    ) -> None:
        self.module, self.loss, self.settings, self.folder = module, loss, settings, folder
        named = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.parameters = list(named.values())
        self.optimizer = MatrixOptimizer(named, hidden_matrices(module, adamw) & named.keys(), settings.rates)
        self.average = Average(dict(module.named_parameters()), settings.average)
        self.step = 0
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "state.pt").exists():
            self.restore()

    def factor(self) -> float:
        """Share of the peak rates for the next step."""
        rising = (self.step + 1) / max(1, self.settings.warmup)
        left = (self.settings.steps - self.step) / max(1.0, self.settings.steps * self.settings.decay)
        return min(1.0, rising, left)

    def run(self, until: int | None = None, on_save: Callable[[int], None] | None = None) -> None:
        """Train to step `until` (default: the end). `on_save(step)` is called in process 0 after each checkpoint."""
        end = min(self.settings.steps, until or self.settings.steps)
        saved, sums, started = time.monotonic(), {}, time.monotonic()
        while self.step < end:
            for name, value in self.advance().items():
                sums[name] = sums.get(name, 0.0) + value
            if self.step % self.settings.log_every == 0 or self.step == end:
                done = (self.step - 1) % self.settings.log_every + 1
                self.log({n: v / done for n, v in sums.items()}, (time.monotonic() - started) / done)
                sums, started = {}, time.monotonic()
            if time.monotonic() - saved > self.settings.save_seconds or self.step == end:
                self.save()
                if on_save and self.rank == 0:
                    on_save(self.step)
                saved = started = time.monotonic()

    def advance(self) -> dict[str, float]:
        """One step. Returns its figures."""
        generator = torch.Generator().manual_seed((self.settings.seed * 1_000_003 + self.step) * 64 + self.rank)
        loss, figures = self.loss(self.step, generator)
        loss.backward()
        self._share_gradients()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        self.optimizer.step(self.factor())
        for parameter in self.parameters:
            parameter.grad = None
        self.step += 1
        self.average.update(self.step)
        return {"loss": loss.item(), "gradient": norm.item(), **figures}

    def _share_gradients(self) -> None:
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.world == 1:
            return
        flat = torch.cat([p.grad.flatten() for p in self.parameters])
        dist.all_reduce(flat)
        for parameter, part in zip(self.parameters, flat.split([p.numel() for p in self.parameters]), strict=True):
            parameter.grad.copy_(part.view_as(parameter) / self.world)

    def log(self, figures: dict[str, float], seconds: float) -> None:
        """Append one line to `log.jsonl` (process 0)."""
        if self.rank == 0:
            line = {"step": self.step, "seconds_per_step": round(seconds, 4), "rate": round(self.factor(), 4)}
            line |= {name: round(value, 5) for name, value in figures.items()}
            with (self.folder / "log.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Write `state.pt` atomically (process 0)."""
        if self.rank == 0:
            state = {
                "step": self.step,
                "module": self.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average.values,
            }
            with atomic_write(self.folder / "state.pt") as file:
                torch.save(state, file)

    def restore(self) -> None:
        """Continue from `state.pt`."""
        state = torch.load(self.folder / "state.pt", weights_only=True)
        self.step = state["step"]
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, value in state["average"].items():
            self.average.values[name].copy_(value)


def averaged(module: nn.Module, folder: Path) -> nn.Module:
    """The module with the averaged parameters of the checkpoint in `folder`, for use."""
    state = torch.load(folder / "state.pt", weights_only=True)
    module.load_state_dict(state["module"])
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(state["average"][name])
    return module.eval()


def join_processes(rank: int, world: int, meeting: Path) -> None:
    """Enter a group of `world` CPU processes on this machine that meet at a fresh file `meeting`."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // world))
    dist.init_process_group("gloo", init_method=f"file://{meeting.resolve()}", rank=rank, world_size=world)
