"""What this machine has left: memory and disk."""

import os
import shutil
import sys
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
VM_STAT = "/usr/bin/vm_stat"
RECLAIMED = ("Pages free", "Pages speculative", "Pages inactive")
"""Lines of macOS' vm_stat: what is free, and what the system gives away first."""
SECONDS = 5
"""That vm_stat may take."""


def available_memory() -> int | None:
    """Bytes that this process can still take without pushing others out; None where the system doesn't say.

    On Linux, inside a control group with a limit, no more than the limit leaves.
    """
    if sys.platform == "win32":
        return _windows_memory()[1]
    if sys.platform == "darwin":
        return _mac_memory()
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith(" kB")}
    left, allowed = sizes.get("MemAvailable"), _group_memory()
    return left if left is None or allowed is None else min(left, allowed)


def total_memory() -> int | None:
    """Bytes of memory of the whole machine; None where the system doesn't say."""
    if sys.platform == "win32":
        return _windows_memory()[0]
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):  # the system has no such number
        return None


def free_disk(folder: Path) -> int:
    """Bytes free where a folder is, or would be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _group_memory() -> int | None:
    """What the control group's limit leaves; None when there is none.

    Files that were read count as used there, but their pages are dropped before anything is refused.
    """
    limit, used = _number(CGROUP / "memory.max"), _number(CGROUP / "memory.current")
    if limit is None or used is None:
        return None
    try:
        stat = dict(line.split(" ", 1) for line in (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines())
    except OSError:
        stat = {}
    return max(0, limit - used + int(stat.get("inactive_file", 0)))


def _number(path: Path) -> int | None:
    """The number in a file of the control group; None when there is none, or no limit."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _mac_memory() -> int | None:
    """Pages that vm_stat calls free or soon free, in bytes: "(page size of 16384 bytes)", "Pages free:   3632."."""
    import subprocess

    try:
        said = subprocess.run([VM_STAT], capture_output=True, text=True, check=True, timeout=SECONDS).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    head, _, rest = said.partition("\n")
    page = [word for word in head.split() if word.isdecimal()]
    pages = dict(line.split(":", 1) for line in rest.splitlines() if ":" in line)
    counts = [pages.get(name, "").strip(" .") for name in RECLAIMED]
    if len(page) != 1 or not all(count.isdecimal() for count in counts):
        return None
    return int(page[0]) * sum(map(int, counts))


def _windows_memory() -> tuple[int | None, int | None]:
    """GlobalMemoryStatusEx's ullTotalPhys and ullAvailPhys."""
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
    if not kernel.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None, None
    return int(status.total), int(status.available)
