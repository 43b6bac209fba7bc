"""The training loop: turns of an objective's players, on one process or many, with exact resume.

A batch and its noise depend on (seed, step, part) alone, never on what ran before: a resumed run takes the same batches
and reaches the same losses as one that was never stopped. A part is what one process computes at once; parts are
numbered over all processes, so that two processes reach what one does that accumulates two parts.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from math import isfinite
from pathlib import Path
from typing import NoReturn

import torch

from dimrt.errors import Cancelled
from dimrt.export.train.average import Average
from dimrt.export.train.checkpoint import States, put_back
from dimrt.export.train.data.batch import Batch, Examples
from dimrt.export.train.data.order import Order
from dimrt.export.train.hooks import Hooks, TrainEvent
from dimrt.export.train.objective import Objective
from dimrt.export.train.player import Player
from dimrt.export.train.processes import Processes
from dimrt.export.train.record import Means, Record
from dimrt.export.train.settings import LoopSettings
from dimrt.export.train.shards import is_split, local, whole
from dimrt.export.train.stopping import interrupts, not_finite

PRIMES = (1_000_003, 8_191, 131)
"""Mixed into the seed so that (seed, step, part, turn) rarely meet in one generator."""


def train(
    objective: Objective,
    examples: Examples,
    settings: LoopSettings,
    folder: Path,
    hooks: Hooks | None = None,
    until: int | None = None,
) -> None:
    """Train `objective` in place to the last step, or go on with what `folder` holds.

    Writes into `folder`: `state/`, `log.jsonl`, `tensorboard/`, `samples/` and, with the hook, `checkpoint/`. At the
    end the objective holds the averaged parameters of its first player.

    Args:
        until: stop after this step (the rates are those of all steps), without an export unless it is the last.

    Raises:
        CheckFailed: a loss or gradient isn't finite; the message names step and examples, the state is kept.
        Cancelled: interrupted (SIGINT, SIGTERM); the state is saved.
        InputError: settings that don't fit the processes or the data, or a folder of another run.
    """
    run = Run(objective, examples, settings, folder, hooks or Hooks())
    try:
        run.go(min(settings.steps, until or settings.steps))
    finally:
        run.close()


class Run:
    """One run under way: everything between the objective and its folder."""

    def __init__(
        self, objective: Objective, examples: Examples, settings: LoopSettings, folder: Path, hooks: Hooks
    ) -> None:
        self.objective, self.examples, self.settings = objective, examples, settings
        self.folder, self.hooks = folder, hooks
        self.processes = Processes(settings, len(objective.players))
        self.order = Order.of(examples, settings.batch, settings.seed)
        folder.mkdir(parents=True, exist_ok=True)
        self.model = self.processes.prepare(objective)
        self.players = {name: Player(name, objective, settings) for name in objective.players}
        self.named = {name: value for player in self.players.values() for name, value in player.named.items()}
        first = self.players[objective.players[0]]
        self.average = Average(first.named, settings.average) if settings.average else None
        split = any(is_split(value) for value in self.named.values())
        self.states = States(
            folder, settings.keep, self.processes.rank, self.processes.world if split else 1, self.processes.meet
        )
        self.step = self.restore()
        self.saved_step, self.saved_time = self.step, time.monotonic()
        self.record = Record(folder, self.step) if self.processes.rank == 0 else None
        device = self.processes.device
        choose = (
            partial(torch.cuda.set_device, device) if device.type == "cuda" else None
        )  # a new thread's is the first
        self.ahead = ThreadPoolExecutor(1, initializer=choose)
        self.coming: tuple[int, Future[list[Batch]]] | None = None

    def go(self, end: int) -> None:
        """Train to step `end`."""
        self.objective.train()
        means, spent, counted = Means(), 0.0, 0
        with interrupts() as interrupted:
            while self.step < end:
                began = time.monotonic()
                self.advance(means)
                spent, counted = spent + time.monotonic() - began, counted + 1
                if self.step % self.settings.log_every == 0 or self.step == end:
                    self.log(means, spent / counted)
                    means, spent, counted = Means(), 0.0, 0
                if self.keep(end, interrupted) and self.step < self.settings.steps:
                    raise Cancelled(
                        f"stopped after step {self.step} of {self.settings.steps}; the state is saved in "
                        f"{self.states.folder}: give the same command with --resume to go on"
                    )
                self.watch(end)
        self.finish(end)

    def advance(self, means: Means) -> None:
        """One optimizer step of every player whose turn it is."""
        batches = self.batches(self.step)
        for turn, name in enumerate(self.objective.turns(self.step)):
            player = self.players[name]
            for other in self.players.values():
                other.take_turn(other is player)
            losses = self.backward(player, batches, turn, means)
            norm = player.clip()
            if not torch.isfinite(norm):
                self.stop_broken(player, batches, losses, first=turn == 0)
            means.add({f"{name}/gradient": norm})
            player.step(self.factor())
        self.step += 1
        if self.average is not None:
            self.average.update(self.step)

    def backward(self, player: Player, batches: list[Batch], turn: int, means: Means) -> list[float]:
        """Gradients of one player over this process's parts; returns the parts' losses."""
        losses = []
        for number, batch in enumerate(batches):
            part = self.processes.rank * len(batches) + number
            generator = seeded(self.settings.seed, self.step, part, turn)
            with self.processes.gradients(self.model, share=number == len(batches) - 1):
                with self.processes.accelerator.autocast():  # FSDP casts parameters alone, not what meets them
                    loss, figures = self.model(player.name, batch.to(self.processes.device), self.step, generator)
                self.processes.accelerator.backward(loss / len(batches))
            losses.append(loss.item())
            means.add({f"{player.name}/loss": losses[-1]} | {f"{player.name}/{n}": v for n, v in figures.items()})
        return losses

    def batches(self, step: int) -> list[Batch]:
        """This process's parts of a step; those of the next step are read meanwhile."""
        coming, self.coming = self.coming, None
        found = coming[1].result() if coming is not None and coming[0] == step else self.read(step)
        if step + 1 < self.settings.steps:
            self.coming = (step + 1, self.ahead.submit(self.read, step + 1))
        return found

    def read(self, step: int) -> list[Batch]:
        """This process's parts of a step, on the CPU."""
        parts, each = self.processes.parts, self.settings.accumulate
        numbers = range(self.processes.rank * each, (self.processes.rank + 1) * each)
        return [self.examples.batch(self.order.indices(step, part, parts)) for part in numbers]

    def factor(self) -> float:
        """Share of the peak rates for the next step."""
        rising = (self.step + 1) / max(1, self.settings.warmup)
        left = (self.settings.steps - self.step) / max(1.0, self.settings.steps * self.settings.decay)
        return min(1.0, rising, left)

    def log(self, means: Means, seconds: float) -> None:
        """Write down the figures since the last time, and tell of them."""
        gathered = self.processes.collect(means.sums)
        if self.record is None:
            return
        figures = means.merge(gathered)
        self.record.write(self.step, {**figures, "rate": self.factor(), "seconds_per_step": seconds})
        left = (self.settings.steps - self.step) * seconds
        self.hooks.on_event(TrainEvent(self.step, self.settings.steps, figures, seconds, left))

    def keep(self, end: int, interrupted: threading.Event) -> bool:
        """Save the state when it is time. Returns whether the run was interrupted, in any process."""
        due = time.monotonic() - self.saved_time > self.settings.save_minutes * 60 > 0 and self.processes.rank == 0
        stop, due = self.processes.agree(interrupted.is_set(), due)
        every = self.settings.save_every
        if stop or due or self.step == end or (every and self.step % every == 0):
            self.save()
        return stop

    def save(self) -> None:
        """Write the state, unless that of this step is there."""
        self.saved_time = time.monotonic()
        if self.saved_step == self.step:
            return
        state = {
            "parameters": {name: local(value) for name, value in self.named.items()},
            "optimizers": {name: player.optimizer.state_dict() for name, player in self.players.items()},
            "average": {} if self.average is None else self.average.values,
        }
        self.states.save(self.step, state)
        self.saved_step = self.step

    def restore(self) -> int:
        """Go on from the last state, if there is one. Returns the steps done."""
        state = self.states.load()
        if state is None:
            return 0
        place = self.states.folder
        put_back({name: local(value) for name, value in self.named.items()}, state["parameters"], place)
        for name, player in self.players.items():
            player.optimizer.load_state_dict(state["optimizers"][name])
        if self.average is not None:
            put_back(self.average.values, state["average"] or state["parameters"], place)
        return int(state["step"])

    def watch(self, end: int) -> None:
        """Samples and exports on the way."""
        sample, export = self.settings.sample_every, self.settings.export_every
        if self.hooks.sample and sample and (self.step % sample == 0 or self.step == end):
            with self.averaged():
                path = self.folder / "samples" / f"step-{self.step:06}.png"
                path.parent.mkdir(exist_ok=True)
                self.hooks.sample(self.step, path)
            self.processes.meet()
        if export and self.step % export == 0 and self.step < end:
            with self.averaged():
                self.export()

    def export(self) -> None:
        """Hand the whole parameters of the first player to the export hook."""
        if self.hooks.export is None:
            return
        first = self.players[self.objective.players[0]].named
        parameters = {}
        for name, value in first.items():
            gathered = whole(value)
            if self.processes.rank == 0:
                parameters[name] = gathered
        if self.processes.rank == 0:
            self.hooks.export(self.folder / "checkpoint", parameters)
        self.processes.meet()

    def finish(self, end: int) -> None:
        """Leave the averages in the objective, and export them after the last step."""
        for player in self.players.values():
            player.take_turn(True)
        if self.average is not None:
            self.average.swap()
        self.objective.eval()
        if end == self.settings.steps:
            self.export()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The objective in evaluation mode with its averages, without gradients."""
        if self.average is not None:
            self.average.swap()
        self.objective.eval()
        together = hasattr(self.objective, "unshard")  # FSDP: modules are called by themselves, not through the root
        try:
            if together:
                self.objective.unshard()
            with torch.no_grad(), self.processes.accelerator.autocast():
                yield
        finally:
            if together:
                self.objective.reshard()
            self.objective.train()
            if self.average is not None:
                self.average.swap()

    def stop_broken(self, player: Player, batches: list[Batch], losses: list[float], first: bool) -> NoReturn:
        """Raise for a loss or gradient that isn't finite, in every process; nothing of this turn has been learned.

        `first`: whether no other player has learned in this step, so that the state can be saved.
        """
        for other in self.players.values():
            other.forget()
        if first:
            self.save()
        broken = [key for batch, loss in zip(batches, losses, strict=True) if not isfinite(loss) for key in batch.keys]
        found = self.processes.collect((broken, [key for batch in batches for key in batch.keys]))
        kept = self.states.steps()
        raise not_finite(self.step, player.name, found, kept[-1] if kept else 0)

    def close(self) -> None:
        """Stop reading ahead and close the log."""
        self.ahead.shutdown(cancel_futures=True)
        if self.record is not None:
            self.record.close()


def seeded(seed: int, step: int, part: int, turn: int) -> torch.Generator:
    """The generator of one part of one turn of one step. torch's own random numbers are seeded alike, for what draws
    from them."""
    number = ((seed * PRIMES[0] + step) * PRIMES[1] + part) * PRIMES[2] + turn
    torch.manual_seed(number % 2**63)
    return torch.Generator().manual_seed(number % 2**63)
