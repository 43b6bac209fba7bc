"""A document of `dimrt bench` as one HTML file: nothing to load, nothing to run, charts with words beside them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dimrt.files import atomic_write
from dimrt.measure.comparing.quantities import amount
from dimrt.measure.pages import page, sections, sections_more
from dimrt.measure.pages.charts import nearest_rank


def write_report(document: Mapping[str, Any], path: str | Path) -> None:
    """Write the report of a document.

    Raises:
        InputError: `path` can't be written.
        ResourceError: the disk is full.
    """
    with atomic_write(path) as file:
        file.write(render(document).encode("utf-8"))


def render(document: Mapping[str, Any]) -> str:
    """The report of a document, as HTML."""
    name = document["card"]["board"] or document["card"]["gpu"] or document["card"]["processor"]
    return page.page(f"dimrt bench: {name}", _body(document, name))


def _body(document: Mapping[str, Any], name: str) -> Iterator[str]:
    bundle, settings = document["bundle"], document["settings"]
    yield page.heading(f"dimrt on {name}", 1)
    yield page.paragraph(
        f"{bundle['name']}, {bundle['recipe']}, {settings['side']} px, painter steps {settings['steps']}, "
        f"guidance {settings['guidance_scale']:g}. Measured {document['when'][:16].replace('T', ' ')} UTC "
        f"with dimrt {document['dimrt']}.",
        "soft",
    )
    yield page.figures(_figures(document))
    yield page.warnings("Read these numbers with care", list(_doubts(document)))
    yield from sections.device(document)
    yield from sections.ceilings(document)
    yield from sections.phases(document)
    yield from sections.latency(document)
    yield from sections.graphs(document)
    yield from sections_more.power(document)
    yield from sections_more.sustained(document)
    yield from sections_more.memory(document)
    yield from sections_more.closing(document)


def _figures(document: Mapping[str, Any]) -> dict[str, str]:
    edit, decode, power = document["edit"], document.get("decode"), document.get("power")
    found = {f"an edit (median of {len(edit['samples_s'])})": amount(nearest_rank(edit["samples_s"], 0.5), "s")}
    if edit.get("p90") is not None:
        found["90 % of edits take at most"] = amount(edit["p90"], "s")
    if edit.get("second_edit_s"):
        found["a second edit of the photo"] = amount(nearest_rank(edit["second_edit_s"], 0.5), "s")
    if decode:
        found["tokens of the plan a second"] = f"{decode['tokens_per_s']:,.0f}"
    if power:
        found["energy of an edit, idle power included"] = amount(power["joules_per_edit"], "J")
    if document["memory"].get("peak_rss_bytes"):
        found["peak memory of the process"] = amount(document["memory"]["peak_rss_bytes"], "bytes")
    return found


def _doubts(document: Mapping[str, Any]) -> Iterator[str]:
    if document.get("throttled"):
        yield "The machine was slowed down by heat or power while it was measured."
    if document["settings"].get("quick"):
        yield "This is the short form: few samples."
    if document["bundle"].get("random"):
        yield "The bundle has random weights: times are real, plans and tokens in a pass are not."
    if len(document["edit"]["samples_s"]) < 10:
        yield f"Only {len(document['edit']['samples_s'])} edits were timed: too few for a 90th percentile."
