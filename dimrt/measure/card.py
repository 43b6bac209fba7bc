"""The device card: what a measurement was made on, said before any number."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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
        threads: of the processor, as they were asked for; None where the runtime chooses.
    """
    state = clocks.state(root)
    gpu = state.get("gpu", {})
    return {
        "board": board.board(root),
        "processor": board.processor(root),
        "features": board.features(root),
        "cores": board.cores(root),
        "threads": threads,
        "memory_bytes": total_memory(),
        "memory_free_bytes": available_memory(),
        "system": board.system(root),
        "power_mode": clocks.power_mode(root),
        "clocks": state["clocks"],
        "gpu": gpu.get("name"),
        "driver": gpu.get("driver_version"),
        "provider": provider,
        "versions": versions(),
        "state": state,
    }


def versions() -> dict[str, str]:
    """Python and the installed packages of the runtime."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
