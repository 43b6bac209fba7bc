"""The device card: what a measurement was made on, said before any number."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dimrt.backends.cores import choose_threads, usable_cores
from dimrt.backends.cuda import Device, Facts
from dimrt.backends.onnxruntime import PROVIDERS
from dimrt.errors import ResourceError
from dimrt.host import available_memory, total_memory
from dimrt.measure import board, clocks

PACKAGES = (
    *("dimrt", "numpy", "pillow", "tokenizers", "onnxruntime", "onnxruntime-gpu"),
    *("tensorrt", "tensorrt_rtx", "cuda-bindings"),
)


def device_card(provider: str, threads: int | None, root: Path = board.ROOT) -> dict[str, Any]:
    """Everything that is known of this machine and decides its numbers; None where it doesn't say.

    Args:
        provider: what really runs (`Backend.name`).
        threads: of the processor, as they were asked for; None where that is left to the machine.
    """
    state = clocks.state(root)
    gpu = state.get("gpu", {})
    card = None if PROVIDERS["cpu"] in provider else graphics_card()
    return {
        "board": board.board(root),
        "processor": board.processor(root),
        "features": board.features(root),
        "cores": board.cores(root),
        "threads": choose_threads(usable_cores(root)).count if threads is None else threads,
        "memory_bytes": total_memory(),
        "memory_free_bytes": available_memory(),
        "system": board.system(root),
        "power_mode": clocks.power_mode(root),
        "clocks": state["clocks"],
        "gpu": gpu.get("name") or (card and card.name),
        "driver": gpu.get("driver_version") or (card and f"for CUDA {card.driver}"),
        "compute_capability": card and card.capability,
        "gpu_memory_bytes": card and card.memory_bytes,
        "provider": provider,
        "versions": versions(),
        "state": state,
    }


def graphics_card() -> Facts | None:
    """What the driver says of the GPU; None without one, or without cuda-bindings to ask it with."""
    try:
        return Device().facts
    except ResourceError:
        return None


def versions() -> dict[str, str]:
    """Python and the installed packages of the runtime."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
