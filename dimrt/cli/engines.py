"""`dimrt engines`: what the engine cache holds."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from dimrt.cli.build import cache_option, describe
from dimrt.cli.console import print_json
from dimrt.cli.options import json_option
from dimrt.errors import CheckFailed, InputError, ResourceError

if TYPE_CHECKING:
    from dimrt.engines.cache import EngineCache, Entry
    from dimrt.engines.record import Device, Record


def gpu_or_none() -> "Device | None":
    """The GPU of this machine, if it has one."""
    from dimrt.engines.device import detect

    try:
        return detect()
    except ResourceError:
        return None


def staleness(entries: "list[Entry]") -> dict[str, str]:
    """Why each engine that can't be used here can't, by key. Without a GPU, devices aren't compared."""
    from dimrt.engines.flavour import installed_flavours

    versions = {flavour.name: flavour.version for flavour in installed_flavours()}
    device = gpu_or_none()
    found = {}
    for entry in entries:
        if entry.record is None:
            found[entry.key] = entry.fault or "no engine"
            continue
        identity = entry.record.identity
        version = versions.get(identity.flavour)
        reason = None
        if version is None:
            reason = f"{identity.flavour} isn't installed"
        elif device is not None:
            reason = identity.mismatch(version, device)
        elif version != identity.version:
            reason = f"built by {identity.flavour} {identity.version}, this is {version}"
        if reason is not None:
            found[entry.key] = reason
    return found


@click.group("engines", invoke_without_command=True)
@cache_option
@json_option
@click.pass_context
def command(context: click.Context, cache: Path | None, as_json: bool) -> None:
    """List, look at and remove built engines. Without a command: `ls`."""
    if context.invoked_subcommand is None:
        context.invoke(ls, cache=cache, as_json=as_json)
    elif cache is not None or as_json:
        raise click.UsageError(f"Options stand after `{context.invoked_subcommand}`.", context)


@command.command("ls")
@cache_option
@json_option
def ls(cache: Path | None, as_json: bool) -> None:
    """List the engines of the cache, and why some can't be used here."""
    store = _cache(cache)
    entries = store.entries()
    stale = staleness(entries)
    total, kept = sum(entry.bytes for entry in entries), store.kept_bytes()
    if as_json:
        listed = [
            {**(describe(entry.record) if entry.record else {"key": entry.key}), "bytes": entry.bytes}
            | {"stale": stale.get(entry.key)}
            for entry in entries
        ]
        print_json({"cache": str(store.root), "bytes": total, "kernel_bytes": kept, "engines": listed})
        return
    for entry in entries:
        record = entry.record
        what = "-" if record is None else f"{record.name} {record.recipe}, {_place(record)}"
        graph = "-" if record is None else record.identity.graph
        note = f"  stale: {stale[entry.key]}" if entry.key in stale else ""
        click.echo(f"{entry.key}  {graph:<10} {entry.bytes / 1e6:>9.1f} MB  {what}{note}")
    beside = f" and {kept / 1e6:,.1f} MB of compiled kernels" if kept else ""
    click.echo(f"{len(entries)} engines, {total / 1e6:,.1f} MB{beside}, in {store.root}")


@command.command("inspect")
@click.argument("key")
@cache_option
@json_option
def inspect(key: str, cache: Path | None, as_json: bool) -> None:
    """Show one engine: tensors, profiles, build. Exits 1 when its bytes aren't what was built."""
    store = _cache(cache)
    entry = _entry(store, key)
    if entry.record is None:
        raise CheckFailed(
            f"engine {entry.key} is damaged: {entry.fault}; remove it with `dimrt engines rm {entry.key}`"
        )
    if not store.intact(entry.record):
        raise CheckFailed(
            f"engine {entry.key} was altered since it was built; remove it with `dimrt engines rm {entry.key}`"
        )
    record = entry.record
    stale = staleness([entry]).get(entry.key)
    if as_json:
        print_json({**msgspec.to_builtins(record), "key": record.key, "intact": True, "stale": stale})
        return
    for name, value in _facts(record).items():
        click.echo(f"{name:<11} {value}")
    if stale:
        click.echo(f"{'stale':<11} {stale}")
    for kind, specs in (("in", record.inputs), ("out", record.outputs)):
        for spec in specs:
            click.echo(f"{kind:<4} {spec.name:<18} {spec.dtype:<8} {list(spec.shape)}")
    for number, profile in enumerate(record.profiles):
        bounds = ", ".join(f"{axis} {least}..{most} ({usual})" for axis, (least, usual, most) in profile.items())
        click.echo(f"profile {number}   {bounds or 'fixed shapes'}")


@command.command("rm")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--all", "everything", is_flag=True, help="Remove every engine, and compiled kernels.")
@click.option("--stale", "only_stale", is_flag=True, help="Remove what is damaged or can't be used here.")
@cache_option
@json_option
def rm(keys: tuple[str, ...], everything: bool, only_stale: bool, cache: Path | None, as_json: bool) -> None:
    """Remove engines by key (its first letters are enough), the stale ones, or all."""
    if (bool(keys), everything, only_stale).count(True) != 1:
        raise click.UsageError("Give keys, or --all, or --stale.", click.get_current_context())
    store = _cache(cache)
    entries = store.entries()
    if keys:
        doomed = [_entry(store, key).key for key in keys]
    else:
        stale = staleness(entries)
        doomed = [entry.key for entry in entries if everything or entry.key in stale]
    freed = sum(store.remove(key) for key in dict.fromkeys(doomed)) + store.sweep()
    freed += store.forget_kept() if everything else 0
    if as_json:
        print_json({"cache": str(store.root), "removed": doomed, "bytes": freed})
    else:
        click.echo(f"removed {len(doomed)} engines, {freed / 1e6:,.1f} MB, from {store.root}")


def _cache(folder: Path | None) -> "EngineCache":
    from dimrt.engines.cache import EngineCache

    return EngineCache(folder)


def _entry(store: "EngineCache", key: str) -> "Entry":
    """The one engine whose key begins so.

    Raises:
        InputError: none or several do.
    """
    found = [entry for entry in store.entries() if key and entry.key.startswith(key)]
    if len(found) != 1:
        reason = "no engine has" if not found else f"{len(found)} engines have"
        raise InputError(f"{reason} a key that begins with {key!r} in {store.root}; `dimrt engines ls` lists them")
    return found[0]


def _place(record: "Record") -> str:
    identity = record.identity
    where = identity.device or "any GPU of compute capability " + ", ".join(identity.capabilities)
    return f"{identity.flavour} {identity.version} for {where}"


def _facts(record: "Record") -> dict[str, str]:
    """The lines of `inspect` before the tensors."""
    built = f"{record.created}, {record.build_seconds:.1f} s"
    return {
        "key": record.key,
        "graph": record.identity.graph,
        "bundle": f"{record.name} {record.recipe} (digest {record.identity.bundle})",
        "engine": _place(record),
        "target": record.target,
        "size": f"{record.plan_bytes / 1e6:,.1f} MB, of {record.weights_bytes / 1e6:,.1f} MB of weights",
        "built": built + (f", {record.peak_rss / 1e9:.2f} GB of memory at its peak" if record.peak_rss else ""),
        "attention": "from plain layers" if record.decomposed else "as the library has it",
        "cuda graph": "yes" if record.cuda_graph else "no",
    }
