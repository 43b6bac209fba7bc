"""What every measurement records beside its numbers: the machine, the versions, the settings."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "dimrt",
    "numpy",
    "onnxruntime",
    "pillow",
    "tokenizers",
    "msgspec",
    "click",
    "torch",
    "transformers",
    "diffusers",
)


def machine() -> dict[str, Any]:
    """The machine in a few words: processor, cores, memory, system, and how busy it was."""
    # Imported here, so that measuring a process's memory with this module loads nothing of dimrt.
    from dimrt.host import total_memory
    from dimrt.measure.board import processor

    memory = total_memory()
    return {
        "processor": processor(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": None if memory is None else round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "load_average": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Python and the installed packages among `packages`."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_result(name: str, settings: dict[str, Any], measured: dict[str, Any], out: Path | None = None) -> Path:
    """Write `benchmarks/results/<name>.json` and print the same document as the last line of the output."""
    document = {
        "benchmark": name,
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join(_without_folders(argument) for argument in sys.argv),
        "machine": machine(),
        "versions": versions(),
        "settings": settings,
        "measured": measured,
    }
    path = out or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document))
    return path


def peak_memory_mib() -> int | None:
    """Largest resident memory of this process so far, where the system tells.

    `ru_maxrss` won't do: on Linux it starts from the parent's peak.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(peak.split()[1]) / 1024)


def _without_folders(argument: str) -> str:
    """Where a path lies on this machine is nobody's business."""
    return Path(argument).name if Path(argument).is_absolute() or argument == sys.argv[0] else argument
