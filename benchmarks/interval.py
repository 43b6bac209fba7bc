"""What guidance at some noise levels only saves, and how far its picture is from the fully guided one.

One plan is painted in 30 steps at guidance 7.5: guided everywhere, at levels around the middle, and nowhere.
They take turns in one process. Nano was not trained for guidance: the time is what is measured here, and the distance
says only that the option does something.

    python benchmarks/interval.py
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import write_result

from dimrt import EditOptions, Editor
from dimrt.photo.fit import from_painter
from dimrt.result import Design
from dimrt.schedule import Interval, flow_schedule, guidance_scales

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"
PLAN = "1. Edit Instruction: make it look like an old sepia photo"
INTERVALS: dict[str, Interval | None] = {
    "all": None,
    "0.2 to 0.9": (0.2, 0.9),
    "0.3 to 0.7": (0.3, 0.7),
    "none": (0.0, 0.0),
}


def measure(editor: Editor, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of every round, and what the pictures differ by."""
    design: Design = editor.design(PHOTO, "make it look like an old sepia photo", EditOptions(plan=PLAN))
    source = editor.encode(PHOTO)
    options = {
        name: EditOptions(
            steps=args.steps, guidance_scale=args.guidance, schedule="teacher", guidance_interval=interval
        )
        for name, interval in INTERVALS.items()
    }
    pictures = {}
    for name, asked in options.items():  # also what the first run costs
        pictures[name] = from_painter(editor.decode(editor.paint(design, source, asked))).astype(np.int16)
    seconds: dict[str, list[float]] = {name: [] for name in options}
    for _ in range(args.rounds):
        for name, asked in options.items():
            start = time.perf_counter()
            editor.paint(design, source, asked)
            seconds[name].append(time.perf_counter() - start)
    facts = editor.bundle.manifest.schedule
    schedule = flow_schedule(args.steps, facts.shift)
    rows = {}
    for name, interval in INTERVALS.items():
        guided = sum(scale != 1 for scale in guidance_scales(schedule, args.guidance, interval))
        rows[name] = {
            "guided_steps": guided,
            "rows_painted": args.steps + guided,
            "seconds": [round(taken, 4) for taken in seconds[name]],
            "ratio_to_all": round(statistics.median(seconds[name]) / statistics.median(seconds["all"]), 3),
            "mean_levels_from_all": round(float(np.abs(pictures[name] - pictures["all"]).mean()), 3),
        }
    return {"provider": editor.provider, "intervals": rows}


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", help="[default: nano]")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=7.5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="--steps 8 --rounds 3")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.steps, args.rounds = 8, 3
    editor = Editor.load(args.bundle, device="cpu", threads=args.threads)
    measured = measure(editor, args)
    settings = {key: getattr(args, key) for key in ("steps", "guidance", "threads", "rounds")}
    write_result("interval", settings, measured, args.out)


if __name__ == "__main__":
    main()
