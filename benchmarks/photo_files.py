"""Large photos in and out, outside the model: dimrt's reading and writing against Pillow's own of the same file.

The photos are made from `benchmarks/photos/chelsea.jpg`, enlarged, with noise added so that they are as hard to encode
as a camera's, with an EXIF block and a wide-gamut profile. Every run is a process of its own; the sides take turns, so
that whatever else the machine does hits them alike; medians are over the rounds. Processor time is given beside
wall-clock time, since it says the same on a busy machine. The peak is the process's, everything imported included;
`imports_mib` is what the imports alone take up.

Sides: `pillow` opens, decodes and saves with the same settings, metadata handed on as it is, no array in between.
`dimrt` reads and writes the photo. `dimrt edit` holds a result of its own beside the photo and makes the painter's
input, as an edit does. A 16-bit TIFF is cut down to 8 bits by Pillow, which is less work; so `pyvips` stands beside it.

    python benchmarks/photo_files.py --rounds 5                          # 24 megapixels
    python benchmarks/photo_files.py --rounds 3 --sizes 24 102           # 102 megapixels takes about 1.5 GB
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
from common import peak_memory_mib, versions, write_result
from PIL import Image

PHOTO = Path(__file__).parent / "photos" / "chelsea.jpg"
SIZES = {24: (6000, 4000), 102: (11656, 8750)}
"""Width and height, by megapixels."""
NOISE = 3.0
"""Levels of 255, standard deviation."""
SIDES = {"JPEG": ("pillow", "dimrt", "dimrt edit"), "TIFF": ("pillow", "pyvips", "dimrt", "dimrt edit")}
QUALITY = 95


def make(megapixels: int, kind: str, path: Path) -> None:
    """Write the photo: 8-bit JPEG, or 16-bit TIFF."""
    from dimrt.photo.photo import Photo
    from dimrt.photo.write import write_photo

    size = SIZES[megapixels]
    small = Image.open(PHOTO).convert("RGB")
    deep = kind == "TIFF"
    most = 65535 if deep else 255
    pixels = np.empty((size[1], size[0], 3), np.uint16 if deep else np.uint8)
    random = np.random.default_rng(0)
    scale = small.height / size[1]
    for top in range(0, size[1], 250):
        rows = min(250, size[1] - top)
        box = (0, top * scale, small.width, (top + rows) * scale)
        part = np.asarray(small.resize((size[0], rows), Image.Resampling.BICUBIC, box=box), np.float32) * (most / 255)
        part += random.standard_normal(part.shape, np.float32) * np.float32(NOISE * most / 255)
        pixels[top : top + rows] = np.clip(part, 0, most)
    exif = Image.Exif()
    exif[271], exif[274], exif[0x8769] = "maker", 1, {36867: "2024:05:06 07:08:09"}
    write_photo(path, pixels, Photo(pixels[:1, :1], icc=wide_gamut(), exif=exif.tobytes()), QUALITY)


def wide_gamut() -> bytes:
    """Display P3, as libvips brings it along."""
    import pyvips

    image = pyvips.Image.black(8, 8, bands=3).copy(interpretation="srgb").icc_transform("p3", input_profile="srgb")
    return bytes(image.get("icc-profile-data"))


class Watch:
    """Seconds and processor seconds between its marks, by name."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {"imports_mib": peak_memory_mib() or 0}
        self._last = time.perf_counter(), time.process_time()

    def mark(self, name: str | None) -> None:
        """Note what passed since the last mark; None to leave it out."""
        now = time.perf_counter(), time.process_time()
        if name is not None:
            self.found[f"{name}_s"] = now[0] - self._last[0]
            self.found[f"{name}_processor_s"] = now[1] - self._last[1]
        self._last = time.perf_counter(), time.process_time()


def run_pillow(source: Path, out: Path) -> dict[str, float]:
    """Open, decode, save."""
    watch = Watch()
    image = Image.open(source)
    image.load()
    watch.mark("read")
    settings: dict[str, Any] = {"icc_profile": image.info.get("icc_profile"), "exif": image.getexif()}
    if out.suffix == ".jpg":
        settings |= {"quality": QUALITY, "subsampling": 0}
    image.save(out, **settings)
    watch.mark("write")
    return watch.found


def run_pyvips(source: Path, out: Path) -> dict[str, float]:
    """Decode into memory, save."""
    import pyvips

    watch = Watch()
    image = pyvips.Image.new_from_file(str(source), access="sequential").copy_memory()
    watch.mark("read")
    image.write_to_file(str(out))
    watch.mark("write")
    return watch.found


