"""The power monitors of a Jetson board, read through Linux' hwmon: what tegrastats reads, where tegrastats isn't.

In a container that is how it usually is. Facts: the kernel's Documentation/hwmon/ina3221.rst and ina238.rst (millivolts
and milliamperes of a channel, microwatts of the whole chip), and the device trees' labels, which are tegrastats' names.
JetPack 4 has them elsewhere, and isn't read here.
"""

from pathlib import Path

from dimrt.measure.meters.energy import Rails, Summed
from dimrt.measure.meters.tegrastats import UNCONNECTED, total

CHANNELS = (1, 2, 3)
FILES = (("in", "label"), ("in", "input"), ("curr", "input"))
"""Parts of the names of a channel's files: its rail, its millivolts, its milliamperes."""
INPUT = "VIN"
"""What tegrastats calls the INA238 of Thor's carrier board, which has no label."""


def find(root: Path) -> tuple[Summed | None, str]:
    """The monitors of a hwmon tree; or None and why there are none."""
    try:
        rails = read(root)
    except (OSError, ValueError) as error:
        return None, f"the power monitors under {root} can't be read: {error}"
    if not rails:
        return None, f"no power monitor (INA3221) under {root}"
    found = total(rails)
    if found is None:
        return None, f"power monitors tell {', '.join(rails)}, but which of them is the whole board isn't known"
    whole, scope = found
    return Summed(Rails(f"INA3221 {' + '.join(whole)}", scope, whole), lambda: read(root)), ""


def read(root: Path) -> dict[str, float]:
    """Watts now by rail."""
    rails = {}
    for chip in sorted(root.glob("hwmon*")):
        name = (chip / "name").read_text(encoding="ascii").strip()
        if name == "ina238":
            rails[INPUT] = int((chip / "power1_input").read_text()) / 1e6
        if name != "ina3221":
            continue
        for channel in CHANNELS:
            label, volts, amperes = (chip / f"{what}{channel}_{part}" for what, part in FILES)
            if label.exists() and amperes.exists():
                rail = label.read_text(encoding="ascii").strip()
                rails[rail] = int(volts.read_text()) * int(amperes.read_text()) / 1e6
    rails.pop(UNCONNECTED, None)
    return rails
