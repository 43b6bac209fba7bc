"""The whole measurement in its order: card, ceilings, cold processes, warm edits, graphs by themselves, a long run."""

from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from dimrt.backends.base import Backend
from dimrt.backends.onnxruntime import PROVIDERS, OrtBackend
from dimrt.bundle import Bundle
from dimrt.editor import Editor
from dimrt.errors import ResourceError
from dimrt.measure import ceilings, clocks, cold, graphs, scene
from dimrt.measure.card import device_card
from dimrt.measure.edits import Case, Edits, edit_photo, run_edits
from dimrt.measure.lasting import Watt, sustained
from dimrt.measure.meters.power import find_meter, why_none
from dimrt.measure.plan import Plan
from dimrt.measure.recorder import Recorder
from dimrt.measure.samples import summary
from dimrt.request import resolve
from dimrt.version import __version__

FORMAT = 1
"""Of the document."""
WARM_UP_PHOTO = 1_000_000
"""Number of the first photo of the warm-up; those of the rounds begin at 0."""


class Listener(Protocol):
    """Who is told how far it is."""

    def stage(self, text: str) -> None:
        """Something is about to be measured."""

    def part(self, name: str, document: dict[str, Any]) -> None:
        """A part of the document is complete: "card", "ceilings", "cold", "edit", "graphs", "sustained"."""


def bench(case: Case, plan: Plan, listener: Listener, command: str) -> dict[str, Any]:
    """Measure, and return the whole document.

    Args:
        case: what.
        plan: how much.
        listener: told of every stage, and of every finished part with the document so far.
        command: the command line, without folders.

    Raises:
        InputError: no such graph, or a case that can't be run.
        BundleError, ResourceError: as `Editor.edit`.
    """
    bundle = case.open()
    if case.plan_tokens is None and scene.is_random(bundle):
        case = replace(case, plan_tokens=scene.RANDOM_PLAN)
        bundle = case.open("layout")
    names = graphs.chosen(bundle, plan.graphs)
    backend = case.backend(bundle)
    free_before = None if _on_processor(backend) else gpu_free()
    document = _head(case, plan, bundle, backend, command)
    listener.part("card", document)
    for graph in backend.build(backend.missing()):
        listener.stage(f"built the engine of {graph}")
    listener.stage("ceilings")
    found = _ceilings(backend, case, plan)
    document["ceilings"] = found.document()
    listener.part("ceilings", document)
    document["cold"] = [_cold(case, bundle, drop, listener) for drop in plan.colds]
    listener.part("cold", document)
    card = None if _on_processor(backend) else 0
    watt = Watt(find_meter(card), why_none(card))
    watt.rest(plan.idle)
    editor = Editor(bundle, backend)
    try:
        edits = _warm(editor, case, plan, listener)
        document["edit"], document["decode"] = _edits(edits, document["cold"]), _decode(edits)
        listener.part("edit", document)
        document["graphs"] = _graphs(bundle, backend, case, names, found, plan, listener)
        _join_cold(document)
        listener.part("graphs", document)
        document["memory"] = _memory(document["cold"], free_before)
        listener.stage("edits in a row")
        lasting = sustained(editor, case, plan.sustained, len(edits.first), watt)
        document["sustained"], document["power"] = lasting
    finally:
        editor.close()
    document["power_why"] = watt.why_none
    document["after"] = clocks.state()
    document["throttled"] = clocks.throttled(document["card"]["state"], document["after"])
    document["card"]["provider"] = backend.name  # a graph that could not be captured is known only now
    listener.part("sustained", document)
    return document


def prober(backend: Backend, case: Case) -> ceilings.Prober:
    """What measures the ceilings of a backend's device."""
    if isinstance(backend, OrtBackend):
        from dimrt.measure.ort_prober import OrtProber

        return OrtProber("cpu" if _on_processor(backend) else "cuda", case.threads)
    from dimrt.measure.cuda_prober import CudaProber

    return CudaProber(case.target)


def gpu_free() -> int | None:
    """Bytes free on the GPU; None where there is none, or nothing to ask it with."""
    from dimrt.backends.cuda import Device

    try:
        return Device().memory()[0]
    except ResourceError:
        return None


def _on_processor(backend: Backend) -> bool:
    return PROVIDERS["cpu"] in backend.name


def _ceilings(backend: Backend, case: Case, plan: Plan) -> ceilings.Ceilings:
    held = prober(backend, case)
    try:
        return ceilings.measure(held, plan.probes, quick=plan.quick)
    finally:
        held.close()


