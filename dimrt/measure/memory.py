"""What this process has taken: memory at its peak, and bytes that really came from the disk."""

import re
import sys
from pathlib import Path

PROCESS = Path("/proc/self")


def peak_memory() -> int | None:
    """The most memory that was resident so far, in bytes; None where the system doesn't say.

    On Linux not `ru_maxrss`, which starts from the parent's peak.
    """
    if sys.platform == "win32":
        return _windows_peak()
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
    return _field(PROCESS / "status", r"^VmHWM:\s*(\d+) kB", 1024)


def bytes_from_disk() -> int | None:
    """Bytes that were fetched from storage for this process, pages of mapped files too; None where nobody counts."""
    return _field(PROCESS / "io", r"^read_bytes: (\d+)", 1)


def _field(path: Path, pattern: str, unit: int) -> int | None:
    try:
        found = re.search(pattern, path.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * unit if found else None


def _windows_peak() -> int | None:
    """GetProcessMemoryInfo's PeakWorkingSetSize."""
    import ctypes

    class Counters(ctypes.Structure):
        """PROCESS_MEMORY_COUNTERS."""

        _fields_ = (
            ("cb", ctypes.c_ulong),
            ("faults", ctypes.c_ulong),
            ("peak", ctypes.c_size_t),
            *((f"other{i}", ctypes.c_size_t) for i in range(7)),
        )

    counters = Counters(cb=ctypes.sizeof(Counters))
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 (only Windows has it)
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(kernel.GetCurrentProcess())
    if not kernel.K32GetProcessMemoryInfo(handle, ctypes.byref(counters), counters.cb):
        return None
    return int(counters.peak)
