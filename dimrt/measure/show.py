"""The document in words and columns, for a terminal of 80 columns of which two are kept free at the left."""

from typing import Any

from dimrt.measure.samples import ENOUGH

NAME, WIDTH = 12, 78
UNKNOWN = "-"
FROM = {"cold": "bundle from the disk", "warm": "bundle in the page cache"}
BUSY = 0.5
"""Running processes for each core, before anything is measured, over which the machine is called busy."""


def card_lines(document: dict[str, Any]) -> list[str]:
    """What is measured, and on what."""
    card, bundle, settings = document["card"], document["bundle"], document["settings"]
    cores = card["cores"]
    usable = f"{cores['logical']} cores"
    if cores["physical"] not in (None, cores["logical"]):
        usable += f" ({cores['physical']} physical)"
    if cores["allowed"] != cores["logical"]:
        usable += f", {cores['allowed']} allowed"
    if cores["quota"] is not None:
        usable += f", time of {cores['quota']:g}"
    if card["threads"] is not None:
        usable += f", {card['threads']} threads inside an operator"
    clocks = card["clocks"]
    told = [f"{kind.upper()} {_now_of(clocks, kind)} MHz" for kind in ("cpu", "gpu") if f"{kind}_mhz" in clocks]
    memory = f"{_bytes(card['memory_bytes'])}, {_bytes(card['memory_free_bytes'])} free"
    versions = card["versions"]
    shown = [f"{name} {versions[name]}" for name in ("dimrt", "python", "onnxruntime", "tensorrt") if name in versions]
    edit = f"{bundle['name']}, {bundle['recipe']}, {_bytes(bundle['bytes'])}"
    edit += f", {settings['side']} px, steps {settings['steps']}, guidance {settings['guidance_scale']:g}"
    rows = {
        "board": card["board"],
        "processor": card["processor"],
        "cores": usable,
        "features": " ".join(card["features"]) or None,
        "memory": memory,
        "GPU": card["gpu"] and f"{card['gpu']}, driver {card['driver']}",
        "system": card["system"],
        "power mode": card["power_mode"] or "unknown",
        "clocks": ", ".join(told) or "unknown",
        "versions": ", ".join(shown),
        "provider": card["provider"],
        "bundle": edit + (", random weights" if bundle["random"] else ""),
    }
    lines = [line for name, value in rows.items() if value for line in _row(name, value)]
    load = card["state"]["load_average"]
    if load and load[0] > BUSY * cores["allowed"]:
        lines += _row("", f"busy: {load[0]:.1f} processes want its cores; these are the times of a busy machine")
    return lines


def ceiling_lines(document: dict[str, Any]) -> list[str]:
    """Bandwidth and rates of products, and what couldn't be measured."""
    found = document["ceilings"]
    lines = []
    if found["bandwidth"] is not None:
        read = f"{found['bandwidth'] / 1e9:,.1f} GB/s read, {found['copy'] / 1e9:,.1f} GB/s copied (read + written)"
        if found["cached"] is not None:
            read += f", {found['cached'] / 1e9:,.1f} GB/s from the last cache"
        lines += _row("bandwidth", read)
    rates = ", ".join(f"{kind} {_rate(value)}" for kind, value in found["matmul"].items())
    if rates:
        lines += _row("products", rates)
    for kind, why in found["missing"].items():
        lines += _row(f"no {kind}", why)
    return lines


def cold_lines(document: dict[str, Any]) -> list[str]:
    """A process's first edit."""
    lines = []
    for run in document["cold"]:
        if "error" in run:
            lines += _row("cold", f"failed: {run['error']}")
            continue
        names = {"start": "Python", "import": "imports", "open": "bundle checked", "edit": "edit"}
        parts = ", ".join(f"{name} {_time(run[f'{key}_s'])}" for key, name in names.items())
        lines += _row(_time(run["seconds"]), f"{FROM.get(run['page_cache'], run['page_cache'])}: {parts}")
    return lines


def edit_lines(document: dict[str, Any]) -> list[str]:
    """Edits end to end, their phases, and the decoding."""
    edit = document["edit"]
    lines = [f"{'':<{NAME}}{'p50':>9}{'p90':>9}{'p99':>9}{'samples':>9}"]
    lines.append(_percentiles("first edit", edit))
    if edit["second"]:
        lines.append(_percentiles("second edit", edit["second"]))
    at_most = edit["p90_at_most"]
    if at_most is not None:
        lines += _row("", f"p90 of the first is at most {_time(at_most)} (99 % confidence)")
    lines += _few(len(edit["samples_s"]))
    whole = sum(_median(values) for values in edit["phases"].values())
    lines.append("")
    for phase, values in edit["phases"].items():
        middle = _median(values)
        share = middle / whole if whole else 0.0
        lines.append(f"{phase:<{NAME}}{_time(middle):>9}{share:>8.0%}  {'#' * round(share * 40)}")
    return lines


