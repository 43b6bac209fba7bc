"""The time of one run of a graph: products against the rate of their number format, bytes against the bandwidth.

A product is bound by its arithmetic or by the weights and tensors it reads, whichever takes longer (Williams, Waterman
and Patterson 2009). What lies between products (norms, activations, transposes) runs apart from them and is bound by
memory alone, as far as it isn't fused away. To that comes what starting a run costs.
"""

from dataclasses import dataclass, replace

from dimrt.errors import InputError
from dimrt.predict.efficiency import Efficiency
from dimrt.predict.rates import PROCESSOR, Rates
from dimrt.work import Work

HALF, SINGLE = "float16", "float32"
WIDENED = 2
READ_AND_WRITTEN = 2


@dataclass(frozen=True)
class Time:
    """Seconds by what takes them; they add up.

    Attributes:
        arithmetic: runs that are bound by operations.
        bandwidth: runs that are bound by the weights and tensors they read and write.
        between: bytes between products.
        starting: what a run costs before it does anything.
    """

    arithmetic: float = 0.0
    bandwidth: float = 0.0
    between: float = 0.0
    starting: float = 0.0

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.arithmetic + self.bandwidth + self.between + self.starting

    @property
    def bound(self) -> str:
        """What takes most: the name of that attribute."""
        return max(self.__dataclass_fields__, key=lambda name: float(getattr(self, name)))

    def __add__(self, other: "Time") -> "Time":
        """One after the other."""
        return Time(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def __mul__(self, count: float) -> "Time":
        """So many of them."""
        return Time(*(getattr(self, name) * count for name in self.__dataclass_fields__))


def run_time(work: Work, rates: Rates, efficiency: Efficiency) -> Time:
    """One run of a graph.

    Raises:
        InputError: the device has no rate for a number format that the graph computes in.
    """
    work = _widened(work, rates)
    arithmetic = 0.0
    for form, count in work.operations.items():
        if form not in rates.peak:
            raise InputError(
                f"{rates.name} has no {form} arithmetic (it has {', '.join(sorted(rates.peak))}); "
                "give another recipe or another target"
            )
        arithmetic += count / (rates.peak[form] * efficiency.of(form))
    bandwidth = rates.bandwidth * efficiency.bandwidth
    streamed = work.weights + work.tensors
    reading = 0.0 if streamed <= rates.cache else streamed / bandwidth
    between = READ_AND_WRITTEN * work.intermediate * efficiency.unfused / bandwidth
    if arithmetic >= reading:
        return Time(arithmetic=arithmetic, between=between, starting=efficiency.start_s)
    return Time(bandwidth=reading, between=between, starting=efficiency.start_s)


def _widened(work: Work, rates: Rates) -> Work:
    """The work as ONNX Runtime does it on a processor: what is in half precision is held and computed in single."""
    if rates.family != PROCESSOR or HALF not in work.operations or SINGLE not in rates.peak:
        return work
    operations = dict(work.operations)
    operations[SINGLE] = operations.get(SINGLE, 0.0) + operations.pop(HALF)
    return replace(
        work,
        operations=operations,
        weights=WIDENED * work.weights,
        tensors=WIDENED * work.tensors,
        intermediate=WIDENED * work.intermediate,
    )
