"""Everything that wants a GPU, in one call: the tests marked `gpu`, then the full size timed against PyTorch.

The model has the published sizes and random weights (time doesn't depend on values), exported here unless `--bundle`
names one. dimrt runs TensorRT where an installed flavour supports the GPU, else ONNX Runtime with CUDA; PyTorch runs
the library's classes in bfloat16, eager and compiled. Every graph and the whole edit are timed in the same process,
the sides taking turns; beside the seconds stands what share they reach of the bandwidth of a device-to-device copy and
of the rate of a large matrix product, both measured first on the same device.

    python benchmarks/gpu.py                       # on any host with a GPU
    python benchmarks/gpu.py --dry-run             # the same code on nano and the CPU: proves nothing about speed
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import write_result
from gpu_dimrt import DimrtSide
from gpu_placement import placement
from gpu_torch import TorchSide, compiled, weight_bytes, whole_dim
from original import Original

from dimrt import EditOptions, Editor
from dimrt.bundle import NANO, Bundle
from dimrt.errors import DimrtError
from dimrt.export.model.assembly import DIM
from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.model.random import RandomCheckpoint
from dimrt.export.model.source import Source
from dimrt.export.pipeline import NANO as NANO_CHECKPOINT
from dimrt.photo.read import Photo, read_photo

ROOT = Path(__file__).parent.parent
PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"
INSTRUCTION = "make it look like an old sepia photo"
FAILURES = (RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError, NotImplementedError)
"""What a compiler raises at what it can't take."""


def main() -> None:
    """Test, export, time, record."""
    args = arguments()
    measured: dict[str, Any] = {"tests": {"skipped": "--no-tests"} if args.no_tests else gpu_tests()}
    measured["onnxruntime_placement_of_nano"] = nano_placement(args)
    measured["reference"] = best_of_device = reference(args.where)
    with tempfile.TemporaryDirectory() as folder:
        bundle = args.bundle or (NANO if args.dry_run else export(args, Path(folder) / "bundle"))
        measured |= compare(args, Bundle.open(bundle, verify="layout"), best_of_device)
    keys = ("dry_run", "random_weights", "recipe", "device", "target", "steps", "tokens", "runs", "rounds")
    name = "gpu-dry-run" if args.dry_run else "gpu"
    write_result(name, {key: getattr(args, key) for key in keys}, measured, args.out)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry-run", action="store_true", help="nano on the CPU, to see that every part works")
    parser.add_argument("--random-weights", default="dim-4.6b-edit", metavar="NAME")
    parser.add_argument("--recipe", default="fp16")
    parser.add_argument("--bundle", type=Path, help="a bundle of the same sizes, exported before")
    parser.add_argument("--device", choices=("tensorrt", "cuda"), help="default: tensorrt, else cuda")
    parser.add_argument("--target", help="of the engines")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--tokens", type=int, default=128, help="of the plan, at most")
    parser.add_argument("--runs", type=int, default=20, help="of each graph in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-tests", action="store_true")
    parser.add_argument("--no-torch", action="store_true", help="dimrt alone: for GPUs that can't hold both")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.dry_run:
        args.steps, args.tokens, args.runs, args.rounds = 2, 4, 2, 1
    args.where = "cpu" if args.dry_run else "cuda"
    args.dtype = torch.float32 if args.dry_run else torch.bfloat16
    # A compiler that takes minutes on a CPU proves nothing there: tracing alone does.
    args.compiler = "eager" if args.dry_run else "inductor"
    if args.where == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU here; --dry-run needs none")
    return args


def gpu_tests() -> dict[str, Any]:
    """The tests marked `gpu`: exit code and the closing line."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-rs", "tests/gpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    return {"exit_code": done.returncode, "summary": lines[-1] if lines else "", "report": lines[-60:]}


def nano_placement(args: argparse.Namespace) -> dict[str, Any]:
    """Where ONNX Runtime runs nano's operators: on the GPU only as far as its CUDA provider knows them."""
    try:
        return placement(Bundle.open(NANO, verify="layout"), args.where, read_photo(PHOTO))
    except DimrtError as error:
        return {"skipped": str(error)}


