"""A thousand edits in a row: the process must not grow by more than 20 MB once it is warm.

The work is what an app does all day: photos of several sizes read from bytes, edited and encoded, a photo edited twice
and undone in its session, an edit that is cancelled in the middle, a file that is no photo; one edit in ten is planned
and carried to full size, the others are brief. Memory is the resident
memory of the process, read every few edits; growth is the median over the last tenth of the edits against the median
over the tenth after the warm-up (the first tenth, but at least 20 edits). As a control the same work runs again, in a
process of its own, and keeps every result: that must be found out. Linux only.

    python benchmarks/endurance.py --edits 1000
"""

import argparse
import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from common import write_result
from PIL import Image

from dimrt import EditOptions, Editor
from dimrt.errors import InputError
from dimrt.photo.read import read_photo
from dimrt.photo.write import encode_photo

LIMIT_MB = 20.0
"""In a thousand edits; in proportion for another number."""
LEAST_WARM_UP = 20
PHOTOS = Path(__file__).parent / "photos"
SIZES = ((160, 120), (200, 300), (320, 200))
INSTRUCTIONS = ("make it warmer", "make it grayscale", "darken it", "make it look like an old sepia photo")
WHOLE = EditOptions(steps=1, guidance_scale=1.0)
BRIEF = EditOptions(steps=1, guidance_scale=1.0, think=False, composite="none")
"""Neither a plan nor the way to full size, which take most of the time of so small an edit."""
WHOLE_EVERY = 10
Keep = Callable[[Any], None]


def photos() -> list[bytes]:
    """JPEG files of several sizes."""
    files = []
    for number, size in enumerate(SIZES):
        buffer = io.BytesIO()
        Image.open(sorted(PHOTOS.glob("*.jpg"))[number % 2]).convert("RGB").resize(size).save(buffer, "JPEG")
        files.append(buffer.getvalue())
    return files


def work(editor: Editor, edits: int, keep: Keep) -> Iterator[int]:
    """The edits; yields the number that is done after each. `keep` gets every result."""
    files = photos()
    for number in range(edits):
        instruction = INSTRUCTIONS[number % len(INSTRUCTIONS)]
        options = WHOLE if number % WHOLE_EVERY == 0 else BRIEF
        data = files[number % len(files)]
        if number % 20 == 7:
            session = editor.open(data)
            session.edit(instruction, options)
            keep(session.edit(INSTRUCTIONS[0], options))
            session.undo()
        elif number % 20 == 13:
            cancelled = editor.events(data, instruction, options)
            for _ in range(5):
                next(cancelled)
            cancelled.close()
        elif number % 20 == 17:
            with suppress(InputError):
                editor.edit(data[:40], instruction, options)
        else:
            photo = read_photo(data)
            result = editor.edit(photo, instruction, options)
            encode_photo("JPEG", result.image, photo)
            keep(result)
        yield number + 1


def resident_mb() -> float:
    """Resident memory of this process, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 / 1e6


def samples(editor: Editor, edits: int, keep: Keep, measure: Callable[[], float] = resident_mb) -> list[float]:
    """Memory after each edit."""
    return [measure() for _ in work(editor, edits, keep)]


def growth(memory: list[float]) -> float:
    """How much more the last tenth holds than the tenth after the warm-up."""
    tenth = max(1, len(memory) // 10)
    warm = min(max(tenth, LEAST_WARM_UP), len(memory) - 2 * tenth)
    return statistics.median(memory[-tenth:]) - statistics.median(memory[warm : warm + tenth])


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One process's run."""
    editor = Editor.load(args.bundle, device="cpu", threads=args.threads)
    kept: list[Any] = []
    start = time.perf_counter()
    memory = samples(editor, args.edits, kept.append if args.keep else lambda _: None)
    step = max(1, args.edits // 20)
    return {
        "growth_mb": round(growth(memory), 2),
        "seconds": round(time.perf_counter() - start, 1),
        "resident_mb": [round(value, 1) for value in memory[step - 1 :: step]],
        "bundle": editor.bundle.manifest.name,
        "provider": editor.provider,
    }


def in_a_process(args: argparse.Namespace, *more: str) -> dict[str, Any]:
    """The same in a fresh process."""
    words = [
        "--edits",
        str(args.edits),
        "--threads",
        str(args.threads),
        *(["--bundle", args.bundle] if args.bundle else []),
    ]
    done = subprocess.run([sys.executable, __file__, "--side", *words, *more], check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    """Measure both, record the result; exits with 1 when memory grows, or when the control isn't found out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edits", type=int, default=1000)
    parser.add_argument("--bundle")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(measure(args)))
        return
    plain, control = in_a_process(args), in_a_process(args, "--keep")
    for name, row in (("edits", plain), ("keeping every result", control)):
        print(f"{name:<22} growth {row['growth_mb']:8.2f} MB in {args.edits} edits, {row['seconds']:.0f} s")
    limit = LIMIT_MB * args.edits / 1000
    passed = plain["growth_mb"] <= limit < control["growth_mb"]
    settings = {"edits": args.edits, "threads": args.threads, "limit_mb": limit, "sizes": SIZES}
    write_result("endurance", settings, {"edits": plain, "control": control, "passed": passed}, args.out)
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
