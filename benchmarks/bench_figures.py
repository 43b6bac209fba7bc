"""A document of `dimrt bench` as figures to predict: the median run of each graph, and the phases of a whole edit."""

from statistics import median
from typing import Any

from published_figures import Figure

from dimrt.bundle import Bundle
from dimrt.memory import Setting
from dimrt.predict.edit import predict
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
    """Predicted and measured seconds of an edit's phases, as many tokens written as there were; None for a document of
    another bundle.

    What a phase takes outside its graphs (preparing pictures, choosing tokens) is in the measured times only.
    """
    if document["bundle"]["digest"] != bundle.digest:
        return None
    settings, decode = document["settings"], document["decode"]
    side = bundle.manifest.resolution.side
    guided = settings["guidance_scale"] != 1
    setting = Setting((side, side), round(median(decode["tokens"])), guided)
    found = predict(
        bundle,
        measured_rates(document, name),
        setting,
        steps=settings["steps"],
        tokens_per_run=decode["tokens_per_pass"],
    )
    measured = {phase: median(samples) for phase, samples in document["edit"]["phases"].items()}
    phases = {
        phase.name: {"measured_s": measured[phase.name], "predicted_s": round(phase.time.seconds, 6)}
        for phase in found.phases
        if phase.name in measured
    }
    whole = [sum(entry[key] for entry in phases.values()) for key in ("measured_s", "predicted_s")]
    return {"phases": phases, "measured_s": whole[0], "predicted_s": whole[1], "ratio": round(whole[1] / whole[0], 3)}
