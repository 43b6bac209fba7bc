"""What a device can do a second, from a target's data sheet or from what `dimrt bench` measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from dimrt.backends.base import Flavour
from dimrt.errors import InputError

Basis = Literal["data sheet", "ceilings"]
FAMILIES = {
    "8.0": "data center",
    "8.6": "geforce",
    "8.7": "orin",
    "8.9": "geforce",
    "9.0": "data center",
    "10.0": "data center",
    "12.0": "geforce",
}
"""Compute capability to the family of GPUs whose efficiencies are known (`efficiency.toml`)."""
PROCESSOR = "processor"
OTHER = "other GPU"


class Sheet(Protocol):
    """The part of a target that is read here; `dimrt.engines.target.Target` is one."""

    @property
    def name(self) -> str: ...

    @property
    def flavour(self) -> Flavour: ...

    @property
    def compute_capability(self) -> str | None: ...

    @property
    def bandwidth(self) -> float: ...

    @property
    def peak(self) -> Mapping[str, float]: ...


@dataclass(frozen=True)
class Rates:
    """Rates of one device.

    Attributes:
        name: the device's.
        family: whose efficiencies apply.
        basis: whether the rates are a maker's or were measured as ceilings.
        bandwidth: of memory, bytes a second.
        peak: operations a second by number format; a multiply-add counts two.
        cache: bytes of a processor's last cache, where it is known. What a run reads stays there until the next if it
            fits, so memory doesn't bound it.
    """

    name: str
    family: str
    basis: Basis
    bandwidth: float
    peak: Mapping[str, float] = field(default_factory=dict)
    cache: int = 0


def target_rates(target: Sheet) -> Rates:
    """What a target's file says."""
    gpu = FAMILIES.get(target.compute_capability or "", OTHER)
    family = PROCESSOR if target.flavour == "onnxruntime" else gpu
    return Rates(target.name, family, "data sheet", target.bandwidth, target.peak)


def measured_rates(document: Mapping[str, Any], name: str) -> Rates:
    """The ceilings in a document of `dimrt bench`.

    Raises:
        InputError: it isn't such a document, or holds no ceilings.
    """
    try:
        ceilings, card = document["ceilings"], document["card"]
        bandwidth = float(ceilings["bandwidth"])
        peak = {str(form): float(rate) for form, rate in ceilings["matmul"].items() if rate}
        gpu = card.get("gpu") if "CPUExecutionProvider" not in str(card.get("provider")) else None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(
            f"{name} holds no ceilings; give the JSON document that `dimrt bench -o FILE` writes"
        ) from None
    if not bandwidth > 0 or not peak or min(peak.values()) <= 0:
        raise InputError(f"{name}: its ceilings aren't above 0; measure again with `dimrt bench`")
    if gpu:
        return Rates(name, FAMILIES.get(str(card.get("compute_capability")), OTHER), "ceilings", bandwidth, peak)
    settings = ceilings.get("settings")
    cache = settings.get("cache_bytes") if isinstance(settings, Mapping) else None
    return Rates(name, PROCESSOR, "ceilings", bandwidth, peak, cache if isinstance(cache, int) else 0)
