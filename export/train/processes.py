"""The processes of a run, through accelerate: where the parameters live, and what the processes agree on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, gather_object
from torch import nn

from dimrt.errors import InputError
from dimrt.export.train.objective import Objective
from dimrt.export.train.settings import LoopSettings
from dimrt.export.train.shards import is_split

Item = TypeVar("Item")


class Processes:
    """This process among those of the run, started by `accelerate launch` or alone.

    Attributes:
        rank, world: number of this process and of all.
        device: where its batches and parameters live.
    """

    def __init__(self, settings: LoopSettings, players: int = 1) -> None:
        parallel = DistributedDataParallelKwargs(find_unused_parameters=players > 1)
        precision = "bf16" if settings.precision == "bf16" else "no"
        if AcceleratorState._shared_state and AcceleratorState().mixed_precision != precision:
            AcceleratorState._reset_state()  # accelerate keeps one precision a process; this run wants another
        self.accelerator = Accelerator(mixed_precision=precision, kwargs_handlers=[parallel])
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        self.device = self.accelerator.device
        self.parts = self.world * settings.accumulate
        if settings.batch % self.parts:
            raise InputError(
                f"batch = {settings.batch} can't be split evenly into {self.world} process(es) times accumulate = "
                f"{settings.accumulate}; choose a multiple of {self.parts}"
            )

    @property
    def splits(self) -> bool:
        """Whether parameters are split over the processes (FSDP)."""
        return self.accelerator.distributed_type == DistributedType.FSDP

    def prepare(self, objective: Objective) -> nn.Module:
        """The objective on its device, wrapped so that gradients are shared. Under FSDP its parameters are split."""
        if any(is_split(parameter) for parameter in objective.parameters()):
            return objective
        if self.splits:
            if not self.accelerator.is_fsdp2:
                raise InputError("FSDP version 1 isn't supported: set fsdp_version: 2 in the accelerate configuration")
            stand_in = torch.optim.SGD(objective.parameters(), lr=0.0)  # FSDP2 asks for one; ours come afterwards
            return self.accelerator.prepare(objective, stand_in)[0]
        return self.accelerator.prepare_model(objective)

    @contextmanager
    def gradients(self, model: nn.Module, share: bool) -> Iterator[None]:
        """A backward pass; with `share`, the sums of all passes so far are averaged over the processes at its end."""
        if share or self.world == 1:
            yield
            return
        if hasattr(model, "set_requires_gradient_sync"):
            model.set_requires_gradient_sync(False)
            yield
            model.set_requires_gradient_sync(True)
            return
        with self.accelerator.no_sync(model):
            yield

    def agree(self, *wishes: bool) -> tuple[bool, ...]:
        """For each wish, whether any process has it."""
        if self.world == 1:
            return wishes
        votes = torch.tensor([float(wish) for wish in wishes], device=self.device)
        return tuple(bool(vote) for vote in self.accelerator.reduce(votes, reduction="sum").cpu() > 0)

    def collect(self, item: Item) -> list[Item]:
        """One item of each process, in order, in every process."""
        return list(gather_object([item])) if self.world > 1 else [item]

    def meet(self) -> None:
        """Wait until every process has come as far."""
        self.accelerator.wait_for_everyone()