def _head(case: Case, plan: Plan, bundle: Bundle, backend: Backend, command: str) -> dict[str, Any]:
    """What is known before anything is measured."""
    manifest = bundle.manifest
    asked = resolve(case.options, manifest)
    return {
        "format": FORMAT,
        "dimrt": __version__,
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command,
        "card": device_card(backend.name, case.threads),
        "bundle": {
            "name": manifest.name,
            "recipe": manifest.recipe,
            "task": manifest.painter.task,
            "digest": bundle.digest,
            "bytes": sum(record.size for record in manifest.files.values()),
            "random": scene.is_random(bundle),
        },
        "settings": {
            "quick": plan.quick,
            "device": case.device,
            "target": Path(case.target).name if case.target else None,
            "threads": case.threads,
            "steps": asked.steps,
            "guidance_scale": asked.guidance_scale,
            "schedule": asked.schedule,
            "side": manifest.resolution.side,
            "plan_tokens": case.plan_tokens,
            "photo": list(scene.SIZE),
            "instructions": list(scene.INSTRUCTIONS),
            "amounts": {"edits": asdict(plan.edits), "runs": asdict(plan.runs), "probes": asdict(plan.probes)},
            "warm_up": plan.warm_up,
            "sustained_s": plan.sustained,
            "percentiles": "the sample that so many of all lie below, rounded up; p90 is the headline (SingleStream)",
            "share": "least time by the ceilings (operations, or weights with inputs and outputs) over p50",
            "query": "one edit: from the bytes of a JPEG (a second edit: from the instruction) to the picture's pixels",
            "cold": "a new process: Python starts, every byte of the bundle is checked, graphs are loaded, one edit",
        },
    }


def _cold(case: Case, bundle: Bundle, drop: bool, listener: Listener) -> dict[str, Any]:
    listener.stage("a cold process")
    files = [bundle.path / name for name in bundle.manifest.files]
    try:
        return cold.first_edit(case.as_json(), files, drop=drop)
    except ResourceError as error:
        return {"error": str(error)}


def _warm(editor: Editor, case: Case, plan: Plan, listener: Listener) -> Edits:
    """First and second edits of many photos, once everything is loaded."""
    listener.stage("warming up")
    for number in range(plan.warm_up):
        for _ in edit_photo(editor, case, WARM_UP_PHOTO + number):
            pass
    listener.stage("edits")
    return run_edits(editor, case, plan.edits.turns())


def _edits(edits: Edits, colds: list[dict[str, Any]]) -> dict[str, Any]:
    """First edits of photos and, beside them, second ones."""
    seconds, again = ([edit.seconds for edit in each] for each in (edits.first, edits.second))
    return {
        "cold_s": next((run["seconds"] for run in colds if "seconds" in run), None),
        "first_s": median(seconds),
        **summary(seconds),
        "phases": edits.phases(),
        "second_edit_s": [round(value, 7) for value in again],
        "second": summary(again) if again else None,
    }


def _decode(edits: Edits) -> dict[str, Any] | None:
    """Tokens of the plans and how fast they came, over the whole phase (reading the prompt included)."""
    written = [(edit.writing, edit.phases["plan"]) for edit in edits.first if edit.writing and edit.writing.tokens]
    if not written:
        return None
    return {
        "tokens_per_s": median(writing.tokens / seconds for writing, seconds in written),
        "tokens_per_pass": median(writing.tokens / writing.passes for writing, _ in written),
        "tokens": [writing.tokens for writing, _ in written],
        "passes": [writing.passes for writing, _ in written],
        "plan_s": [round(seconds, 7) for _, seconds in written],
    }


def _graphs(
    bundle: Bundle,
    backend: Backend,
    case: Case,
    names: list[str],
    found: ceilings.Ceilings,
    plan: Plan,
    listener: Listener,
) -> dict[str, dict[str, Any]]:
    """Runs of one more edit, which is watched, repeated graph by graph."""
    if not names:
        return {}
    recorder = Recorder(backend, bundle.manifest.graphs)
    watched: Any = recorder
    for _ in edit_photo(Editor(bundle, watched), case, 0, again=False):
        pass

    def tell(name: str) -> None:
        listener.stage(f"graph {name}")

    return graphs.measure(bundle, backend, recorder, names, found, plan.runs, tell)


def _join_cold(document: dict[str, Any]) -> None:
    """Give each graph the seconds of its loading and first run in the first cold process."""
    loads: dict[str, Any] = next((run["graphs"] for run in document["cold"] if "graphs" in run), {})
    for entry in document["graphs"].values():
        held = loads.get(entry["graph"])
        entry["cold_s"] = held["load_s"] + (held["first_run_s"] or 0.0) if held else None


def _memory(colds: list[dict[str, Any]], free_before: int | None) -> dict[str, Any]:
    """Of a process that made one edit: the measuring process itself holds the ceilings' arrays."""
    peaks = [run["peak_rss_bytes"] for run in colds if run.get("peak_rss_bytes")]
    free = None if free_before is None else gpu_free()
    device = None if free is None or free_before is None else max(free_before - free, 0)
    return {"peak_rss_bytes": max(peaks, default=None), "device_bytes": device}
