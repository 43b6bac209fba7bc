"""How much is measured: the usual amount, and the short one."""

from dataclasses import dataclass

from dimrt.measure.samples import Amount


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        edits, runs, probes: rounds of edits, runs of each graph, runs of each ceiling.
        warm_up: edits that don't count, before the rounds.
        sustained: seconds of edits in a row; 0 for none.
        idle: seconds in which the meter sees the idle machine.
        colds: for each cold process, whether the page cache is dropped before it.
        graphs: which to measure; None for all.
        quick: whether this is the short form.
    """

    edits: Amount
    runs: Amount
    probes: Amount
    warm_up: int
    sustained: float
    idle: float
    colds: tuple[bool, ...]
    graphs: tuple[str, ...] | None = None
    quick: bool = False


FULL = Plan(
    edits=Amount(10, 64, 60.0),
    runs=Amount(10, 200, 5.0),
    probes=Amount(5, 30, 1.0),
    warm_up=2,
    sustained=60.0,
    idle=3.0,
    colds=(True, False),
)
QUICK = Plan(
    edits=Amount(3, 10, 3.0),
    runs=Amount(5, 100, 0.5),
    probes=Amount(3, 5, 0.2),
    warm_up=1,
    sustained=0.0,
    idle=1.0,
    colds=(True,),
    quick=True,
)
