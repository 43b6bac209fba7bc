"""The graphs of a document of `dimrt bench` as figures to predict: the median run of each, and its recorded work."""

from typing import Any

from published_figures import Figure

from dimrt.predict.rates import measured_rates
from dimrt.work import Work


def bench_figures(document: dict[str, Any], name: str) -> list[Figure]:
    """One figure a graph that was measured and whose work is known.

    Args:
        document: as `dimrt bench -o FILE` writes it.
        name: what the figures' source is called.
    """
    rates = measured_rates(document, name)
    return [
        Figure(graph, graph, rates, float(entry["p50"]), ((Work(**entry["work"]), 1),), name)
        for graph, entry in document["graphs"].items()
        if "work" in entry and "p50" in entry
    ]
