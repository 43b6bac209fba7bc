"""How much memory a training run takes, before it starts: what is known without running it."""

from dataclasses import dataclass

import torch

from dimrt.errors import ResourceError
from dimrt.export.train.objective import Objective
from dimrt.export.train.processes import Processes
from dimrt.export.train.settings import LoopSettings, OptimizerSettings
from dimrt.host import available_memory

VALUE = 4
"""Bytes of a number: parameters, gradients, moments and averages are float32."""


@dataclass(frozen=True)
class Estimate:
    """Numbers under training, and bytes a process needs for them with gradients, optimizer and averages. Activations
    aren't in it: they depend on the batch, and a dry run shows whether they fit.
    """

    parameters: int
    bytes: int
    available: int | None


def estimate(objective: Objective, settings: LoopSettings, processes: Processes) -> Estimate:
    """What a run of this objective takes in each process; FSDP shares it among them."""
    parameters, total = 0, 0
    frozen = objective.frozen_bytes()
    for number, player in enumerate(objective.players):
        chosen = settings.optimizer.get(player, OptimizerSettings())
        matrices = objective.matrices_of(player) if chosen.name == "muon" else set()
        for name, value in objective.parameters_of(player):
            copies = 3 if name in matrices else 4
            copies += 1 if number == 0 and settings.average else 0
            parameters += value.numel()
            total += copies * VALUE * value.numel()
    shares = processes.world if processes.splits else 1
    return Estimate(parameters, total // shares + frozen, _available(processes.device))


def check_memory(found: Estimate) -> None:
    """Refuse a run that can't fit.

    Raises:
        ResourceError: with both numbers.
    """
    if found.available is not None and found.bytes > found.available:
        raise ResourceError(
            f"the run needs {found.bytes:,} bytes for parameters, gradients, optimizer and averages, and "
            f"{found.available:,} are available; share them among GPUs with FSDP (presets/accelerate/fsdp.yaml), set "
            "loop.average=0, or use a device with more"
        )


def _available(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory() if device.type == "cpu" else None
