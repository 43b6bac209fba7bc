"""Each graph by itself: runs of an edit repeated, and how near they come to what the device can do.

The least time a run could take is the larger of two: its operations at the measured rate of products, and its weights,
inputs and outputs at the measured bandwidth (of a processor's last cache, where it holds them from run to run). What
lies between the nodes counts nothing, as if all were fused.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from dimrt.backends.base import Backend
from dimrt.bundle import Bundle
from dimrt.errors import DimrtError, InputError
from dimrt.measure.ceilings import Ceilings
from dimrt.measure.recorder import Call, Recorder
from dimrt.measure.samples import Amount, summary, timed
from dimrt.work import Work, graph_work

TOKEN, READ = "language.token", "language.read"
"""The two ways `language` runs: one token of the plan, and a whole text."""
EXPORT_AGAIN = "the bundle was exported before work was recorded; export it again"


@dataclass(frozen=True)
class Share:
    """How near a run comes to the ceiling.

    Attributes:
        seconds: the least that it could take.
        bound: what of: "bandwidth", "cache" (its bandwidth), or a number format.
    """

    seconds: float
    bound: str


def least_time(work: Work, ceilings: Ceilings) -> Share | str:
    """The least time of a run by the measured ceilings; or why it isn't known."""
    if ceilings.bandwidth is None:
        return ceilings.missing["bandwidth"]
    unknown = [form for form, count in work.operations.items() if count and form not in ceilings.matmul]
    if unknown:
        return f"no ceiling for {unknown[0]}: {ceilings.missing.get(unknown[0], 'not measured')}"
    nbytes = work.weights + work.tensors
    cached = ceilings.cached if nbytes <= ceilings.cache_bytes else None
    moved = nbytes / (ceilings.bandwidth if cached is None else cached)
    products = {form: count / ceilings.matmul[form] for form, count in work.operations.items() if count}
    computed = sum(products.values())
    if moved >= computed:
        return Share(moved, "bandwidth" if cached is None else "cache")
    return Share(computed, max(products, key=lambda form: products[form]))


def names_of(bundle: Bundle) -> list[str]:
    """What can be measured by itself, in the order of an edit."""
    names = [READ if graph == "language" else graph for graph in bundle.manifest.graphs]
    if READ in names:
        names.insert(names.index(READ) + 1, TOKEN)
    return names


def chosen(bundle: Bundle, asked: Iterable[str] | None) -> list[str]:
    """The asked ones of `names_of`; "language" stands for both of its.

    Raises:
        InputError: there is no such graph.
    """
    names = names_of(bundle)
    if asked is None:
        return names
    wanted = {each for name in asked for each in ((READ, TOKEN) if name == "language" else (name,))}
    unknown = sorted(wanted - set(names))
    if unknown:
        raise InputError(f"--graphs: no graph {unknown[0]!r}; this bundle has {', '.join(names)}")
    return [name for name in names if name in wanted]


def pick(recorder: Recorder, name: str) -> Call | None:
    """The run that stands for a name; None when the edit had none.

    Of `language` the longest text it read, and a single token; of others the shape that took most of the time.
    """
    graph = name.partition(".")[0]
    calls = [call for call in recorder.calls.values() if call.graph == graph]
    if name == TOKEN:
        shortest = min(calls, key=lambda call: call.axes["tokens"], default=None)
        return None if shortest is None else _single(shortest, recorder)
    if name == READ:
        return max((c for c in calls if c.axes["tokens"] > 1), key=lambda call: call.axes["tokens"], default=None)
    return max(calls, key=lambda call: sum(call.seconds), default=None)


def _single(call: Call, recorder: Recorder) -> Call:
    """The run with one token only: where guesses are confirmed, runs of an edit have several."""
    if call.axes["tokens"] == 1:
        return call
    feeds = dict(call.feeds)
    for spec in recorder.contract(call.graph).inputs:
        if spec.shape == ("rows",):
            feeds[spec.name] = np.zeros(1, spec.dtype)  # which tokens logits are asked of
        elif "tokens" in spec.shape:
            axis = spec.shape.index("tokens")
            feeds[spec.name] = np.take(recorder.to_host(feeds[spec.name]), [0], axis)
    return replace(call, feeds=feeds, axes={**call.axes, "tokens": 1, "rows": 1})


def measure(
    bundle: Bundle,
    backend: Backend,
    recorder: Recorder,
    names: Iterable[str],
    ceilings: Ceilings,
    amount: Amount,
    tell: Callable[[str], None],
) -> dict[str, dict[str, Any]]:
    """Repeat runs of an edit, graph by graph.

    Args:
        recorder: saw an edit on this backend.
        names: of `names_of`.
        amount: of runs of each graph.
        tell: told each name before it is measured.

    Returns:
        By name: axes, samples, percentiles, share and bound; or the error of a graph that failed.
    """
    found = {}
    for name in names:
        call = pick(recorder, name)
        if call is None:
            continue
        tell(name)
        if backend.residency == "phased":
            for other in bundle.manifest.graphs:
                if other != call.graph:
                    backend.release(other)
        try:
            found[name] = _one(bundle, backend, call, ceilings, amount)
        except DimrtError as error:
            found[name] = {"graph": call.graph, "axes": call.axes, "error": str(error)}
    return found


def _one(bundle: Bundle, backend: Backend, call: Call, ceilings: Ceilings, amount: Amount) -> dict[str, Any]:
    engine = backend.engine(call.graph)

    def run() -> None:
        engine.run(call.feeds, into=call.into, keep=call.keep)
        backend.finish()

    samples = timed(run, amount, warm_up=2)
    runs = len(call.seconds)
    entry = {"graph": call.graph, "axes": call.axes, "runs_per_edit": runs, **summary(samples)}
    work = graph_work(bundle, call.graph, call.axes)
    if work is None:
        return {**entry, "share": None, "bound": None, "why": EXPORT_AGAIN}
    least = least_time(work, ceilings)
    if isinstance(least, str):
        return {**entry, "work": asdict(work), "share": None, "bound": None, "why": least}
    return {
        **entry,
        "work": asdict(work),
        "least_s": least.seconds,
        "share": least.seconds / entry["p50"],
        "bound": least.bound,
    }