def run_dimrt(source: Path, out: Path, edit: bool) -> dict[str, float]:
    """Read and write; with `edit`, a result of its own and the painter's input between them."""
    from dimrt.manifest import Resolution
    from dimrt.photo.fit import painter_frame, to_painter
    from dimrt.photo.read import read_photo
    from dimrt.photo.write import write_photo

    watch = Watch()
    photo = read_photo(source)
    watch.mark("read")
    result = photo.pixels
    if edit:
        to_painter(photo, painter_frame(photo.size, Resolution(1024, 32, 32, "free"), "whole"))
        watch.mark("painter_input")
        result = photo.pixels.copy()
        watch.mark(None)
    write_photo(out, result, photo, QUALITY)
    watch.mark("write")
    return watch.found


def child(side: str, source: Path, out: Path) -> None:
    """One run, as a line of JSON."""
    if side == "pillow":
        Image.MAX_IMAGE_PIXELS = None
        found = run_pillow(source, out)
    else:
        found = run_pyvips(source, out) if side == "pyvips" else run_dimrt(source, out, side == "dimrt edit")
    print(json.dumps({**found, "peak_mib": peak_memory_mib(), "bytes": out.stat().st_size}))


def run(arguments: list[str]) -> str:
    """This file in a process of its own; what it printed."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent).stdout


def measure(kind: str, megapixels: int, rounds: int) -> dict[str, Any]:
    """All sides of one photo, taking turns: medians, and ratios of each round to Pillow's."""
    suffix = ".jpg" if kind == "JPEG" else ".tif"
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES[kind]}
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / f"photo{suffix}", Path(folder) / f"out{suffix}"
        run(["--make", kind, str(megapixels), str(source)])
        for round_ in range(rounds + 1):
            for side in SIDES[kind]:
                found = json.loads(run(["--child", side, str(source), str(out)]))
                if round_:  # the first reads files that the later ones find in memory
                    runs[side].append(found)
        size = source.stat().st_size
    sides = {side: summary(found) for side, found in runs.items()}
    for side, found in runs.items():
        for unit, name in (("s", "seconds"), ("processor_s", "processor_seconds")):
            pairs = zip(found, runs["pillow"], strict=True)
            ratios = [_total(one, unit) / _total(base, unit) for one, base in pairs]
            shown = statistics.median(ratios), min(ratios), max(ratios)
            sides[side][f"{name}_to_pillow"] = [round(value, 2) for value in shown]
    return {"width_height": SIZES[megapixels], "file_mb": round(size / 1e6, 1), "sides": sides}


def summary(found: list[dict[str, float]]) -> dict[str, Any]:
    """Medians of each number; of the peak the largest."""
    rows: dict[str, Any] = {name: round(statistics.median(one[name] for one in found), 3) for name in found[0]}
    rows["peak_mib"] = max(one["peak_mib"] for one in found)
    for unit in ("s", "processor_s"):
        rows[f"read_and_write_{unit}"] = round(statistics.median(_total(one, unit) for one in found), 3)
    return rows


def _total(found: dict[str, float], unit: str) -> float:
    return found[f"read_{unit}"] + found[f"write_{unit}"]


def print_table(name: str, found: dict[str, Any]) -> None:
    """The sides of one photo."""
    print(f"{name}, {found['file_mb']} MB")
    for side, row in found["sides"].items():
        wall = f"read {row['read_s']:6.2f} s   write {row['write_s']:6.2f} s   {row['seconds_to_pillow'][0]:5.2f} x"
        cpu = f"processor {row['read_and_write_processor_s']:6.2f} s   {row['processor_seconds_to_pillow'][0]:5.2f} x"
        print(f"  {side:<11} {wall}   {cpu}   peak {row['peak_mib']:5.0f} MiB (imports {row['imports_mib']:.0f})")


def main() -> None:
    """Measure, print a table, record the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[24], choices=list(SIZES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--make", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make:
        make(int(args.make[1]), args.make[0], Path(args.make[2]))
        return
    if args.child:
        child(args.child[0], Path(args.child[1]), Path(args.child[2]))
        return
    found = {f"{size} MP JPEG": measure("JPEG", size, args.rounds) for size in args.sizes}
    if 24 in args.sizes:
        found["24 MP 16-bit TIFF"] = measure("TIFF", 24, args.rounds)
    for name, row in found.items():
        print_table(name, row)
    settings: dict[str, Any] = versions(("pyvips", "pyvips-binary"))
    settings |= {"rounds": args.rounds, "quality": QUALITY, "subsampling": "4:4:4", "noise_levels": NOISE}
    write_result("photo-files", settings, {"photos": found}, args.out)


if __name__ == "__main__":
    main()
