"""What an export needs of the machine, against what there is, before the long work."""

from pathlib import Path

import torch

from dimrt.errors import ResourceError
from dimrt.host import available_memory, free_disk

BASE_BYTES, BYTES_A_VALUE = 1_000_000_000, 13
"""Memory of an export: libraries and traced graphs, and so much for each value of the largest tensor, which is held as
stored, converted and transposed while it is written, and by torch and ONNX Runtime in float32 while it is compared.

Measured: benchmarks/results/export-size.json (4.8 GB for 311 million values), nano (0.8 GB)."""
MARGIN_BYTES = 64 * 2**20
"""Disk for the graphs without their weights, the tokenizer and the journal."""


def check_disk(folder: Path, needed: int, kept: int) -> None:
    """Refuse when `needed` bytes don't fit where `folder` is; `kept` of them are there already.

    Raises:
        ResourceError: with both numbers.
    """
    free = free_disk(folder)
    missing = needed + MARGIN_BYTES - kept
    if missing > free:
        raise ResourceError(
            f"{folder}: the bundle needs {needed:,} bytes, {missing:,} of them still to be written, and {free:,} are "
            "free there; free some space or write to another disk with --out"
        )


def check_memory(largest: int) -> None:
    """Refuse when memory is too small for an export whose largest tensor has so many values.

    Raises:
        ResourceError: with both numbers.
    """
    needed = BASE_BYTES + BYTES_A_VALUE * largest
    available = available_memory()
    if available is not None and needed > available:
        raise ResourceError(
            f"the export needs about {needed:,} bytes of memory, and {available:,} are available; close other "
            "programs or use a machine with more"
        )


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory gave out: torch's CPU allocator does so in a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
