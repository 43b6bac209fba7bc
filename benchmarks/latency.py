"""How long one waits: from a dropped photo to the first word of its plan, the first preview, the finished picture.

The clock starts with the bytes of the photo's file in hand, as when it was dropped on the page, and stops at events of
the stream that every front end follows; `file` is the result encoded in the photo's format as well. The editor is
loaded and has edited another photo before. `first` is the first edit of a photo, `second` another one of the same
photo in the same session, with an instruction of the same length: the two instructions change places every round, so
that neither has the harder one, and first and second edits take turns.

    python benchmarks/latency.py --rounds 5                       # benchmarks/photos/chelsea.jpg and a 24 MP photo
    python benchmarks/latency.py --rounds 3 --sizes 24 102 --steps 1 --guidance 1
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from common import peak_memory_mib, write_result
from photo_files import PHOTO, SIZES, make

from dimrt import EditOptions, Editor
from dimrt.events import PlanText, Preview
from dimrt.photo.write import encode_photo
from dimrt.session import Session

INSTRUCTIONS = ("make it warmer", "make it cooler")
MARKS = ("word", "preview", "result", "file")


def wait(session: Session, instruction: str, options: EditOptions, start: float) -> dict[str, float]:
    """One edit, and the seconds since `start` when each of the marks was reached."""
    marks: dict[str, float] = {}
    events = session.render([instruction], options)
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            marks["result"] = time.perf_counter() - start
            encode_photo("JPEG", end.value.image, session.photo)
            marks["file"] = time.perf_counter() - start
            return marks
        if isinstance(event, PlanText | Preview):
            marks.setdefault("word" if isinstance(event, PlanText) else "preview", time.perf_counter() - start)


def one_round(editor: Editor, data: bytes, number: int, options: EditOptions) -> dict[str, dict[str, float]]:
    """A photo dropped and edited, then edited again."""
    first, second = INSTRUCTIONS[number % 2], INSTRUCTIONS[1 - number % 2]
    start = time.perf_counter()
    session = editor.open(data)
    marks = {"first": wait(session, first, options, start)}
    marks["second"] = wait(session, second, options, time.perf_counter())
    return marks


def summary(rounds: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Medians of the rounds in seconds, and the median of second against first by round."""
    rows = {
        which: {mark: round(statistics.median(row[which][mark] for row in rounds), 4) for mark in MARKS}
        for which in ("first", "second")
    }
    ratios = {mark: statistics.median(row["second"][mark] / row["first"][mark] for row in rounds) for mark in MARKS}
    return {**rows, "second to first": {mark: round(ratio, 3) for mark, ratio in ratios.items()}}


def main() -> None:
    """Measure, print a table, record the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[24], choices=SIZES, help="megapixels, beside the small photo"
    )
    parser.add_argument("--bundle")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, help="painter steps (default: the bundle's own)")
    parser.add_argument("--guidance", type=float, help="(default: the bundle's own)")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    options = EditOptions(steps=args.steps, guidance_scale=args.guidance, previews=True)
    editor = Editor.load(args.bundle, device="cpu", threads=args.threads)
    photos = {"0.1 MP": PHOTO.read_bytes()}
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            path = Path(folder) / f"{size}.jpg"
            make(size, "JPEG", path)
            photos[f"{size} MP"] = path.read_bytes()
    one_round(editor, (PHOTO.parent / "coffee.jpg").read_bytes(), 0, options)
    runs: dict[str, list[dict[str, dict[str, float]]]] = {name: [] for name in photos}
    for number in range(args.rounds):
        for name, data in photos.items():
            runs[name].append(one_round(editor, data, number, options))
    rows = {name: summary(rounds) for name, rounds in runs.items()}
    for name, row in rows.items():
        for which, marks in row.items():
            print(f"{name:<8} {which:<16}" + "".join(f" {mark} {value:8.3f}" for mark, value in marks.items()))
    settings = {
        **{key: getattr(args, key) for key in ("rounds", "threads", "steps", "guidance")},
        "bundle": editor.bundle.manifest.name,
        "provider": editor.provider,
        "bytes": {name: len(data) for name, data in photos.items()},
    }
    write_result("latency", settings, {"seconds": rows, "peak_mib": peak_memory_mib()}, args.out)


if __name__ == "__main__":
    main()
