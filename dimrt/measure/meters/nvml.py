"""NVML: energy of an NVIDIA card, through the driver's own library (no Python package needed).

Function names, units and result codes: NVIDIA's NVML API reference. `nvmlDeviceGetTotalEnergyConsumption` (millijoules
since the driver was loaded; Volta and later) is used where there is one, `nvmlDeviceGetPowerUsage` (milliwatts) else.
"""

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

from dimrt.measure.meters.energy import Counters, Rails, Summed

MILLI = 1e-3
SUCCESS, NOT_SUPPORTED = 0, 3
NAME_BYTES = 96


class Nvml:
    """The energy counter of one card.

    Attributes:
        rails: the card.
        counts: whether it has a counter; `watts` is all it has else.
    """

    def __init__(self, library: Any, card: int = 0) -> None:
        """Raises OSError where there is no such card or it tells neither energy nor power."""
        self._library = library
        _check(library, library.nvmlInit_v2())
        count = ctypes.c_uint()
        _check(library, library.nvmlDeviceGetCount_v2(ctypes.byref(count)))
        if card >= count.value:
            raise OSError(f"the driver lists {count.value} cards, none with the number {card}")
        self._card = ctypes.c_void_p()
        _check(library, library.nvmlDeviceGetHandleByIndex_v2(card, ctypes.byref(self._card)))
        name = ctypes.create_string_buffer(NAME_BYTES)
        _check(library, library.nvmlDeviceGetName(self._card, name, NAME_BYTES))
        self._name = name.value.decode(errors="replace")
        energy = ctypes.c_ulonglong()
        code = library.nvmlDeviceGetTotalEnergyConsumption(self._card, ctypes.byref(energy))
        if code != NOT_SUPPORTED:
            _check(library, code)
        self.counts = code == SUCCESS
        which = f" (card {card} of {count.value})" if count.value > 1 else ""
        self.rails = Rails(
            name=f"NVML {'energy' if self.counts else 'power'} of {self._name}{which}",
            scope="the graphics card",
            whole=(self._name,),
        )

    def read(self) -> dict[str, float]:
        """Joules since the driver was loaded."""
        energy = ctypes.c_ulonglong()
        _check(self._library, self._library.nvmlDeviceGetTotalEnergyConsumption(self._card, ctypes.byref(energy)))
        return {self._name: energy.value * MILLI}

    def watts(self) -> dict[str, float]:
        """Watts now; on recent cards the mean of the last second."""
        power = ctypes.c_uint()
        _check(self._library, self._library.nvmlDeviceGetPowerUsage(self._card, ctypes.byref(power)))
        return {self._name: power.value * MILLI}


def find(card: int = 0) -> tuple[Counters | None, str]:
    """A card's counter; or None and why there is none."""
    library = _open()
    if library is None:
        return None, "no NVML: the NVIDIA driver's library isn't installed"
    try:
        found = Nvml(library, card)
        return (found if found.counts else Summed(found.rails, found.watts)), ""
    except (OSError, AttributeError) as error:  # AttributeError: a function that this driver hasn't
        return None, f"NVML tells no power: {error}"


def _open() -> Any:
    """The driver's library; None where there is none."""
    system = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32"
    try:
        return ctypes.CDLL(str(system / "nvml.dll") if sys.platform == "win32" else "libnvidia-ml.so.1")
    except OSError:
        return None


def _check(library: Any, code: int) -> None:
    """Raise what a failed call means, as the OSError that readers of counters expect."""
    if code != SUCCESS:
        library.nvmlErrorString.restype = ctypes.c_char_p
        raise OSError(f"{library.nvmlErrorString(code).decode(errors='replace')} (NVML code {code})")
