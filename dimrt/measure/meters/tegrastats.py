"""tegrastats: what a line of NVIDIA's tool for Jetson boards says.

The form of its lines differs by board and by JetPack; `tests/measure/captures/` holds real ones. What the rails are:
NVIDIA's Jetson Linux Developer Guide (tegrastats utility; power monitors of each board).
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

_DATE = re.compile(r"^(\d\d-\d\d-\d{4} \d\d:\d\d:\d\d) ")
_MEMORY = re.compile(r"\b(RAM|SWAP) (\d+)/(\d+)MB")
_CPU = re.compile(r"\bCPU \[([^\]]*)\](?:@(\d+))?")
_EMC = re.compile(r"\bEMC_FREQ (\d+)%(?:@(\d+))?")
_GPU = re.compile(r"\bGR3D_FREQ (?:(\d+)%)?(?:@\[?([\d,]+)\]?)?")
_TEMPERATURE = re.compile(r"([A-Za-z][\w.-]*)@(-?\d+(?:\.\d+)?)C\b")
_RAIL = re.compile(r"(?:^|\s)([A-Z][A-Z0-9_]*)\s+(-?\d+)(?:mW)?(?:/-?\d+(?:mW)?)+(?=\s|$)")

MODULE = "the module without its carrier board"
TOTALS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("VIN",), "the board with its carrier"),
    (("VDD_IN",), MODULE),
    (("POM_5V_IN",), MODULE),
    (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), MODULE),
    (("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"), MODULE),
    (("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"), MODULE),
)
"""Rails that add up to all that a board takes, and what that is, best first. In this order: Thor's developer kit; TX1,
TX2, Xavier NX, Orin Nano and NX; Nano; AGX Orin; Thor; AGX Xavier."""
UNCONNECTED = "NC"
"""The name of a channel with no rail; there are several."""


@dataclass(frozen=True)
class Reading:
    """One line.

    Attributes:
        date: as printed, "MM-DD-YYYY hh:mm:ss"; None where the version prints none.
        memory: megabytes used and in all of "RAM" and "SWAP".
        cores: load (%) and clock (MHz; None where not printed) of each core; None for one that is off.
        emc: load (%) and clock (MHz) of the memory controller.
        gpu_load: percent; None where not printed.
        gpu_clocks: MHz, of each graphics cluster.
        temperatures: °C by sensor. Sensors that are off print impossible values (-256); they are left out.
        rails: watts now by rail.
    """

    date: str | None = None
    memory: dict[str, tuple[int, int]] = field(default_factory=dict)
    cores: tuple[tuple[int, int | None] | None, ...] = ()
    emc: tuple[int, int | None] | None = None
    gpu_load: int | None = None
    gpu_clocks: tuple[int, ...] = ()
    temperatures: dict[str, float] = field(default_factory=dict)
    rails: dict[str, float] = field(default_factory=dict)


ABSENT = -200.0
"""°C below which a sensor says that it has nothing to say."""


def parse_line(line: str) -> Reading | None:
    """What a line says; None for one that isn't of tegrastats."""
    line = line.strip()
    memory = {name: (int(used), int(total)) for name, used, total in _MEMORY.findall(line)}
    if "RAM" not in memory:
        return None
    date, cpu, emc, gpu = _DATE.match(line), _CPU.search(line), _EMC.search(line), _GPU.search(line)
    return Reading(
        date=date[1] if date else None,
        memory=memory,
        cores=_cores(cpu[1], cpu[2]) if cpu else (),
        emc=(int(emc[1]), int(emc[2]) if emc[2] else None) if emc else None,
        gpu_load=int(gpu[1]) if gpu and gpu[1] else None,
        gpu_clocks=tuple(int(clock) for clock in gpu[2].split(",") if clock) if gpu and gpu[2] else (),
        temperatures={name: float(value) for name, value in _TEMPERATURE.findall(line) if float(value) > ABSENT},
        rails={name: int(now) / 1000 for name, now in _RAIL.findall(line) if name != UNCONNECTED},
    )


def _cores(text: str, common: str | None) -> tuple[tuple[int, int | None] | None, ...]:
    """ "44%@1421,off" or, of old versions, "44%,off" with one clock for all."""
    cores: list[tuple[int, int | None] | None] = []
    for core in text.split(","):
        load, _, clock = core.strip().partition("%")
        if not load.isdecimal():
            cores.append(None)
            continue
        clock = clock.lstrip("@") or common or ""
        cores.append((int(load), int(clock) if clock else None))
    return tuple(cores)


def total(rails: Collection[str]) -> tuple[tuple[str, ...], str] | None:
    """The rails that add up to all that a board takes, and what that is; None where it isn't known."""
    for names, scope in TOTALS:
        if all(name in rails for name in names):
            return names, scope
    return None
