"""`dimrt build`: the engines of a bundle for a device."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dimrt.bundle import Bundle, find_bundle
from dimrt.cli.console import Console, cancel_on_interrupt, print_json
from dimrt.cli.options import output_options
from dimrt.errors import ResourceError
from dimrt.events import PhaseStarted, Progress

if TYPE_CHECKING:
    from dimrt.engines.build import BuildEvent
    from dimrt.engines.cache import EngineCache
    from dimrt.engines.record import Record
    from dimrt.engines.target import Target

cache_option = click.option(
    "--cache", type=click.Path(path_type=Path), metavar="DIR", help="Engine cache [default: DIMRT_ENGINES, else yours]."
)


def describe(record: "Record") -> dict[str, Any]:
    """An engine as JSON."""
    identity = record.identity
    return {
        "key": record.key,
        "graph": identity.graph,
        "bundle": record.name,
        "digest": identity.bundle,
        "recipe": record.recipe,
        "target": record.target,
        "flavour": identity.flavour,
        "version": identity.version,
        "compute_capabilities": list(identity.capabilities),
        "device": identity.device,
        "driver": identity.driver,
        "plan_bytes": record.plan_bytes,
        "weights_bytes": record.weights_bytes,
        "build_seconds": record.build_seconds,
        "peak_rss": record.peak_rss,
        "profiles": [dict(profile) for profile in record.profiles],
    }


def chosen_targets(names: tuple[str, ...]) -> "list[Target]":
    """The named targets, or the one of the GPU of this machine."""
    from dimrt.engines.device import buildable, detect, target_for
    from dimrt.engines.flavour import installed_flavours
    from dimrt.engines.target import load_target

    if names:
        return [load_target(name) for name in names]
    try:
        return [target_for(detect())]
    except ResourceError as error:
        ahead = [name for flavour in installed_flavours() for name in buildable(flavour)]
        here = f"this machine builds ahead of time for {', '.join(ahead)}" if ahead else "and no flavour is installed"
        raise ResourceError(f"no --target given and no GPU to build for: {error}; {here}") from None


def show(event: "BuildEvent", console: Console, started: set[str]) -> None:
    """One event: a bar while a graph is built, a line when it is there."""
    if event.state == "progress":
        if event.graph not in started:
            started.add(event.graph)
            console.on_event(PhaseStarted(event.graph, event.total))
        console.on_event(Progress(event.graph, event.done))
    elif event.record is not None:
        console.close()
        record = event.record
        size = f"{record.plan_bytes / 1e6:>8.1f} MB"
        if event.state == "kept":
            console.note(f"{event.graph:<10} {size}  in the cache")
        else:
            peak = f", {record.peak_rss / 1e9:.1f} GB of memory" if record.peak_rss else ""
            console.note(f"{event.graph:<10} {size}  built in {record.build_seconds:.1f} s{peak}")


def build_shown(
    bundle: Bundle,
    targets: "Sequence[Target]",
    console: Console,
    *,
    graphs: Sequence[str] | None = None,
    cache: "EngineCache | None" = None,
    force: bool = False,
) -> "list[Record]":
    """`build_bundle`, showing how it goes; an interrupt ends it cleanly."""
    from dimrt.engines.build import build_bundle

    started: set[str] = set()
    try:
        with cancel_on_interrupt() as cancel:
            records: list[Record] = build_bundle(
                bundle,
                targets[0],
                also=targets[1:],
                graphs=graphs,
                cache=cache,
                force=force,
                on_event=lambda event: show(event, console, started),
                cancel=cancel,
            )
    finally:
        console.close()
    return records


@click.command("build")
@click.argument("bundle", required=False)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME|FILE",
    help="Device to build for; several RTX targets share the engines [default: this machine's GPU].",
)
@click.option("--graph", "graphs", multiple=True, metavar="NAME", help="Build this graph only; may be given again.")
@cache_option
@click.option("--force", is_flag=True, help="Build anew what is in the cache already.")
@output_options
def command(
    bundle: str | None,
    targets: tuple[str, ...],
    graphs: tuple[str, ...],
    cache: Path | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Build the TensorRT engines of a bundle: one for each graph, into the engine cache.

    TensorRT for RTX builds for any RTX card on any host; TensorRT builds on the device itself, a Jetson for example.
    What is in the cache already is kept. Needs an extra: pip install "dimrt[rtx]" or "dimrt[tensorrt]".

    Example: dimrt build nano --target rtx-4060
    """
    from dimrt.engines.cache import EngineCache

    chosen = chosen_targets(targets)
    store = EngineCache(cache)
    path, source = find_bundle(bundle)
    console = Console(quiet=quiet, as_json=as_json)
    opened = Bundle.open(path)
    console.note(f"bundle    {opened.manifest.name} ({source}: {path})")
    console.note(f"target    {', '.join(f'{target.name} ({target.device})' for target in chosen)}")
    records = build_shown(opened, chosen, console, graphs=graphs or None, cache=store, force=force)
    if as_json:
        print_json({"cache": str(store.root), "engines": [describe(record) for record in records]})
    size = sum(record.plan_bytes for record in records)
    console.note(f"{len(records)} engines, {size / 1e6:,.1f} MB, in {store.root}")
