"""The sections of a report about power, long runs and memory, its settings, and every sample."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from dimrt.measure.comparing.metrics import samples_of
from dimrt.measure.comparing.quantities import amount, change, percent
from dimrt.measure.pages import charts, page
from dimrt.measure.pages.charts import Stretch
from dimrt.measure.pages.phase_power import by_phase, phases_of

RAW_DIGITS = 5


def power(document: Mapping[str, Any]) -> Iterator[str]:
    """Watts over the long run, and joules of an edit."""
    found = document.get("power")
    yield page.heading("Power")
    if not found:
        yield page.paragraph(f"Not measured: {document.get('power_why') or 'no meter was found'}.")
        return
    idle, mean, edits = found.get("idle_watts"), found["mean_watts"], found["edits"]
    told = {"energy of an edit": amount(found["joules_per_edit"], "J"), "mean power": amount(mean, "W")}
    if idle is not None:
        above = (mean - idle) * found["seconds"] / edits
        told |= {"power before, idle": amount(idle, "W"), "energy of an edit above idle": amount(above, "J")}
    told |= {
        f"of it {rail}" if len(found["rails"]) > 1 else rail: amount(each, "W") for rail, each in found["rails"].items()
    }
    yield page.card(told)
    if len(found["rails"]) > 1:
        yield page.paragraph("Means over the run, idle power included; some rails contain others.", "soft")
    watts = [(at, each) for at, each in found["watts"]]
    if len(watts) > 1:
        stretches = _edits_as_stretches(document)
        yield page.figure(
            charts.power_line(
                watts,
                stretches,
                idle,
                (
                    "Power over time",
                    f"{len(watts)} samples over {amount(found['seconds'], 's')}: mean {amount(mean, 'W')}, from "
                    f"{amount(min(each for _, each in watts), 'W')} to {amount(max(each for _, each in watts), 'W')}.",
                ),
            ),
            f"{found['meter']}: {found['scope']}. {len(watts)} samples while {edits} edits ran in a row"
            + ("; every other edit is shaded." if stretches else ".")
            + (" Band: least to most of neighbouring samples." if len(watts) > charts.NARROW_SAMPLES else ""),
        )
        yield from _power_within(document, watts)


def sustained(document: Mapping[str, Any]) -> Iterator[str]:
    """Whether edits slow down when they go on."""
    found = document.get("sustained")
    if not found or len(found["samples_s"]) < 2:
        return
    samples, at = found["samples_s"], found["at_s"]
    third = max(1, len(samples) // 3)
    first, last = median(samples[:third]), median(samples[-third:])
    drift = found.get("drift")
    levels, said = [], "too few edits to see a trend"
    if drift is not None:
        levels = [(at[0], at[third - 1], first), (at[-third], at[-1], last)]
        said = f"the last third is {change(drift, 1)} against the first"
    yield page.heading("Edits in a row")
    yield page.figure(
        charts.scatter(
            list(zip(at, samples, strict=True)),
            levels,
            ("Seconds of each edit in a long run", f"{len(samples)} edits; {said}."),
        ),
        f"{len(samples)} edits in {amount(found['seconds'], 's')}, each at the time it began; {said}."
        + (f" Orange: medians of those thirds, {amount(first, 's')} and {amount(last, 's')}." if levels else ""),
    )


def memory(document: Mapping[str, Any]) -> Iterator[str]:
    """Bytes of a process with one edit."""
    found = document["memory"]
    told = {
        "peak of a process with one edit": found.get("peak_rss_bytes"),
        "on the GPU": found.get("device_bytes"),
        "the bundle on disk": document["bundle"].get("bytes"),
    }
    yield page.heading("Memory")
    yield page.card({name: amount(size, "bytes") for name, size in told.items() if size is not None})


def closing(document: Mapping[str, Any]) -> Iterator[str]:
    """Settings, and every sample."""
    settings = {name.replace("_", " "): _plain(value) for name, value in document["settings"].items()}
    bundle = {f"bundle {name}": _plain(value) for name, value in document["bundle"].items() if name != "bytes"}
    yield page.heading("Settings")
    yield page.card({**bundle, **settings, "command": document.get("command")})
    yield "<div class='screen'>"
    yield page.heading("Every sample")
    yield page.paragraph("In the order they were measured; the JSON document holds them in full.", "soft")
    for name, (unit, _, samples) in samples_of(document).items():
        if samples:
            text = "  ".join(f"{each:.{RAW_DIGITS}g}" for each in samples)
            yield page.folded(f"{name}: {len(samples)} in {unit}", page.listing(text))
    yield "</div>"


def _power_within(document: Mapping[str, Any], watts: Sequence[tuple[float, float]]) -> Iterator[str]:
    """One edit of the long run with its phases, and the energy of phases; nothing where their times aren't known."""
    edit = len((document.get("sustained") or {}).get("samples_s") or ()) // 2
    phases = phases_of(document, edit)
    if not phases:
        return
    began, ended = phases[0].start, phases[-1].end
    inside = [(at - began, each) for at, each in watts if began <= at <= ended]
    if len(inside) > 1:
        stretches = [
            Stretch(phase.start - began, phase.end - began, phase.name, i % 2 == 1) for i, phase in enumerate(phases)
        ]
        names = ", ".join(phase.name for phase in phases)
        yield page.figure(
            charts.power_line(
                inside,
                stretches,
                (document.get("power") or {}).get("idle_watts"),
                ("Power in one edit, with its phases", f"{len(inside)} samples; phases: {names}."),
            ),
            f"Edit {edit + 1} of the run, in the middle of it, with its phases ({len(inside)} samples).",
        )
    rows = by_phase(document)
    whole = sum(joules for joules, _ in rows.values())
    yield page.table(
        "Energy of each phase, mean of all edits of the run; of phases shorter than the time between two samples "
        f"({amount(_between(watts), 's')}) it is mostly their neighbours'",
        ("phase", "energy", "share", "mean power"),
        [
            (name, amount(joules, "J"), percent(joules / whole, 1) if whole else "-", amount(power, "W"))
            for name, (joules, power) in rows.items()
        ],
    )


def _between(watts: Sequence[tuple[float, float]]) -> float:
    """Seconds between two samples, on average."""
    return (watts[-1][0] - watts[0][0]) / (len(watts) - 1)


def _edits_as_stretches(document: Mapping[str, Any]) -> list[Stretch]:
    lasting = document.get("sustained") or {}
    at, samples = lasting.get("at_s") or (), lasting.get("samples_s") or ()
    return [
        Stretch(start, start + seconds, "", i % 2 == 1)
        for i, (start, seconds) in enumerate(zip(at, samples, strict=False))
    ]


def _plain(value: Any) -> str | None:
    """A setting in words: lists with commas, yes and no."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_plain(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(_plain(each)) for each in value)
    return str(value)
