"""What this machine has left for a build: memory and disk."""

import shutil
import sys
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Bytes that a new process can have without pushing others out; None where the system doesn't say.

    On Linux, inside a container with a limit, no more than the limit leaves.
    """
    if sys.platform == "win32":
        return _windows_memory()
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith(" kB")}
    left = sizes.get("MemAvailable")
    limit, used = _number(CGROUP / "memory.max"), _number(CGROUP / "memory.current")
    if left is None or limit is None or used is None:
        return left
    return max(0, min(left, limit - used))


def free_disk(folder: Path) -> int:
    """Bytes free where a folder is, or would be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _number(path: Path) -> int | None:
    """The number in a file of the control group; None when there is none, or no limit."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _windows_memory() -> int | None:
    """GlobalMemoryStatusEx's ullAvailPhys."""
    import ctypes

    class Status(ctypes.Structure):
        """MEMORYSTATUSEX."""

        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *(
                (name, ctypes.c_ulonglong)
                for name in ("total", "available", "page", "pages", "virtual", "rest", "more")
            ),
        )

    status = Status(length=ctypes.sizeof(Status))
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 (only Windows has it)
    return int(status.available) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else None
