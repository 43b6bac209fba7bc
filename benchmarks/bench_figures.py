"""A document of `dimrt bench` as figures to predict: the median run of each graph, and the phases of a whole edit."""

from typing import Any

from published_figures import Figure

from dimrt.bundle import Bundle
from dimrt.predict.measured import hold, measured_edit, predict_measured
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


def edit_error(document: dict[str, Any], name: str, bundle: Bundle) -> dict[str, Any] | None:
    """Predicted and measured seconds of an edit's phases; None for a document of another bundle, or without edits."""
    edit = measured_edit(document)
    if edit is None or edit.digest != bundle.digest:
        return None
    held = hold(predict_measured(bundle, measured_rates(document, name), edit), edit)
    if held is None:
        return None
    phases = {
        phase: {"predicted_s": round(predicted, 6), "measured_s": round(measured, 6)}
        for phase, (predicted, measured) in held.phases.items()
    }
    return {"phases": phases, "ratio": round(held.ratio, 3)}
