"""What `dimrt estimate` prints: one target in full, or targets and recipes in a table."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dimrt.predict.words import seconds

if TYPE_CHECKING:
    from dimrt.memory.count import Estimate
    from dimrt.predict.compare import Outlook
    from dimrt.predict.edit import Prediction
    from dimrt.predict.measured import Held

BOUNDS = {
    "arithmetic": "arithmetic",
    "bandwidth": "memory bandwidth",
    "between": "memory between products",
    "starting": "starting runs",
}
"""What takes most of a phase, in words."""


def counted(steps: int) -> str:
    """A number of steps."""
    return "1 step" if steps == 1 else f"{steps} steps"


def document(found: "Outlook") -> dict[str, Any]:
    """One target as JSON: memory in bytes, times in seconds."""
    memory = found.estimate
    return {
        "target": found.place.name,
        "recipe": found.recipe,
        "setting": asdict(memory.setting),
        "graphs": [asdict(use) for use in memory.uses],
        "overhead": memory.overhead,
        "designer": memory.of_role("designer"),
        "painter": memory.of_role("painter"),
        "peak": memory.peak,
        "available": memory.available,
        "fits": memory.fits,
        "would_fit": list(memory.advice),
        "time": None if found.prediction is None else _time(found.prediction),
        "why_no_time": found.why_not,
        "measured": None if found.held is None else _held(found.held),
    }


def _held(held: "Held") -> dict[str, Any]:
    phases = {
        name: {"predicted": predicted, "measured": measured} for name, (predicted, measured) in held.phases.items()
    }
    return {"phases": phases, "ratio": held.ratio}


def table_document(found: Sequence["Outlook"]) -> dict[str, Any]:
    """A comparison as JSON."""
    return {"compared": [document(each) for each in found]}


def _time(prediction: "Prediction") -> dict[str, Any]:
    efficiency = prediction.efficiency
    return {
        "seconds": prediction.seconds,
        "least": prediction.least,
        "most": prediction.most,
        "again": prediction.again,
        "error_factor": prediction.error,
        "steps": prediction.steps,
        "plan_tokens": prediction.plan_tokens,
        "tokens_per_run": prediction.tokens_per_run,
        "phases": [
            {
                "phase": phase.name,
                "runs": phase.runs,
                "seconds": phase.time.seconds,
                "bound": phase.time.bound,
                "by": asdict(phase.time),
                "graphs": {name: time.seconds for name, time in phase.graphs.items()},
            }
            for phase in prediction.phases
        ],
        "efficiency": {
            "family": efficiency.family,
            "basis": efficiency.basis,
            "bandwidth": efficiency.bandwidth,
            "arithmetic": efficiency.arithmetic,
            "unfused": efficiency.unfused,
            "start_s": efficiency.start_s,
            "assumed": sorted(prediction.assumed),
            "figures": efficiency.figures,
            "source": efficiency.source,
        },
    }


def print_outlook(found: "Outlook") -> None:
    """One target for a reader."""
    _print_memory(found.estimate, found.place.name)
    if found.prediction is not None:
        _print_time(found.prediction)
        if found.held is not None:
            _print_held(found.held)
    else:
        click.echo("\ntime      not known: name a --target, or a document of `dimrt bench -o FILE` made here")
    if found.estimate.fits:
        click.echo("\nfits")
        return
    would = "\n".join(f"  {line}" for line in found.estimate.advice)
    click.echo(f"\ndoesn't fit. What would:\n{would or '  nothing dimrt can set; use a device with more memory'}")


def _print_memory(found: "Estimate", target: str) -> None:
    columns = ("weights", "activations", "tensors", "cache")
    click.echo(f"{'MB':<22}" + "".join(f"{name:>12}" for name in columns))
    for use in found.uses:
        cells = "".join(f"{getattr(use, name) / 1e6:>12,.0f}" for name in columns)
        click.echo(f"{use.role:<10}{use.graph:<12}{cells}")
    setting = found.setting
    click.echo(f"\ndesigner  {found.of_role('designer') / 1e9:.2f} GB")
    tiles = "" if setting.tile is None else f", encoded and decoded in tiles of {setting.tile}"
    picture = f"{setting.size[0]} x {setting.size[1]} pixels{tiles}"
    click.echo(f"painter   {found.of_role('painter') / 1e9:.2f} GB, {picture}")
    click.echo(f"runtime   {found.overhead / 1e9:.2f} GB")
    together = "one after the other" if setting.residency == "phased" else "loaded together"
    known = "unknown" if found.available is None else f"{found.available / 1e9:.2f} GB"
    click.echo(f"peak      {found.peak / 1e9:.2f} GB, designer and painter {together}; {target} has {known}")


def _print_time(found: "Prediction") -> None:
    click.echo(f"\n{'phase':<12}{'runs':>6}{'time':>10}   mostly")
    for phase in found.phases:
        bound = BOUNDS[phase.time.bound]
        click.echo(f"{phase.name:<12}{phase.runs:>6.0f}{seconds(phase.time.seconds):>10}   {bound}")
    steps = counted(found.steps)
    click.echo(
        f"\nedit      {seconds(found.seconds)} (likely {seconds(found.least)} to {seconds(found.most)}): "
        f"{found.plan_tokens} tokens of plan, {found.tokens_per_run:g} a run; {steps}; {found.recipe}"
    )
    click.echo(f"again     {seconds(found.again)} for the next edit of the same photo")
    click.echo(f"error     {how_sure(found)}")


def _print_held(held: "Held") -> None:
    """What was measured there, against a prediction of just that."""
    click.echo("\nmeasured here: the edits of the document, predicted as they were made")
    for name, (predicted, measured) in held.phases.items():
        click.echo(f"{name:<12}{seconds(predicted):>16}{seconds(measured):>10} measured{predicted / measured:>8.2f}")
    predicted, measured = held.seconds
    click.echo(f"{'together':<12}{seconds(predicted):>16}{seconds(measured):>10} measured{held.ratio:>8.2f}")


def how_sure(found: "Prediction") -> str:
    """What the stated error rests on."""
    known = found.efficiency
    if not known.figures:
        return f"a factor of {found.error:g} is assumed; efficiencies {known.source}"
    if found.assumed:
        formats = " and ".join(sorted(found.assumed))
        return f"a factor of {found.error:g} is assumed: no published time of {formats} on such devices was found"
    return (
        f"nine of ten of {known.figures} times on such devices ({known.family}) were predicted within a factor of "
        f"{found.error:g}"
    )


def print_comparison(found: Sequence["Outlook"]) -> None:
    """Targets and recipes as a table."""
    click.echo(f"{'target':<22}{'recipe':<10}{'memory':>9}{'':<9}{'designer':>10}{'painter':>10}{'edit':>9}   likely")
    for each in found:
        fit = "fits" if each.estimate.fits else "too big"
        line = f"{each.place.name:<22}{each.recipe:<10}{each.estimate.peak / 1e9:>6.1f} GB  {fit:<7}"
        time = each.prediction
        if time is None:
            reason = (each.why_not or "rates not known").partition(" (")[0]
            click.echo(f"{line}{'-':>10}{'-':>10}{'-':>9}   {reason}")
            continue
        designer, painter = (seconds(value) for value in time.by_role)
        likely = f"{seconds(time.least)} to {seconds(time.most)}"
        click.echo(f"{line}{designer:>10}{painter:>10}{seconds(time.seconds):>9}   {likely}")
    times = [each.prediction for each in found if each.prediction is not None]
    if times:
        first = times[0]
        click.echo(
            f"\n{first.plan_tokens} tokens of plan, {first.tokens_per_run:g} a run; {counted(first.steps)}; "
            "memory for the longest plan"
        )


def draw(found: Sequence["Outlook"], model: str, path: Path) -> None:
    """The comparison as one SVG file."""
    from dimrt.files import atomic_write
    from dimrt.predict.chart import chart

    with atomic_write(path) as file:
        file.write(chart(found, model).encode())
