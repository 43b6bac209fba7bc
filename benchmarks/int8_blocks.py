"""How many rows of an int8 weight ONNX Runtime's kernel takes at a time: what that does to a token and to a prompt.

dimrt's int8 weights have one scale a channel, so ONNX Runtime may cut them into blocks as it likes; dimrt asks for the
largest, of up to 256 rows (`dimrt.backends.onnxruntime`). Here `language` of DIM-4.6B's width with four layers runs
with blocks of other sizes too; all take turns, for one row (a token), for two and six (guesses beside it) and for a
prompt.

    python benchmarks/int8_blocks.py        # 2 minutes and 4 GB on two cores
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import onnxruntime as ort
from common import write_result
from kernels import bound
from peers.models import designer_source, write_bundle

from dimrt.backends.cores import Threads
from dimrt.backends.onnxruntime import SLOW_FUSIONS, session_options

OPTION = "session.qdq_matmulnbits_block_size"
BLOCKS = {"256": "-1", "128": "128", "64": "64", "32": "32"}
"""By the rows of a block, what the option is set to."""
ROWS = (1, 2, 6, 512)
LENGTH = 1152
MANY = 100
"""A prompt: fewer runs do."""


def open_session(path: Path, block: str, threads: int) -> ort.InferenceSession:
    """The graph as dimrt runs it, but for the option."""
    options = session_options(Threads(threads), "cuda")  # which leaves the option as it is
    options.add_session_config_entry(OPTION, block)
    return ort.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=list(SLOW_FUSIONS)
    )


def measure(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Median milliseconds by rows and block, and how many times as fast as blocks of 256 rows each is, by turn."""
    sessions = {rows: open_session(path, block, args.threads) for rows, block in BLOCKS.items()}
    measured = {}
    for count in ROWS:
        sizes = {"tokens": count, "length": LENGTH, "rows": 1}
        bindings = {name: bound(session, sizes) for name, session in sessions.items()}
        seconds: dict[str, list[float]] = {name: [] for name in sessions}
        for _ in range(args.turns):
            for name, session in sessions.items():
                seconds[name].append(median_run(session, bindings[name], 3 if count > MANY else args.runs))
        largest = seconds["256"]
        measured[f"{count} rows"] = {
            name: {
                "ms": round(statistics.median(taken) * 1e3, 3),
                "times_256": [round(base / each, 3) for base, each in zip(largest, taken, strict=True)],
            }
            for name, taken in seconds.items()
        }
        print(count, {name: row["ms"] for name, row in measured[f"{count} rows"].items()}, file=sys.stderr)
    return measured


def median_run(session: ort.InferenceSession, binding: ort.IOBinding, runs: int) -> float:
    """Seconds of a run, after one to warm up."""
    session.run_with_iobinding(binding)
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        session.run_with_iobinding(binding)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    """Write the graph, measure, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--designer", default="wide", help="of `peers.models.DESIGNERS`")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--runs", type=int, default=12, help="in a turn")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = designer_source(args.designer, Path(folder) / "source")
        bundle = write_bundle(source, "int8", ("language",), Path(folder) / "bundle")
        measured = measure(bundle / "onnx" / "language.onnx", args)
    settings = {name: value for name, value in vars(args).items() if name != "out"}
    write_result("int8-blocks", settings, measured, args.out)


if __name__ == "__main__":
    main()
