"""A bundle's graphs become engines in the cache, one process each; what is already there is kept."""

import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import msgspec

from dimrt.bundle import Bundle
from dimrt.engines import process
from dimrt.engines.cache import PLAN, RECORD, EngineCache
from dimrt.engines.flavour import Flavour
from dimrt.engines.job import Job, Step
from dimrt.engines.network import check_contract, pinned_specs
from dimrt.engines.place import building_place
from dimrt.engines.profiles import Profile, engine_profiles, graph_profile, pinned
from dimrt.engines.record import FORMAT, Device, Identity, Record
from dimrt.engines.target import Target
from dimrt.errors import Cancelled, InputError, ResourceError
from dimrt.files import atomic_write
from dimrt.host import available_memory, free_disk

MEMORY_FACTOR = 1.9
MEMORY_BASE = 600_000_000
"""Memory that a build takes for itself, in bytes: this much, and so many times the graph's weights. The weights' file
is mapped, and counts as resident once more, but the system may drop those pages (benchmarks/results/engine-build.json).
"""
DISK_FACTOR = 1.1
DISK_BASE = 100_000_000
"""Bytes of a plan: this much at most over so many times the weights."""
WORKSPACE_SHARE = 4
"""A layer's scratch space gets this part of the device's memory at most."""
CAPTURED = ("language", "step")
"""Graphs that run many times with the same shapes: the runtime captures them into CUDA graphs."""


@dataclass(frozen=True)
class BuildEvent:
    """What happens during a build.

    Attributes:
        graph: which one.
        state: "kept" (it was in the cache), "started", "progress" or "finished".
        phase, done, total: of the builder, while in "progress".
        record: of the engine, when "kept" or "finished".
    """

    graph: str
    state: Literal["kept", "started", "progress", "finished"]
    phase: str = ""
    done: int = 0
    total: int = 0
    record: Record | None = None


Listener = Callable[[BuildEvent], None]


@dataclass(frozen=True)
class Wanted:
    """One engine to be built or found."""

    identity: Identity
    profile: Profile
    weights_bytes: int


def build_bundle(
    bundle: Bundle,
    target: Target,
    *,
    also: Sequence[Target] = (),
    graphs: Sequence[str] | None = None,
    cache: EngineCache | str | Path | None = None,
    force: bool = False,
    on_event: Listener | None = None,
    cancel: threading.Event | None = None,
) -> list[Record]:
    """Build the engines of a bundle for a target, and put them into the cache.

    Everything that can be known is checked before the first build. Graphs that are in the cache are kept; each one is
    stored when it is finished, so that an interrupted call goes on where it stopped.

    Args:
        also: further targets of the same flavour that the same engines shall run on (TensorRT for RTX only).
        graphs: names; default: all of the bundle's.
        cache: the cache or its folder; default: the user's.
        force: build anew what is there already.
        on_event: told what happens; see `BuildEvent`.
        cancel: set it to stop: nothing of the graph at hand is kept.

    Returns:
        One record a graph, in the bundle's order.

    Raises:
        InputError: no such graph, a target that needs no engines, or targets that don't go together.
        BundleError: an ONNX file isn't what the manifest describes, or the flavour can't parse it.
        ResourceError: no flavour, no GPU where one is needed, too little memory or disk, or the builder failed.
        Cancelled: `cancel` was set.
    """
    store = cache if isinstance(cache, EngineCache) else EngineCache(cache)
    flavour, capabilities, device = building_place((target, *also))
    names = _graph_names(bundle, graphs)
    wanted = [_wanted(bundle, name, target, flavour, capabilities, device) for name in names]
    held = {} if force else {item.identity.graph: store.get(item.identity.key) for item in wanted}
    missing = [item for item in wanted if held.get(item.identity.graph) is None]
    for item in missing:
        graph = bundle.manifest.graphs[item.identity.graph]
        check_contract(bundle.graph_path(item.identity.graph), graph.inputs, graph.outputs)
    if missing:
        _check_room(missing, store)
        store.prepare()
        store.sweep()
    tell = on_event or (lambda event: None)
    records = []
    for item in wanted:
        record = held.get(item.identity.graph)
        if record is not None:
            tell(BuildEvent(item.identity.graph, "kept", record=record))
        else:
            if cancel is not None and cancel.is_set():
                raise Cancelled
            record = _build(bundle, item, target, flavour, store, force, tell, cancel)
        records.append(record)
    return records


def _graph_names(bundle: Bundle, graphs: Sequence[str] | None) -> list[str]:
    """The bundle's graphs in its order, or the asked ones."""
    held = list(bundle.manifest.graphs)
    unknown = [name for name in graphs or () if name not in held]
    if unknown:
        raise InputError(f"{bundle.path} has no graph {unknown[0]!r}; it has {', '.join(held)}")
    return [name for name in held if graphs is None or name in graphs]


