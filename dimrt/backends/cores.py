"""How many threads ONNX Runtime is given on this processor.

By itself it starts one thread for each physical core of the machine and pins it there. It doesn't see the time that a
control group allows (a container's `--cpus`), and pinning fails inside a smaller set of cores (`--cpuset-cpus`). Given
a number, it starts as many and pins none. So the number is chosen here, from what Linux tells:

- one thread a physical core among those this process may run on: two hyper-threads share the units that multiply;
- only cores that are at least half as fast as the fastest (Arm big.LITTLE), since the parts of a product are of one
  size and all wait for the last one;
- no more than the control group's time, rounded up. With less time than threads, none waits by spinning, which would
  be paid from that time.

Other systems don't tell this without privileges or further packages; there ONNX Runtime chooses.
"""

import math
import os
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path("/")
SLOW = 0.5
"""Cores under this share of the fastest one's speed are left to other work."""


@dataclass(frozen=True)
class Core:
    """A logical core that this process may run on.

    Attributes:
        physical: the same for all hyper-threads of one core.
        speed: compared with other cores of this machine, in any unit; None where the system doesn't say.
    """

    physical: str
    speed: float | None = None


@dataclass(frozen=True)
class Cores:
    """What this process may use; `quota` is in cores' time (1.5: one and a half cores), None without a limit."""

    allowed: tuple[Core, ...] = field(default_factory=tuple)
    quota: float | None = None


@dataclass(frozen=True)
class Threads:
    """Threads inside an operator (None: ONNX Runtime chooses), and whether those without work wait by spinning."""

    count: int | None
    spin: bool = True


def choose_threads(cores: Cores) -> Threads:
    """The threads for what a process may use."""
    if not cores.allowed:
        return Threads(None)
    fastest = max((core.speed or 0.0) for core in cores.allowed)
    fast = {core.physical for core in cores.allowed if core.speed is None or core.speed >= SLOW * fastest}
    if cores.quota is None or cores.quota >= len(fast):
        return Threads(len(fast))
    count = max(1, math.ceil(cores.quota))
    return Threads(count, spin=count <= cores.quota)


def usable_cores(root: Path = ROOT) -> Cores:
    """What this process may use; empty on systems other than Linux."""
    if sys.platform != "linux":
        return Cores()
    return read_cores(os.sched_getaffinity(0), root)


def read_cores(allowed: Collection[int], root: Path = ROOT) -> Cores:
    """What Linux says of logical cores by their numbers, and of this process' control group.

    Args:
        allowed: numbers of logical cores.
        root: where /proc and /sys are.
    """
    described = []
    for number in sorted(allowed):
        folder = root / f"sys/devices/system/cpu/cpu{number}"
        siblings = _text(folder / "topology/thread_siblings_list")
        speed = _text(folder / "cpu_capacity") or _text(folder / "cpufreq/cpuinfo_max_freq")
        described.append(Core(siblings or str(number), float(speed) if speed and speed.isdecimal() else None))
    return Cores(tuple(described), _quota(root))


def _quota(root: Path) -> float | None:
    """The least time among this process' control group and those above it, version 2 or 1 of their file system."""
    base = root / "sys/fs/cgroup"
    found = []
    for line in (_text(root / "proc/self/cgroup") or "0::/").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = base / "cpu" if controllers else base
        # A container often sees its own group as the top, whatever path it is told.
        group = top / path.lstrip("/")
        folders = [group, *group.parents] if group.is_dir() else [top]
        found += [_limit(folder) for folder in folders if folder == top or top in folder.parents]
    return min((limit for limit in found if limit is not None), default=None)


def _limit(group: Path) -> float | None:
    """Microseconds over the microseconds of a period: `cpu.max` ("150000 100000", "max 100000"), or version 1's two."""
    quota, _, period = (_text(group / "cpu.max") or "").partition(" ")
    if not period:
        quota, period = _text(group / "cpu.cfs_quota_us") or "", _text(group / "cpu.cfs_period_us") or ""
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(quota) > 0 else None


def _text(path: Path) -> str | None:
    """A small file's text; None where it isn't there or may not be read."""
    try:
        return path.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
