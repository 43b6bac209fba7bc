"""Loading a bundle in a fresh process: how long, and where its weights are.

Each variant loads every graph in processes of its own, in turns. Seconds are from the first line of the program to the
last session (`whole`) and of the sessions alone; processor seconds beside them say the same on a busy machine. Memory
is what Linux tells of the process: `anonymous` is its own, `files` is mapped and can be dropped and read again.

- as it is: ONNX Runtime maps the weights' files and copies what its kernels want in another order (packing).
- without packing: everything stays in the mapped files; the first run is there to compare.

    python benchmarks/loading.py --bundle BUNDLE --rounds 9
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import write_result

NANO = Path(__file__).parents[1] / "dimrt" / "bundles" / "nano"
VARIANTS = {"as it is": {}, "without packing": {"session.disable_prepacking": "1"}}
STATUS = {"anonymous": "RssAnon", "files": "RssFile", "peak": "VmHWM"}


def memory() -> dict[str, int]:
    """Mebibytes of this process."""
    path = Path("/proc/self/status")
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines()) if path.is_file() else {}
    return {name: round(int(lines[key].split()[0]) / 1024) for name, key in STATUS.items() if key in lines}


def child(args: argparse.Namespace, start: float) -> None:
    """Load every graph, print what it took."""
    import onnxruntime as ort

    from dimrt.backends import onnxruntime as backends
    from dimrt.backends.cores import choose_threads, usable_cores
    from dimrt.bundle import Bundle

    imported, used, before = time.perf_counter(), time.process_time(), memory()
    bundle = Bundle.open(args.bundle)
    sessions = []
    for graph in args.graphs or bundle.manifest.graphs:
        options = backends.session_options(choose_threads(usable_cores()))
        for key, value in VARIANTS[args.variant].items():
            options.add_session_config_entry(key, value)
        path = str(bundle.graph_path(graph))
        sessions.append(ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]))
    done = time.perf_counter()
    document = {
        "whole_s": round(done - start, 3),
        "load_s": round(done - imported, 3),
        "load_processor_s": round(time.process_time() - used, 3),
        "before_mib": before,
        "after_mib": memory(),
    }
    print(json.dumps(document))


def main() -> None:
    """Measure in turns, record."""
    start = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=NANO)
    parser.add_argument("--graphs", nargs="*", help="some graphs only")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.variant:
        child(args, start)
        return
    command = [sys.executable, __file__, "--bundle", str(args.bundle)]
    command += ["--graphs", *args.graphs] if args.graphs else []
    if args.quick:
        args.rounds = 1
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    for _ in range(args.rounds):
        for name in VARIANTS:
            said = subprocess.run([*command, "--variant", name], check=True, capture_output=True, text=True).stdout
            runs[name].append(json.loads(said.strip().splitlines()[-1]))
    measured = {
        name: {
            key: {"median": statistics.median(run[key] for run in rounds), "least": min(run[key] for run in rounds)}
            for key in ("whole_s", "load_s", "load_processor_s")
        }
        | {key: rounds[0][key] for key in ("before_mib", "after_mib")}
        for name, rounds in runs.items()
    }
    weights = sum(path.stat().st_size for path in (args.bundle / "onnx").glob("*.data"))
    settings = {"rounds": args.rounds, "graphs": args.graphs, "weights_mib": round(weights / 2**20)}
    write_result("loading", settings, measured, args.out)


if __name__ == "__main__":
    main()
