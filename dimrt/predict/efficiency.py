"""What share of a device's rates engines reach, by family of devices: `efficiency.toml`, each with its source.

`benchmarks/estimate_error.py` fits them to documents of `dimrt bench` and to published figures.
"""

from collections.abc import Collection
from functools import cache
from pathlib import Path

import msgspec

from dimrt.manifest import Frozen
from dimrt.predict.rates import OTHER, Basis, Rates

FILE = Path(__file__).parent / "efficiency.toml"


ASSUMED_ERROR = 2.0
"""Factor that a prediction is said to be off by where nothing was compared."""


class Efficiency(Frozen, frozen=True):
    """Of one family of devices.

    Attributes:
        family: see `dimrt.predict.rates.FAMILIES`.
        basis: what the shares are of: a maker's rates, or measured ceilings.
        bandwidth: share of the memory's bandwidth that reading weights reaches.
        arithmetic: share of the peak rate by number format; "other" for those not named.
        unfused: share of the bytes between products that really goes through memory.
        start_s: seconds that starting a run costs.
        assumed: number formats whose share no figure was compared for.
        error: factor that predictions were off by at most in nine of ten figures; None where nothing was compared.
        figures: how many were compared.
        source: where the numbers are from.
    """

    family: str
    basis: Basis
    bandwidth: float
    arithmetic: dict[str, float]
    unfused: float
    start_s: float
    source: str
    assumed: tuple[str, ...] = ()
    error: float | None = None
    figures: int = 0

    def of(self, form: str) -> float:
        """Share of the peak rate of a number format."""
        return self.arithmetic.get(form, self.arithmetic["other"])

    def error_of(self, forms: Collection[str]) -> float:
        """Factor that a prediction of work in these number formats may be off by."""
        if self.error is None or self.assumed_of(forms):
            return max(self.error or 0.0, ASSUMED_ERROR)
        return self.error

    def assumed_of(self, forms: Collection[str]) -> frozenset[str]:
        """Those among number formats whose share is assumed."""
        return frozenset(self.assumed) & frozenset(forms)


class _File(Frozen, frozen=True):
    family: tuple[Efficiency, ...]


@cache
def efficiencies() -> tuple[Efficiency, ...]:
    """All that are known."""
    return msgspec.toml.decode(FILE.read_bytes(), type=_File).family


def efficiency_of(rates: Rates) -> Efficiency:
    """A device's: its family's on the same basis, else the family's on another, else what is assumed of any GPU."""
    known = [entry for entry in efficiencies() if entry.family == rates.family]
    known = known or [entry for entry in efficiencies() if entry.family == OTHER]
    return next((entry for entry in known if entry.basis == rates.basis), known[0])
