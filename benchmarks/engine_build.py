"""What building engines costs: seconds, peak memory and bytes, for every graph of a bundle, one process a graph.

    python benchmarks/engine_build.py BUNDLE --target rtx-4060 [--graph NAME ...] [--cache DIR]

Results are added to benchmarks/results/engine-build.json under the bundle's name, recipe and target; a graph that can't
be built is recorded with what stopped it. Engines are removed after measuring unless --keep is given.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import RESULTS, write_result

from dimrt.bundle import Bundle, find_bundle
from dimrt.engines.build import build_bundle, memory_needed
from dimrt.engines.cache import EngineCache
from dimrt.engines.place import building_place
from dimrt.engines.target import Target, load_target
from dimrt.errors import DimrtError


def measure(bundle: Bundle, graph: str, targets: list[Target], cache: EngineCache, keep: bool) -> dict[str, Any]:
    """Build one graph and say what it took, or what stopped it."""
    weights = bundle.graph_bytes(graph)
    found: dict[str, Any] = {"weights_bytes": weights, "memory_expected": memory_needed(weights)}
    try:
        (record,) = build_bundle(bundle, targets[0], also=targets[1:], graphs=[graph], cache=cache, force=True)
    except DimrtError as error:
        return {**found, "stopped_by": str(error)}
    found |= {
        "build_seconds": record.build_seconds,
        "peak_rss": record.peak_rss,
        "plan_bytes": record.plan_bytes,
        "peak_per_weights": round(record.peak_rss / weights, 2),
        "attention_decomposed": record.decomposed,
        "profiles": [dict(profile) for profile in record.profiles],
    }
    if not keep:
        cache.remove(record.key)
    return found


def line(graph: str, found: dict[str, Any]) -> str:
    """One graph for a reader."""
    if "stopped_by" in found:
        return f"{graph:<10} {found['weights_bytes'] / 1e6:>8.1f} MB  stopped: {found['stopped_by']}"
    return (
        f"{graph:<10} {found['weights_bytes'] / 1e6:>8.1f} MB -> {found['plan_bytes'] / 1e6:>8.1f} MB  "
        f"{found['build_seconds']:>7.1f} s  peak {found['peak_rss'] / 1e9:.2f} GB "
        f"({found['peak_per_weights']} x weights)"
    )


def main() -> int:
    """Measure and record."""
    parser = argparse.ArgumentParser(description="Build engines and record what it costs.")
    parser.add_argument("bundle")
    parser.add_argument("--target", action="append", required=True)
    parser.add_argument("--graph", action="append")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "engine-build.json")
    arguments = parser.parse_args()
    path, _ = find_bundle(arguments.bundle)
    bundle = Bundle.open(path, verify="layout")
    targets = [load_target(name) for name in arguments.target]
    flavour, capabilities, _ = building_place(targets)
    name = f"{bundle.manifest.name} {bundle.manifest.recipe} for {'+'.join(arguments.target)}"
    measured = json.loads(arguments.out.read_text(encoding="utf-8"))["measured"] if arguments.out.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        cache = EngineCache(arguments.cache or folder)
        for graph in arguments.graph or bundle.manifest.graphs:
            found = measure(bundle, graph, targets, cache, arguments.keep)
            print(line(graph, found), file=sys.stderr, flush=True)
            measured.setdefault(name, {})[graph] = found
            settings = {"flavour": flavour.name, "version": flavour.version, "compute_capabilities": capabilities}
            write_result("engine-build", settings, measured, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
