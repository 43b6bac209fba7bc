"""How fast the machine is allowed to run, and whether it had to slow down: power mode, clocks, temperatures."""

import os
import re
from pathlib import Path
from typing import Any

from dimrt.measure.board import ROOT, ask, is_jetson, text_of

NVIDIA_SMI = "nvidia-smi"
GPU_FIELDS = (
    *("name", "driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit", "temperature.gpu"),
    "clocks_throttle_reasons.active",
)
NO_THROTTLE = 0x1 | 0x2 | 0x10 | 0x100
"""Reasons for a low clock that are no throttling: idle, a clock that an application or the display set, sync boost
(NVML's nvmlClocksEventReasons)."""


def power_mode(root: Path = ROOT) -> str | None:
    """What decides the clocks: nvpmodel's mode on a Jetson, the governor of Linux' processors; None where unknown."""
    if is_jetson(root):
        mode = parse_nvpmodel(ask("nvpmodel", "-q") or "")
        if mode:
            return f"nvpmodel {mode}"
    policies = [text_of(path) for path in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")]
    governors = sorted({policy for policy in policies if policy})
    return f"governor {', '.join(governors)}" if governors else None


def parse_nvpmodel(text: str) -> str | None:
    """The mode in the answer of `nvpmodel -q` ("NV Power Mode: 15W", then its number)."""
    found = re.search(r"NV Power Mode:\s*(\S+)(?:\s+(\d+))?", text)
    if not found:
        return None
    return found[1] if found[2] is None else f"{found[1]} (mode {found[2]})"


def clocks(root: Path = ROOT) -> dict[str, Any]:
    """MHz now and at most, of the processor's cores and of a Jetson's GPU; fields that nobody tells are left out."""
    found: dict[str, Any] = {}
    cpus = root / "sys/devices/system/cpu"
    for name, file in (("cpu_mhz", "scaling_cur_freq"), ("cpu_max_mhz", "cpuinfo_max_freq")):
        values = _numbers(cpus.glob(f"cpu[0-9]*/cpufreq/{file}"))
        if values:
            found[name] = round(max(values) / 1e3)
    if "cpu_mhz" not in found:
        told = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", text_of(root / "proc/cpuinfo") or "", re.MULTILINE)
        if told:
            found["cpu_mhz"] = round(max(map(float, told)))
    for device in (root / "sys/class/devfreq").glob("*"):
        if device.name.rpartition(".")[2] in ("gpu", "ga10b", "gv11b", "gp10b", "gb10b"):
            for name, file in (("gpu_mhz", "cur_freq"), ("gpu_max_mhz", "max_freq")):
                for value in _numbers([device / file]):
                    found[name] = round(value / 1e6)
    return found


def temperatures(root: Path = ROOT) -> dict[str, float]:
    """Degrees Celsius of the machine's thermal zones by name; the hottest where several have one name."""
    found: dict[str, float] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        name, value = text_of(zone / "type"), _numbers([zone / "temp"])
        if name and value:
            found[name] = max(round(value[0] / 1e3, 1), found.get(name, -273.0))
    return found


def throttle_events(root: Path = ROOT) -> int | None:
    """How often heat or current has slowed the machine since it started, where Linux counts that.

    Intel's processors count it by core and by package, a Jetson its over-current events.
    """
    paths = [*(root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/*_throttle_count")]
    paths += (root / "sys/class/hwmon").glob("hwmon*/oc*_event_cnt")
    counts = _numbers(paths)
    return int(sum(counts)) if counts else None


def state(root: Path = ROOT) -> dict[str, Any]:
    """Clocks, temperatures, throttling and how busy the machine is (running processes: 1, 5, 15 minutes), now."""
    found: dict[str, Any] = {"clocks": clocks(root), "temperatures": temperatures(root)}
    found["throttle_events"] = throttle_events(root)
    found["load_average"] = [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None
    card = gpu_state() if not is_jetson(root) else None
    if card is not None:
        found["gpu"] = card
    return found


def gpu_state() -> dict[str, Any] | None:
    """What nvidia-smi tells of the first card; None where there is none."""
    query = ",".join(GPU_FIELDS)
    said = ask(NVIDIA_SMI, f"--query-gpu={query}", "--format=csv,noheader,nounits", "--id=0")
    return None if said is None else parse_gpu(said)


def parse_gpu(line: str) -> dict[str, Any] | None:
    """Fields of nvidia-smi's answer (MHz, watts, degrees); what the card doesn't tell is left out."""
    values = [value.strip() for value in line.splitlines()[0].split(",")]
    if len(values) != len(GPU_FIELDS):
        return None
    found: dict[str, Any] = {}
    for name, value in zip(GPU_FIELDS, values, strict=True):
        if value.startswith("0x"):
            found["throttled"] = bool(int(value, 16) & ~NO_THROTTLE)
        elif not value.startswith("[") and value != "N/A":
            found[name.replace(".", "_")] = _number(value)
    return found


def throttled(before: dict[str, Any], after: dict[str, Any]) -> bool | None:
    """Whether the machine was slowed down between two states, or still is; None where nothing tells."""
    told = [state["gpu"]["throttled"] for state in (before, after) if "throttled" in state.get("gpu", {})]
    counts = before.get("throttle_events"), after.get("throttle_events")
    if counts[0] is not None and counts[1] is not None:
        told.append(counts[1] > counts[0])
    return any(told) if told else None


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _numbers(paths: "Any") -> list[float]:
    texts = [text_of(path) for path in paths]
    return [float(text) for text in texts if text and re.fullmatch(r"-?\d+", text)]
