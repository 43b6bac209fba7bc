"""Cold start: what a fresh process pays to import dimrt and to answer `dimrt --version`.

Every variant runs in processes of its own. The variants take turns, so that whatever else the machine does hits all of
them alike; medians and minima are over the rounds. Processor time is given beside wall-clock time, since it says the
same on a busy machine. `beyond` is what dimrt adds to numpy and onnxruntime: the difference of "import numpy,
onnxruntime" and the same followed by all that an edit imports. POSIX only.

    python benchmarks/startup.py --rounds 21
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from common import write_result

BASE = "import os; os.environ['ORT_DISABLE_TELEMETRY'] = '1'; import numpy, onnxruntime"
FULL = f"{BASE}; import dimrt; from dimrt.editor import Editor"
VARIANTS = {
    "interpreter": ["-c", "pass"],
    "import dimrt": ["-c", "import dimrt"],
    "numpy and onnxruntime": ["-c", BASE],
    "numpy, onnxruntime, all an edit imports": ["-c", FULL],
    "dimrt --version": ["-m", "dimrt.cli", "--version"],
    "dimrt --help": ["-m", "dimrt.cli", "--help"],
}


def run_once(arguments: list[str]) -> tuple[float, float]:
    """Wall-clock and processor milliseconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall * 1e3, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def summary(runs: list[tuple[float, float]]) -> dict[str, float]:
    """Medians and the least wall-clock time, in milliseconds."""
    walls, cpus = zip(*runs, strict=True)
    return {
        "median_ms": round(statistics.median(walls), 1),
        "min_ms": round(min(walls), 1),
        "processor_median_ms": round(statistics.median(cpus), 1),
    }


def print_row(name: str, row: dict[str, float]) -> None:
    """One line of the table."""
    wall = f"median {row['median_ms']:7.1f} ms   min {row['min_ms']:7.1f} ms"
    print(f"{name:<42} {wall}   processor {row['processor_median_ms']:7.1f} ms")


def main() -> None:
    """Measure, print a table, record the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    for arguments in VARIANTS.values():
        run_once(arguments)  # the first run reads files that the later ones find in memory
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in VARIANTS}
    for _ in range(args.rounds):
        for name, arguments in VARIANTS.items():
            runs[name].append(run_once(arguments))
    rows = {name: summary(measured) for name, measured in runs.items()}
    base, full = rows["numpy and onnxruntime"], rows["numpy, onnxruntime, all an edit imports"]
    beyond = {key: round(full[key] - base[key], 1) for key in base}
    for name, row in {**rows, "beyond numpy and onnxruntime": beyond}.items():
        print_row(name, row)
    write_result("startup", {"rounds": args.rounds}, {"variants": rows, "beyond": beyond}, args.out)


if __name__ == "__main__":
    main()
