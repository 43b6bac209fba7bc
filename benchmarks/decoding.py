"""What a decoded token costs beside the graph, and whether the key/value cache is ever copied.

- `host`: plans are written with the graph's runs timed inside. What is left is the host's: rotary tables, mask,
  binding, argmax, text. Without guesses (one token a run) and with them. Processor time of the one thread, so that
  what else the machine does counts little; the least of the rounds.
- `cache`: one token read behind caches of several lengths, the graph's outputs written over its inputs, as dimrt does,
  and into buffers of their own. Each kind of operator by ONNX Runtime's profile, for each node the least of the runs:
  a copy of the cache would show as TensorScatter growing with its length.

    python benchmarks/decoding.py --rounds 30
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from common import write_result

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import Bundle
from dimrt.designer import Designer
from dimrt.photo.read import read_photo
from dimrt.vision import condition_size, prepare

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"
NANO = Path(__file__).parents[1] / "dimrt" / "bundles" / "nano"
INSTRUCTION = "make it look like an old sepia photo"
LENGTHS = (512, 2048, 8192)
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}


class Watched:
    """A session whose runs are timed, in processor time of the calling thread."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self.seconds = 0.0
        self.runs = 0

    def io_binding(self) -> ort.IOBinding:
        return self._session.io_binding()

    def run_with_iobinding(self, binding: ort.IOBinding) -> None:
        start = time.thread_time()
        self._session.run_with_iobinding(binding)
        self.seconds += time.thread_time() - start
        self.runs += 1


def host(bundle: Bundle, rounds: int) -> dict[str, Any]:
    """Processor time of a plan, in the graph and beside it, with and without guesses."""
    measured = {}
    for name in ("one token a run", "with guesses"):
        backend = OrtBackend(bundle, threads=1)
        backend.steady_rows = name == "with guesses"
        designer = Designer(bundle, backend)
        facts = bundle.manifest.designer
        picture = prepare(read_photo(PHOTO).pixels, facts.vision, condition_size(facts.vision))
        view = designer.view(picture)
        turn = designer.prompts.plan_turn(INSTRUCTION, len(picture.order))
        engine = backend.engine("language")
        watched = Watched(engine.session)
        engine.session = watched  # type: ignore[assignment]
        best: dict[str, Any] = {}
        for number in range(rounds + 1):
            watched.seconds, watched.runs = 0.0, 0
            wall, start = time.perf_counter(), time.thread_time()
            pieces = list(designer.write(turn, view, facts.decoding.max_new_tokens, facts.decoding.repetition_penalty))
            taken, wall = time.thread_time() - start, time.perf_counter() - wall
            if number and (not best or taken < best["seconds"]):
                best = {
                    "tokens": pieces[-1].count,
                    "runs": watched.runs,
                    "seconds": round(taken, 6),
                    "in_the_graph_s": round(watched.seconds, 6),
                    "host_us_per_run": round((taken - watched.seconds) / watched.runs * 1e6, 1),
                    "share_of_the_graph": round(watched.seconds / taken, 3),
                    "tokens_per_s": round(pieces[-1].count / wall, 1),
                }
        measured[name] = best
    return measured


def cache(graph: Path, length: int, in_place: bool, folder: Path) -> dict[str, int]:
    """Microseconds of each kind of operator while one token is read behind `length` rows."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "decoding")
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    binding, held = session.io_binding(), []
    sizes = {"tokens": 1, "length": length, "rows": 1}
    for node in session.get_inputs():
        values = np.zeros([sizes.get(size, size) for size in node.shape], TYPES[node.type])
        value = ort.OrtValue.ortvalue_from_numpy(values)
        held.append((values, value))
        binding.bind_ortvalue_input(node.name, value)
        if f"{node.name}_out" in {output.name for output in session.get_outputs()}:
            written = value if in_place else ort.OrtValue.ortvalue_from_numpy(values.copy())
            binding.bind_ortvalue_output(f"{node.name}_out", written)
    for name in ("hidden", "logits"):
        binding.bind_output(name, "cpu")
    for _ in range(20):
        session.run_with_iobinding(binding)
    profile = Path(session.end_profiling())
    events = json.loads(profile.read_text())
    profile.unlink()
    least: dict[tuple[str, str], int] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            node = event["name"], event["args"]["op_name"]
            least[node] = min(least.get(node, event["dur"]), event["dur"])
    kinds: Counter[str] = Counter()
    for (_, kind), microseconds in least.items():
        kinds[kind] += microseconds
    return {"all": kinds.total(), **dict(kinds.most_common())}


def main() -> None:
    """Measure, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=NANO)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="a few rounds, to see that it runs")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    bundle = Bundle.open(args.bundle, verify="layout")
    if args.quick:
        args.rounds = 2
    graph, caches = bundle.graph_path("language"), {}
    with tempfile.TemporaryDirectory() as folder:
        for length in LENGTHS[:1] if args.quick else LENGTHS:
            for name, in_place in (("in place", True), ("own buffers", False)):
                caches[f"{length} rows, {name}"] = cache(graph, length, in_place, Path(folder))
    measured = {"host": host(bundle, args.rounds), "cache_us": caches}
    write_result("decoding", {"bundle": bundle.manifest.name, "rounds": args.rounds, "threads": 1}, measured, args.out)


if __name__ == "__main__":
    main()
