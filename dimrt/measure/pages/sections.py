"""The sections of a report about times, in its order: pieces of HTML, none where the document holds nothing."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from dimrt.measure.comparing.metrics import samples_of
from dimrt.measure.comparing.quantities import amount, change, percent
from dimrt.measure.comparing.statistics import quantile_interval
from dimrt.measure.pages import charts, page
from dimrt.measure.pages.charts import Bar, nearest_rank
from dimrt.measure.samples import percentile

MEMORY = ("bandwidth", "cache")
"""Bounds that are rates of reading; the others are rates of products."""


def device(document: Mapping[str, Any]) -> Iterator[str]:
    """What was measured on."""
    card = document["card"]
    cores, clocks = card.get("cores") or {}, card.get("clocks") or {}
    told = [
        f"{kind.upper()} {clocks[f'{kind}_mhz']:g} MHz"
        + (f" of {clocks[f'{kind}_max_mhz']:g}" if f"{kind}_max_mhz" in clocks else "")
        for kind in ("cpu", "gpu")
        if f"{kind}_mhz" in clocks
    ]
    yield page.heading("Device")
    yield page.card(
        {
            "board": card["board"],
            "processor": card["processor"],
            "cores": _cores(cores, card.get("threads")),
            "memory": f"{amount(card['memory_bytes'], 'bytes')}, {amount(card['memory_free_bytes'], 'bytes')} free",
            "GPU": card["gpu"] and f"{card['gpu']}, driver {card['driver']}",
            "runs on": card["provider"],
            "power mode": card["power_mode"] or "unknown",
            "clocks": ", ".join(told) or "unknown",
            "system": card["system"],
            "features": " ".join(card.get("features") or ()),
            "versions": ", ".join(f"{name} {version}" for name, version in card["versions"].items()),
        }
    )


def ceilings(document: Mapping[str, Any]) -> Iterator[str]:
    """What the device can do at most."""
    found = document["ceilings"]
    rows = {
        "memory, read": found.get("bandwidth"),
        "memory, copied (read + written)": found.get("copy"),
        "last cache, read": found.get("cached"),
    }
    told = {name: amount(rate, "bytes/s") for name, rate in rows.items() if rate is not None}
    told |= {f"products in {form}": amount(rate, "ops/s") for form, rate in found["matmul"].items()}
    told |= {
        form if form == "bandwidth" else f"products in {form}": f"not measured: {why}"
        for form, why in (found.get("missing") or {}).items()
    }
    yield page.heading("Ceilings")
    yield page.paragraph("What this device was measured to do at most; a multiply-add counts two operations.", "soft")
    yield page.card(told)


def phases(document: Mapping[str, Any]) -> Iterator[str]:
    """Where the time of an edit goes."""
    found: Mapping[str, Sequence[float]] = document["edit"].get("phases") or {}
    if not found:
        return
    middles = {name: median(samples) for name, samples in found.items()}
    whole, start, bars = sum(middles.values()) or 1.0, 0.0, []
    for name, seconds in middles.items():
        bars.append(Bar(name, start, seconds, amount(seconds, "s")))
        start += seconds
    count = len(document["edit"]["samples_s"])
    longest = max(middles, key=lambda name: middles[name])
    yield page.heading("Where the time of an edit goes")
    yield page.figure(
        charts.waterfall(
            bars,
            "Phases of an edit, one after another",
            f"{', '.join(f'{bar.name} {bar.said}' for bar in bars)}. The longest is {longest}.",
        ),
        f"Median of each phase over {count} edits, laid end to end in the order they run. Phases that ran at the same "
        "time would overlap in truth; their sum is not the median of the whole.",
    )
    yield page.table(
        "",
        ("phase", "median", "p90", "share", "samples"),
        [
            (
                name,
                amount(middles[name], "s"),
                amount(percentile(samples, 0.9), "s"),
                percent(middles[name] / whole, 1),
                str(len(samples)),
            )
            for name, samples in found.items()
        ],
    )


def latency(document: Mapping[str, Any]) -> Iterator[str]:
    """Every sample of edits and of graphs."""
    named = {
        name.removeprefix("graph "): samples
        for name, (unit, _, samples) in samples_of(document).items()
        if unit == "s" and samples and not name.startswith("phase ")
    }
    yield page.heading("How much latency varies")
    yield page.figure(
        charts.spreads(
            list(named.items()),
            "Samples around their median",
            "; ".join(
                f"{name}: {len(samples)} samples from {amount(min(samples), 's')} to {amount(max(samples), 's')}, "
                f"median {amount(nearest_rank(samples, 0.5), 's')}"
                for name, samples in named.items()
            ),
        ),
        "Each dot is one sample, as its distance from its row's median (dark line; at the right in seconds). Orange: "
        f"90th percentile. Samples beyond {change(charts.BEYOND - 1)} are only counted, at the right.",
    )
    rows = [
        (
            name,
            str(len(samples)),
            amount(min(samples), "s"),
            amount(percentile(samples, 0.5), "s"),
            _interval(samples),
            *(amount(percentile(samples, share), "s") for share in (0.9, 0.99)),
            amount(max(samples), "s"),
        )
        for name, samples in named.items()
    ]
    note = (
        "Percentiles by nearest rank, as in MLPerf's SingleStream; p90 wants 10 samples, p99 wants 100. The interval "
        "is p50's, from order statistics of samples taken as independent."
    )
    yield page.table(note, ("", "samples", "least", "p50", "95 % interval", "p90", "p99", "most"), rows)
    at_most = document["edit"].get("p90_at_most")
    if at_most is not None:
        yield page.paragraph(f"With 99 % confidence the true p90 of an edit is at most {amount(at_most, 's')}.")
    yield from _cold(document)


def graphs(document: Mapping[str, Any]) -> Iterator[str]:
    """How near each graph comes to the ceilings."""
    found: Mapping[str, Mapping[str, Any]] = document.get("graphs") or {}
    if not found:
        return
    bars = [
        Bar(name, 0, graph["share"], percent(graph["share"]), "two" if graph["bound"] in MEMORY else "one")
        for name, graph in found.items()
        if graph.get("share") is not None
    ]
    yield page.heading("How near each graph comes to the ceiling")
    if bars:
        beyond = any(bar.length > 1 for bar in bars)
        said = ", ".join(f"{bar.name} {bar.said} of {found[bar.name]['bound']}" for bar in bars)
        yield page.figure(
            charts.shares(bars, "Share of the measured ceiling that each graph reaches", said + "."),
            "The least time a run could take by the measured ceilings, as a share of the time it takes. Orange: the "
            "bandwidth of memory or of a cache is the limit; blue: the rate of products."
            + (" More than 100 %: faster than what the ceiling was measured with." if beyond else ""),
        )
    rows = [
        (
            name,
            (_axes(graph.get("axes") or {}), "words"),
            str(graph.get("runs_per_edit", "-")),
            amount(graph.get("p50"), "s"),
            amount(graph.get("least_s"), "s"),
            "-" if graph.get("share") is None else percent(graph["share"]),
            graph.get("bound") or "-",
            amount(graph.get("cold_s"), "s"),
        )
        for name, graph in found.items()
    ]
    yield page.table(
        "Runs in an edit; time of a run, the least by the ceilings, and of loading with the first run (cold)",
        ("graph", ("axes", "words"), "runs", "p50", "least", "share", "limit", "cold"),
        rows,
    )
    whys = {str(graph.get("error") or graph.get("why")) for graph in found.values()} - {"None"}
    yield from (page.paragraph(why, "soft") for why in sorted(whys))


def _cold(document: Mapping[str, Any]) -> Iterator[str]:
    runs = [run for run in document.get("cold") or () if "seconds" in run]
    if not runs:
        return
    rows = [
        (
            f"page cache {run.get('page_cache', 'unknown')}",
            *(amount(run.get(part), "s") for part in ("seconds", "import_s", "open_s", "edit_s")),
        )
        for run in runs
    ]
    yield page.heading("First edit of a new process", 3)
    yield page.table("Once each", ("", "all", "import", "open and check the bundle", "load and edit"), rows)


def _cores(cores: Mapping[str, Any], threads: int | None) -> str | None:
    if not cores:
        return None
    text = f"{cores.get('logical')}"
    if cores.get("physical") not in (None, cores.get("logical")):
        text += f" ({cores['physical']} physical)"
    if cores.get("allowed") not in (None, cores.get("logical")):
        text += f", {cores['allowed']} allowed"
    if cores.get("quota") is not None:
        text += f", time of {cores['quota']:g}"
    return text + (f", {threads} threads asked for" if threads is not None else "")


def _interval(samples: Sequence[float]) -> str:
    found = quantile_interval(samples, 0.5)
    return "-" if found is None else " to ".join(amount(each, "s") for each in found)


def _axes(axes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {size:,}" for name, size in axes.items()) or "-"
