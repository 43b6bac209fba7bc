"""Cold start: what a fresh process pays to import dimrt and to answer `dimrt --version`.

Every variant runs in processes of its own. The variants take turns, so that whatever else the machine does hits all of
them alike; medians and minima are over the rounds. `beyond` is what dimrt adds to numpy and onnxruntime: the difference
of the medians of "import numpy, onnxruntime" and the same followed by all that an edit imports.

    python benchmarks/startup.py --rounds 21
"""

import argparse
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


def seconds(arguments: list[str]) -> float:
    """Wall-clock time of one process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Measure, print a table, record the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    for arguments in VARIANTS.values():
        seconds(arguments)  # the first run reads files that the later ones find in memory
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(args.rounds):
        for name, arguments in VARIANTS.items():
            times[name].append(seconds(arguments))
    rows = {
        name: {"median_ms": round(statistics.median(runs) * 1e3, 1), "min_ms": round(min(runs) * 1e3, 1)}
        for name, runs in times.items()
    }
    for name, row in rows.items():
        print(f"{name:<42} median {row['median_ms']:7.1f} ms   min {row['min_ms']:7.1f} ms")
    base, full = rows["numpy and onnxruntime"], rows["numpy, onnxruntime, all an edit imports"]
    beyond = {key: round(full[key] - base[key], 1) for key in base}
    print(f"{'beyond numpy and onnxruntime':<42} median {beyond['median_ms']:7.1f} ms   min {beyond['min_ms']:7.1f} ms")
    write_result("startup", {"rounds": args.rounds}, {"variants": rows, "beyond": beyond}, args.out)


if __name__ == "__main__":
    main()
