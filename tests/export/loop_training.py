"""Small things to train and runs of them in one or two processes: a process that is spawned imports this by name."""

import json
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from dimrt.export.train.data.batch import Batch
from dimrt.export.train.hooks import Hooks, TrainEvent
from dimrt.export.train.loop import train
from dimrt.export.train.objective import Objective
from dimrt.export.train.settings import LoopSettings, OptimizerSettings

WIDTH = 6


class Points:
    """`count` pairs: a source of random numbers and a target made of it. `broken` ones have a target of NaN."""

    def __init__(self, count: int = 48, broken: Sequence[int] = ()) -> None:
        generator = torch.Generator().manual_seed(9)
        self.source = torch.randn(count, WIDTH, 1, 1, generator=generator)
        self.target = self.source.flip(1) * 0.5 + self.source.square().mean(1, keepdim=True)
        self.target[list(broken)] = torch.nan

    def __len__(self) -> int:
        return len(self.source)

    def sizes(self) -> Sequence[tuple[int, int]]:
        return [(1, 1)] * len(self)

    def weights(self) -> Sequence[float]:
        return [1.0] * len(self)

    def batch(self, indices: Sequence[int]) -> Batch:
        chosen = list(indices)
        count = len(chosen)
        return Batch(
            target=self.target[chosen],
            source=self.source[chosen],
            condition=torch.ones(count, 2, 3),
            mask=torch.ones(count, 2),
            keys=[f"point-{index}" for index in chosen],
        )


class Line(Objective):
    """A small network from source to target; a little noise shows whether the generators are the same."""

    outer = ("net.4",)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Sequential(
            nn.Linear(WIDTH, 12), nn.SiLU(), nn.Linear(12, 12), nn.LayerNorm(12), nn.Linear(12, WIDTH)
        )
        self.net.add_module("dropout", nn.Dropout(0.1))

    def loss(
        self, player: str, batch: Batch, step: int, generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        noise = torch.randn(batch.target.shape, generator=generator) * 0.01
        error = self.net((batch.source + noise).flatten(1)) - batch.target.flatten(1)
        loss = error.square().mean()
        return loss, {"worst": error.abs().max()}


class Duel(Objective):
    """Two players: one imitates, the other, every second step, learns to tell imitations from targets."""

    players = ("student", "critic")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.student, self.critic = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)

    def parameters_of(self, player: str):
        return (pair for pair in self.named_parameters() if pair[0].startswith(player))

    def turns(self, step: int) -> tuple[str, ...]:
        return ("student", "critic") if step % 2 else ("student",)

    def loss(self, player, batch, step, generator):
        painted = self.student(batch.source.flatten(1))
        if player == "student":
            return (painted - batch.target.flatten(1)).square().mean() - 0.1 * self.critic(painted).mean(), {}
        return (self.critic(painted.detach()).square() + (self.critic(batch.target.flatten(1)) - 1).square()).mean(), {}


def settings(**changes: object) -> LoopSettings:
    """A short run on the CPU."""
    facts = {"steps": 12, "batch": 8, "warmup": 3, "decay": 0.3, "average": 0.9, "log_every": 1, "seed": 4}
    optimizer = {"painter": OptimizerSettings(rate=5e-3)}
    return LoopSettings(**{**facts, "optimizer": optimizer, **changes})


def losses(folder: Path, player: str = "painter") -> dict[int, float]:
    """The logged loss of each step."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line[f"{player}/loss"] for line in lines if f"{player}/loss" in line}


def run_two(folder: Path) -> None:
    """Every run of this module that takes two processes, each in a folder of its own below `folder`, in two processes
    as `accelerate launch` starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_enter, (port, folder), nprocs=2)


def _enter(rank: int, port: int, folder: Path) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }
    torch.set_num_threads(1)
    _train_plainly(rank, folder / "plain")
    _train_plainly(rank, folder / "begun by one")
    train(Duel(), Points(), settings(), folder / "duel")
    _train_split(folder / "split", 7)
    _train_split(folder / "split", None)
    _train_split(folder / "half", None, precision="bf16")
    torch.distributed.barrier()  # none goes while the other still talks to it
    torch.distributed.destroy_process_group()


def _train_plainly(rank: int, folder: Path) -> None:
    """A run whose parameters every process holds."""
    objective = Line()
    train(objective, Points(), settings(), folder)
    if rank == 0:
        torch.save(objective.state_dict(), folder / "result.pt")


def _train_split(folder: Path, until: int | None, precision: str = "fp32") -> None:
    """A run whose parameters are split over the processes; the whole ones are exported. In bfloat16 they are cast as
    accelerate has FSDP do it."""
    objective = Line()
    fully_shard(objective, mp_policy=MixedPrecisionPolicy(torch.bfloat16 if precision == "bf16" else None))

    def export(_folder: Path, parameters: Mapping[str, Tensor]) -> None:
        torch.save(dict(parameters), folder / f"result-{until}.pt")

    def sample(step: int, path: Path) -> None:
        """What the network makes of one point, called by itself as a painter is."""
        made = objective.net(Points().source[:1].flatten(1))
        if torch.distributed.get_rank() == 0:
            torch.save(made, path.with_suffix(".pt"))

    train(
        objective,
        Points(),
        settings(sample_every=6, precision=precision),
        folder,
        Hooks(export=export, sample=sample),
        until=until,
    )


def train_and_die(folder: Path) -> None:
    """A run whose process is killed in its eighth step, to be called in a process of its own."""

    def die(event: TrainEvent) -> None:
        if event.step == 8:
            os.kill(os.getpid(), signal.SIGKILL)

    train(Line(), Points(), settings(save_every=3), folder, Hooks(on_event=die))