def _wanted(
    bundle: Bundle,
    graph: str,
    target: Target,
    flavour: Flavour,
    capabilities: tuple[str, ...],
    device: Device | None,
) -> Wanted:
    profile = graph_profile(bundle.manifest, graph, target)
    identity = Identity(
        bundle=bundle.digest,
        graph=graph,
        flavour=flavour.name,
        version=flavour.version,
        capabilities=capabilities,
        device=device.name if device else None,
        driver=device.driver if device else None,
        profiles=engine_profiles(profile, graph, flavour.name),
    )
    return Wanted(identity, profile, bundle.graph_bytes(graph))


def _check_room(missing: Sequence[Wanted], store: EngineCache) -> None:
    """Refuse a build that memory or disk won't hold, before it starts."""
    largest = max(missing, key=lambda item: item.weights_bytes)
    need = memory_needed(largest.weights_bytes)
    left = available_memory()
    if left is not None and left < need:
        raise ResourceError(
            f"building graph `{largest.identity.graph}` takes about {need / 1e9:.1f} GB of memory "
            f"({largest.weights_bytes / 1e9:.1f} GB of weights) and {left / 1e9:.1f} GB are available; close other "
            "programs, take a bundle of a smaller recipe (int8, int4), or build on a larger machine and copy the cache"
        )
    size = sum(int(item.weights_bytes * DISK_FACTOR) + DISK_BASE for item in missing)
    free = free_disk(store.root)
    if free < size:
        raise ResourceError(
            f"the engines take up to {size / 1e9:.1f} GB and {store.root} has {free / 1e9:.1f} GB free; free some "
            "space (`dimrt engines ls` shows what is there) or name another folder with --cache"
        )


def memory_needed(weights_bytes: int) -> int:
    """Bytes of memory that building a graph with such weights takes at its peak."""
    return int(MEMORY_BASE + MEMORY_FACTOR * weights_bytes)


def _build(
    bundle: Bundle,
    item: Wanted,
    target: Target,
    flavour: Flavour,
    store: EngineCache,
    replace: bool,
    tell: Listener,
    cancel: threading.Event | None,
) -> Record:
    """Build one graph into the cache."""
    name = item.identity.graph
    graph = bundle.manifest.graphs[name]
    sizes = pinned(item.profile)
    tell(BuildEvent(name, "started"))
    started = time.monotonic()

    def on_step(step: Step) -> None:
        tell(BuildEvent(name, "progress", step.phase, step.done, step.total))

    with (
        store.staging(item.identity.key, replace=replace) as folder,
        timing_cache(store, flavour, item.identity) as timing,
    ):
        job = Job(
            flavour=flavour.name,
            onnx=str(bundle.graph_path(name)),
            plan=str(folder / PLAN),
            inputs=pinned_specs(graph.inputs, sizes),
            outputs=pinned_specs(graph.outputs, sizes),
            pinned=sizes,
            profiles=item.identity.profiles,
            capabilities=item.identity.capabilities if flavour.ahead else (),
            workspace_bytes=target.memory_bytes // WORKSPACE_SHARE,
            timing=timing,
        )
        built = process.run(job, name, on_step, cancel)
        record = Record(
            format=FORMAT,
            identity=item.identity,
            target=target.name,
            name=bundle.manifest.name,
            recipe=bundle.manifest.recipe,
            inputs=job.inputs,
            outputs=job.outputs,
            profiles=built.profiles,
            plan_bytes=built.plan_bytes,
            sha256=built.sha256,
            weights_bytes=item.weights_bytes,
            build_seconds=round(time.monotonic() - started, 2),
            peak_rss=built.peak_rss,
            decomposed=built.decomposed,
            cuda_graph=name in CAPTURED,
            created=datetime.now(timezone.utc).isoformat(timespec="microseconds"),
        )
        (folder / PLAN).chmod(0o600)
        with atomic_write(folder / RECORD) as file:
            file.write(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    tell(BuildEvent(name, "finished", record=record))
    return record


@contextmanager
def timing_cache(store: EngineCache, flavour: Flavour, identity: Identity) -> Iterator[str | None]:
    """A file with what the library learned in earlier builds on this GPU; None where it times nothing."""
    if flavour.ahead:
        yield None
        return
    device = re.sub(r"[^A-Za-z0-9]+", "-", f"{identity.device} {identity.driver}")
    name = f"{flavour.name}-{flavour.version}-{device}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        before = store.load_sealed("timing", name)
        path.write_bytes(before)
        yield str(path)
        if path.read_bytes() != before:
            store.save_sealed("timing", name, path.read_bytes())
