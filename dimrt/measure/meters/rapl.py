"""RAPL: energy counters of x86 processors, through Linux' powercap (Intel and AMD).

Facts of the interface: the kernel's Documentation/power/powercap/powercap.rst. A zone is a folder with `name`,
`energy_uj` (microjoules, readable by root alone since Linux 5.10) and `max_energy_range_uj` (where it begins anew).
"""

import platform
from pathlib import Path

from dimrt.measure.meters.energy import Rails

JOULES = 1e-6
"""Joules in a microjoule."""


class Rapl:
    """The counters of the processor packages and, where they count apart, of the memory.

    `psys` (the whole platform, on some laptops) and the parts of a package are read as rails, and not added: their
    energy is in the packages' or its calibration is the board maker's affair. The same package seen a second time
    through `intel-rapl-mmio` is left out.
    """

    def __init__(self, zones: dict[str, Path]) -> None:
        self._files = {rail: (zone / "energy_uj") for rail, zone in zones.items()}
        whole = tuple(rail for rail in zones if rail.split("/")[-1].startswith(("package", "dram")))
        self.rails = Rails(
            name="RAPL " + " + ".join(whole),
            scope="the processor" + (" and its memory" if any("dram" in rail for rail in whole) else ""),
            whole=whole,
            wraps={rail: int((zone / "max_energy_range_uj").read_text()) * JOULES for rail, zone in zones.items()},
        )

    def read(self) -> dict[str, float]:
        """Joules by rail, since some moment."""
        return {rail: int(path.read_text()) * JOULES for rail, path in self._files.items()}


def find(root: Path) -> tuple[Rapl | None, str]:
    """The counters of a powercap tree; or None and why there are none."""
    zones = _zones(root)
    if not any("package" in rail for rail in zones):
        return None, f"no RAPL: {root} lists no processor package ({platform.machine()}, or a virtual machine)"
    try:
        rapl = Rapl(zones)
        rapl.read()
    except PermissionError as error:
        return None, (
            f"RAPL is there, but {error.filename} may not be read: run as root, or once "
            f"`sudo chmod a+r {root}/intel-rapl*/energy_uj {root}/intel-rapl*/*/energy_uj`"
        )
    except (OSError, ValueError) as error:
        return None, f"RAPL is there, but can't be read: {error}"
    return rapl, ""


def _zones(root: Path) -> dict[str, Path]:
    """Zones by rail: "package-0", and parts as "package-0/core"."""
    zones = {}
    for zone in sorted(root.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
            parent = root / zone.name.rpartition(":")[0]
            if zone.name.count(":") == 2:
                name = f"{(parent / 'name').read_text().strip()}/{name}"
        except OSError:
            continue  # a zone that went away, or no zone
        zones[name] = zone
    return zones
