"""The machine as its system describes it: board, processor, cores, system. No names, serials or paths of a user.

On Linux everything is read from /proc and /sys below `root`, so that a test can bring its own.
"""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from dimrt.backends.cores import usable_cores

ROOT = Path("/")
FEATURES = (
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_fp16", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2"),
)
"""Of the flags in /proc/cpuinfo, those that decide which kernels a runtime can use."""
ARM_PARTS = {
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd40": "Neoverse-V1",
    "0xd41": "Cortex-A78",
    "0xd42": "Cortex-A78AE",
    "0xd49": "Neoverse-N2",
    "0xd4f": "Neoverse-V2",
    "0xd83": "Neoverse-V3AE",
}
"""Arm's part numbers (MIDR_EL1, implementer 0x41), as the cores' reference manuals give them."""
SECONDS = 10
"""That a program of the system may take to answer."""


def board(root: Path = ROOT) -> str | None:
    """Maker and model of the board or computer; None where nobody says."""
    if sys.platform == "win32":
        key = r"HARDWARE\DESCRIPTION\System\BIOS"
        return _joined(_registry(key, "SystemManufacturer"), _registry(key, "SystemProductName"))
    if sys.platform == "darwin":
        return ask("/usr/sbin/sysctl", "-n", "hw.model")
    tree = text_of(root / "proc/device-tree/model")
    if tree:
        return tree
    dmi = root / "sys/devices/virtual/dmi/id"
    return _joined(text_of(dmi / "sys_vendor"), text_of(dmi / "product_name"))


def is_jetson(root: Path = ROOT) -> bool:
    """Whether this is one of NVIDIA's Jetson modules."""
    return "jetson" in (text_of(root / "proc/device-tree/model") or "").lower()


def processor(root: Path = ROOT) -> str:
    """The processor's name, or that of its cores."""
    if sys.platform == "win32":
        name = _registry(r"HARDWARE\DESCRIPTION\System\CentralProcessor\0", "ProcessorNameString")
        return (name or platform.processor() or "unknown").strip()
    if sys.platform == "darwin":
        return ask("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string") or "unknown"
    info = text_of(root / "proc/cpuinfo") or ""
    named = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    if named and not named[1].startswith("ARMv"):
        return " ".join(named[1].split())
    parts = dict.fromkeys(re.findall(r"^CPU part\s*:\s*(\S+)$", info, re.MULTILINE))
    return " + ".join(ARM_PARTS.get(part, f"Arm part {part}") for part in parts) or platform.machine()


def features(root: Path = ROOT) -> list[str]:
    """Which of `FEATURES` the processor has, where Linux says."""
    info = text_of(root / "proc/cpuinfo") or ""
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", info, re.MULTILINE)
    held = set(flags[1].split()) if flags else set()
    return [feature for feature in FEATURES if feature in held]


def cores(root: Path = ROOT) -> dict[str, Any]:
    """`logical` and `physical` cores, those this process is `allowed` to use, and the `quota` of its control group.

    A quota of 1.5 is the time of one and a half cores; None where there is no limit, or nobody says.
    """
    siblings = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list")
    physical = {text_of(path) for path in siblings}
    usable = usable_cores(root)
    return {
        "logical": os.cpu_count(),
        "physical": len(physical) or None,
        "allowed": len(usable.allowed) or os.cpu_count(),
        "quota": usable.quota,
    }


def system(root: Path = ROOT) -> str:
    """System and version; on a Jetson also the release of its Linux for Tegra (L4T)."""
    told = f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}"
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]} {platform.machine()}"
    named = re.search(r'^PRETTY_NAME="?([^"\n]+)', text_of(root / "etc/os-release") or "", re.MULTILINE)
    tegra = re.search(r"# R(\d+) \(release\), REVISION: ([\d.]+)", text_of(root / "etc/nv_tegra_release") or "")
    parts = [told, named[1] if named else "", f"L4T {tegra[1]}.{tegra[2]}" if tegra else ""]
    return ", ".join(part for part in parts if part)


def text_of(path: Path) -> str | None:
    """A small file's text without its ends; None where it isn't there or may not be read."""
    try:
        return path.read_bytes().decode(errors="replace").strip("\0 \n\t") or None
    except OSError:
        return None


def ask(*command: str) -> str | None:
    """What a program of the system prints; None where it isn't there, fails, or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _joined(*parts: str | None) -> str | None:
    return " ".join(part.strip() for part in parts if part and part.strip()) or None


def _registry(key: str, name: str) -> str | None:
    """A text in Windows' registry; None elsewhere, or where there is none."""
    if sys.platform != "win32":
        return None
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
            return str(winreg.QueryValueEx(opened, name)[0])
    except OSError:
        return None