def decode_lines(document: dict[str, Any]) -> list[str]:
    """How fast plans were written."""
    decode = document["decode"]
    if decode is None:
        return []
    rate = f"{decode['tokens_per_s']:,.0f} tokens/s, {decode['tokens_per_pass']:.2f} tokens a pass, "
    rate += f"{decode['tokens'][0]} tokens in the first plan"
    lines = _row("the plan", rate)
    if document["bundle"]["random"]:
        lines += _row("", "random weights repeat themselves: tokens a pass says nothing of real plans")
    return lines


def graph_lines(document: dict[str, Any]) -> list[str]:
    """Each graph by itself, against the ceilings."""
    lines = [f"{'':<15}{'runs':>5}{'p50':>9}{'p90':>9}{'p99':>9}{'cold':>9}{'share':>7}  of"]
    notes: dict[str, list[str]] = {}
    for name, entry in document["graphs"].items():
        if "error" in entry:
            notes.setdefault(entry["error"], []).append(name)
            lines.append(f"{name:<15}{'failed':>14}")
            continue
        cells = f"{name:<15}{entry['runs_per_edit']:>5}" + _cells(entry) + f"{_time(entry['cold_s']):>9}"
        share = UNKNOWN if entry["share"] is None else f"{entry['share']:.0%}"
        lines.append(f"{cells}{share:>7}  {entry['bound'] or ''}".rstrip())
        if entry.get("why"):
            notes.setdefault(entry["why"], []).append(name)
    for why, names in notes.items():
        lines += _row("", f"{', '.join(names)}: {why}")
    if any((entry.get("share") or 0) > 1 for entry in document["graphs"].values()):
        lines += _row("", "over 100 %: the machine was busier while the ceilings were measured")
    return lines


def closing_lines(document: dict[str, Any]) -> list[str]:
    """The long run, memory, energy and throttling."""
    lines = []
    lasting, memory, power = document["sustained"], document["memory"], document["power"]
    if lasting is not None:
        drift = lasting["drift"]
        trend = "too few to see a trend" if drift is None else f"the last third {drift:+.1%} against the first"
        text = f"{len(lasting['samples_s'])} edits in {lasting['seconds']:.0f} s, p50 {_time(lasting['p50'])}, "
        lines += _row("sustained", f"{text}p90 {_time(lasting['p90'])}; {trend}")
    if memory["peak_rss_bytes"]:
        on_device = memory["device_bytes"]
        lines += _row(
            "memory",
            f"{_bytes(memory['peak_rss_bytes'])} at the peak of a process with one edit"
            + (f", {_bytes(on_device)} on the GPU" if on_device else ""),
        )
    if power is not None:
        idle = f", {power['idle_watts']:.1f} W idle" if power["idle_watts"] is not None else ""
        text = f"{power['joules_per_edit']:,.1f} J an edit, {power['mean_watts']:.1f} W{idle} ({power['meter']}: "
        lines += _row("energy", f"{text}{power['scope']})")
    else:
        lines += _row("energy", f"unknown: {document['power_why']}")
    if document["throttled"] is not None:
        lines += _row("throttled", "yes: clocks were lowered while it ran" if document["throttled"] else "no")
    return lines


def _percentiles(name: str, entry: dict[str, Any]) -> str:
    return f"{name:<{NAME}}{_cells(entry)}{len(entry['samples_s']):>9}"


def _cells(entry: dict[str, Any]) -> str:
    return "".join(f"{_time(entry[key]):>9}" for key in ("p50", "p90", "p99"))


def _few(count: int) -> list[str]:
    lacking = [f"p{share * 100:g} wants {least}" for share, least in ENOUGH.items() if count < least]
    return _row("", f"too few samples: {', '.join(lacking)} (--rounds)") if lacking else []


def _row(name: str, text: str) -> list[str]:
    """A name and its text, wrapped to the width."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > WIDTH - NAME:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    lines.append(line)
    return [f"{name if i == 0 else '':<{NAME}}{part}".rstrip() for i, part in enumerate(lines)]


def _now_of(clocks: dict[str, Any], kind: str) -> str:
    most = clocks.get(f"{kind}_max_mhz")
    return f"{clocks[f'{kind}_mhz']}" + (f" of {most}" if most else "")


def _time(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms" if seconds < 0.9995 else "1 s"
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"


def _bytes(count: int | None) -> str:
    if count is None:
        return "unknown"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _rate(value: float) -> str:
    return f"{value / 1e12:.3g} Top/s" if value >= 1e12 else f"{value / 1e9:.3g} Gop/s"


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