def reference(where: str) -> dict[str, float]:
    """What the device does at best: bytes a second of a copy (read and written), operations a second of a product."""
    size = 1 << (24 if where == "cpu" else 30)
    source = torch.empty(size, dtype=torch.uint8, device=where)
    target = torch.empty_like(source)
    copy = best(lambda: target.copy_(source), where)
    side = 256 if where == "cpu" else 8192
    rates = {}
    for dtype in (torch.float32,) if where == "cpu" else (torch.bfloat16, torch.float16):
        a, b = (torch.randn(side, side, device=where, dtype=dtype) for _ in range(2))
        rates[f"product_{str(dtype).partition('.')[2]}_flops"] = 2 * side**3 / best(lambda a=a, b=b: a @ b, where)
    return {"copy_bytes_per_s": 2 * size / copy, **rates}


def best(work: Callable[[], Any], where: str, count: int = 10) -> float:
    """Least seconds of a call."""
    return min(timed(work, where) for _ in range(count))


def timed(work: Callable[[], Any], where: str) -> float:
    """Seconds of a call, the device's work included."""
    wait = torch.cuda.synchronize if where == "cuda" else (lambda: None)
    wait()
    start = time.perf_counter()
    with torch.inference_mode():
        work()
    wait()
    return time.perf_counter() - start


def export(args: argparse.Namespace, out: Path) -> Path:
    """The bundle of random weights."""
    command = [sys.executable, "-m", "dimrt.cli", "export", "--random-weights", args.random_weights]
    subprocess.run([*command, "--recipe", args.recipe, "--out", str(out)], cwd=ROOT, check=True)
    return out


def source_of(args: argparse.Namespace) -> Source:
    """The weights that PyTorch runs: the bundle's own."""
    if args.dry_run:
        return Checkpoint.open(NANO_CHECKPOINT, offline=True)
    return RandomCheckpoint.published(args.random_weights)


def open_editor(args: argparse.Namespace, bundle: Bundle) -> tuple[Editor, dict[str, str]]:
    """An editor on the best device that works, and why the others don't."""
    refused = {}
    for device in ("cpu",) if args.dry_run else ((args.device,) if args.device else ("tensorrt", "cuda")):
        try:
            target = args.target if device == "tensorrt" else None
            return Editor.load(bundle.path, device=device, target=target, verify="layout"), refused
        except DimrtError as error:
            refused[device] = str(error)
    raise SystemExit(f"dimrt runs on nothing here: {refused}")


def compare(args: argparse.Namespace, bundle: Bundle, reference: Mapping[str, float]) -> dict[str, Any]:
    """Graphs and whole edits of all sides."""
    editor, refused = open_editor(args, bundle)
    options = EditOptions(steps=args.steps, schedule="teacher", max_new_tokens=args.tokens, composite="none", seed=1)
    photo = read_photo(PHOTO)
    dimrt = DimrtSide(editor, photo, INSTRUCTION, options)
    dim = original = None
    if not args.no_torch:
        dim = whole_dim(source_of(args), args.where, args.dtype)
        original = Original(dim, bundle.manifest, bundle.tokenizer_path, device=args.where, dtype=args.dtype)
    return {
        "provider": editor.provider,
        "refused": refused,
        "sizes": asdict(dimrt.sizes),
        "first_edit_with_loading_s": round(dimrt.seconds, 3),
        "graphs": time_graphs(args, dimrt, dim, reference),
        "edit": time_edits(args, dimrt, original, photo),
    }


