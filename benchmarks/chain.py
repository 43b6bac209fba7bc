"""One whole edit: dimrt's chain on ONNX Runtime against the original's semantics in PyTorch, same weights, same run.

Both do 30 painter steps at guidance scale 7.5 in float32 on the CPU, starting from the same photo, instruction and
noise. They take turns in one process, on a slightly shifted photo each round, so that nothing is kept from the round
before and whatever else the machine does hits both. Plans must be equal token by token and the painted pictures are
compared in levels of 255. Peak memory and loading are measured in processes of their own.

    python benchmarks/chain.py --checkpoint nano --rounds 5
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import peak_memory_mib, write_result

from dimrt import EditOptions, Editor
from dimrt.bundle import Bundle
from dimrt.events import PlanText
from dimrt.photo.read import Photo, read_photo

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"
SIDES = ("original", "dimrt")


def shifted(photo: Photo, by: int) -> Photo:
    """The photo moved round by some columns: another picture for every round."""
    return read_photo(np.roll(photo.pixels, by, axis=1))


def load(side: str, checkpoint: str, bundle: Path, threads: int) -> Any:
    """One of the two sides, ready to edit."""
    if side == "dimrt":
        return Editor.load(bundle, device="cpu", threads=threads)
    # Imported here, so that the process that measures dimrt alone holds no torch.
    import torch
    from original import Original

    from dimrt.export.pipeline import NANO

    torch.set_num_threads(threads)
    opened = Bundle.open(bundle, verify="layout")
    return Original(NANO if checkpoint == "nano" else checkpoint, opened.manifest, opened.tokenizer_path)


def run(editor: Any, photo: Photo, args: argparse.Namespace) -> tuple[Any, list[str], float]:
    """One edit, the text of each of its plan's tokens, and its wall-clock seconds."""
    pieces: list[str] = []
    start = time.perf_counter()
    if isinstance(editor, Editor):
        options = EditOptions(
            steps=args.steps,
            guidance_scale=args.guidance,
            schedule="teacher",
            seed=args.seed,
            composite="none",
        )
        result = editor.edit(
            photo,
            args.instruction,
            options,
            on_event=lambda event: pieces.append(event.text) if isinstance(event, PlanText) else None,
        )
        return result, pieces, time.perf_counter() - start
    result = editor.edit(photo, args.instruction, steps=args.steps, guidance_scale=args.guidance, seed=args.seed)
    seconds = time.perf_counter() - start
    return result, [editor.prompts.decode(np.array([token])) for token in result.plan_tokens], seconds


def alone(side: str, args: argparse.Namespace, bundle: Path) -> dict[str, float]:
    """Loading, first edit and peak memory of one side in a fresh process."""
    command = [sys.executable, __file__, "--alone", side, "--bundle", str(bundle), "--checkpoint", args.checkpoint]
    command += ["--steps", str(args.steps), "--guidance", str(args.guidance), "--threads", str(args.threads)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def measure_alone(args: argparse.Namespace) -> None:
    """The child process of `alone`. Imports are not part of loading."""
    if args.alone == "original":
        import original  # noqa: F401
    start = time.perf_counter()
    editor = load(args.alone, args.checkpoint, args.bundle, args.threads)
    loaded = time.perf_counter() - start
    _, _, first = run(editor, read_photo(PHOTO), args)
    document = {"load_s": round(loaded, 3), "first_edit_s": round(first, 3), "peak_rss_mib": peak_memory_mib()}
    print(json.dumps(document))


def compare(args: argparse.Namespace, bundle: Path) -> dict[str, Any]:
    """Rounds in turn: seconds of each side and phase, equality of plans, distance of pictures."""
    sides = {side: load(side, args.checkpoint, bundle, args.threads) for side in SIDES}
    photo = read_photo(PHOTO)
    for editor in sides.values():
        run(editor, photo, args)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    phases: dict[str, dict[str, list[float]]] = {side: {} for side in SIDES}
    levels, equal = [], []
    for number in range(1, args.rounds + 1):
        results, plans = {}, {}
        for side, editor in sides.items():
            results[side], plans[side], taken = run(editor, shifted(photo, number), args)
            seconds[side].append(taken)
            for phase, spent in results[side].timings.items():
                phases[side].setdefault(phase, []).append(spent)
        pictures = [results[side].painted.astype(np.int16) for side in SIDES]
        levels.append(int(abs(pictures[0] - pictures[1]).max()))
        equal.append(plans["original"] == plans["dimrt"])
    return {
        "seconds": {side: [round(run, 4) for run in runs] for side, runs in seconds.items()},
        "phases_median_s": {
            side: {phase: round(statistics.median(runs), 4) for phase, runs in named.items()}
            for side, named in phases.items()
        },
        "ratio_of_medians": round(statistics.median(seconds["original"]) / statistics.median(seconds["dimrt"]), 2),
        "ratio_per_round": [round(a / b, 2) for a, b in zip(seconds["original"], seconds["dimrt"], strict=True)],
        "plans_equal": equal,
        "largest_difference_levels": levels,
    }


def export(checkpoint: str, out: Path) -> Path:
    """A float32 bundle of the checkpoint."""
    from dimrt.export.pipeline import export_bundle
    from dimrt.export.precision import FP32

    return export_bundle(checkpoint, out, FP32)


def main() -> None:
    """Export float32, measure both sides, record the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--bundle", type=Path, help="a float32 bundle of the checkpoint; exported when not given")
    parser.add_argument("--instruction", default="make it look like an old sepia photo")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=7.5)
    parser.add_argument("--seed", type=int, default=233)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--alone", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        measure_alone(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        bundle = args.bundle or export(args.checkpoint, Path(folder) / "bundle")
        measured = compare(args, bundle) | {"alone": {side: alone(side, args, bundle) for side in SIDES}}
    keys = ("checkpoint", "instruction", "steps", "guidance", "seed", "threads", "rounds")
    write_result("chain", {key: getattr(args, key) for key in keys}, measured, args.out)


if __name__ == "__main__":
    main()