def time_graphs(
    args: argparse.Namespace, dimrt: DimrtSide, dim: DIM | None, reference: Mapping[str, float]
) -> dict[str, Any]:
    """Every graph: seconds of each side in turn, and what they are of the device's best."""
    sides = {}
    if dim is not None:
        sides["torch eager"] = TorchSide(dim, dimrt.sizes, args.where, args.dtype)
    if dim is not None and not args.no_compile:
        sides["torch compiled"] = TorchSide(dim, dimrt.sizes, args.where, args.dtype, args.compiler)
    calls: dict[str, dict[str, Callable[[], Any]]] = {name: {} for name in dimrt.names()}
    failed: dict[str, str] = {}
    for label, side in sides.items():
        for name, work in side.works():
            reason = first_calls(work, args.where)
            if reason is not None:
                failed[f"{name}, {label}"] = reason
            elif name in calls:
                calls[name][label] = work
    flops = {
        name: sides["torch eager"].flops(named["torch eager"])
        for name, named in calls.items()
        if "torch eager" in named
    }
    read = {"dimrt": dimrt.weight_bytes()} | ({} if dim is None else {label: weight_bytes(dim) for label in sides})
    rows = {}
    for name, named in calls.items():
        seconds: dict[str, list[float]] = {"dimrt": [], **{label: [] for label in named}}
        for _ in range(args.rounds):
            seconds["dimrt"].append(statistics.median(dimrt.time(name, args.runs)))
            for label, work in named.items():
                seconds[label].append(statistics.median(timed(work, args.where) for _ in range(args.runs)))
        rows[name] = {
            label: row(runs, flops.get(name), read[label].get(name), reference) for label, runs in seconds.items()
        }
    return {"rows": rows, "failed": failed}


def first_calls(work: Callable[[], Any], where: str) -> str | None:
    """Run a call until it is warm; why it can't be run, or None. Compilers fail in ways of their own."""
    try:
        for _ in range(3):
            timed(work, where)
    except FAILURES as error:
        return first_line(error)
    return None


def first_line(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def row(runs: list[float], flops: int | None, read: int | None, reference: Mapping[str, float]) -> dict[str, Any]:
    """Median and rounds; weights read and operations done a second, as shares of the device's best."""
    median = statistics.median(runs)
    measured: dict[str, Any] = {"median_s": float(f"{median:.4g}"), "rounds_s": [float(f"{run:.4g}") for run in runs]}
    if read:
        measured["share_of_copy_bandwidth"] = round(read / median / reference["copy_bytes_per_s"], 4)
    if flops:
        fastest = max(rate for name, rate in reference.items() if name.startswith("product"))
        measured["flops"] = flops
        measured["share_of_product_rate"] = round(flops / median / fastest, 4)
    return measured


def time_edits(args: argparse.Namespace, dimrt: DimrtSide, original: Original | None, photo: Photo) -> dict[str, Any]:
    """Whole edits in turn, on another photo each round so that nothing is kept; the first round isn't counted."""

    def mine(moved: Photo) -> dict[str, Any]:
        seconds, phases, tokens = dimrt.edit(moved)
        return {"seconds": seconds, "plan_tokens": tokens, "phases": phases}

    def theirs(moved: Photo) -> dict[str, Any]:
        start = time.perf_counter()
        settings = {"steps": args.steps, "guidance_scale": dimrt.guidance_scale, "seed": 1}
        result = original.edit(moved, INSTRUCTION, max_new_tokens=args.tokens, **settings)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "plan_tokens": len(result.plan_tokens), "phases": result.timings}

    def theirs_compiled(moved: Photo) -> dict[str, Any]:
        with compiled(original.dim, args.compiler):
            original.generation = {"cache_implementation": "static"}
            try:
                return theirs(moved)
            finally:
                original.generation = {}

    sides = {"dimrt": mine}
    if original is not None:
        sides["torch eager"] = theirs
    if original is not None and not args.no_compile:
        sides["torch compiled"] = theirs_compiled
    found: dict[str, Any] = {side: [] for side in sides}
    for number in range(args.rounds + 1):
        moved = read_photo(np.roll(photo.pixels, number + 1, axis=1))
        for side, edit in sides.items():
            if isinstance(found[side], str):
                continue
            try:
                run = rounded(edit(moved))
            except FAILURES as error:
                if side != "torch compiled":
                    raise
                found[side] = first_line(error)
                continue
            if number > 0:
                found[side].append(run)
    return found


def rounded(run: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds to four digits."""
    return {
        "seconds": float(f"{run['seconds']:.4g}"),
        "plan_tokens": run["plan_tokens"],
        "phases": {phase: float(f"{spent:.4g}") for phase, spent in run["phases"].items()},
    }


if __name__ == "__main__":
    main()
