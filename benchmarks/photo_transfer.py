"""How near the full-size result of each photographic edit comes to the true edit when the painter makes no mistake.

The painter's stand-in is perfect: the true edit of the small picture, sent through the autoencoder as a painted one is.
What is measured is therefore the composite alone, in each of its modes, and which mode "auto" takes. The second figure
of "auto" is with a painter's noise added to the small edit: uneven patches of 8 levels and grain of 6.

    python benchmarks/photo_transfer.py
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from common import RESULTS, write_result
from numpy.typing import NDArray

from dimrt import Editor
from dimrt.export.nano.filters import FILTERS, apply_filter
from dimrt.export.nano.oracle import decibels
from dimrt.photo.composite import composite
from dimrt.photo.fit import from_painter, painter_frame, to_levels, to_painter
from dimrt.photo.read import Photo, read_photo

PHOTOS = Path(__file__).parent / "photos"
MODES = ("tone", "local", "painted")
GOAL = 28.0
"""Decibels against the true edit at full size that a photographic edit is to reach."""


def noise(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """A painter's noise [h, w, 3] in levels: 8 x 8 uneven patches and grain."""
    random = np.random.default_rng(seed)
    rows, columns = (-(-side // 8) for side in shape[:2])
    patches = random.normal(0, 8, (8, 8, 3)).repeat(rows, 0).repeat(columns, 1)[: shape[0], : shape[1]]
    return (patches + random.normal(0, 6, shape)).astype(np.float32)


def transfer(editor: Editor, photo: Photo, name: str) -> dict[str, Any]:
    """One photograph under one filter: decibels by mode, and what "auto" took."""
    small = from_painter(to_painter(photo, painter_frame(photo.size, editor.bundle.manifest.resolution, "whole")))
    source = to_levels(editor.decode(editor.encode(photo)))
    edit = to_levels(editor.decode(editor.encode(apply_filter(name, small)))).astype(np.float32)
    truth = apply_filter(name, photo.pixels)
    image, ran = composite(photo.pixels, source, edit)
    rough, rough_ran = composite(photo.pixels, source, np.clip(edit + noise(edit.shape, 0), 0, 255))
    others = [mode for mode in MODES if mode != ran]
    levels = {mode: decibels(composite(photo.pixels, source, edit, mode)[0], truth) for mode in others}
    levels.setdefault(ran, decibels(image, truth))
    return {
        "source": decibels(photo.pixels, truth),
        "ran": ran,
        "auto": decibels(image, truth),
        "ran_noisy": rough_ran,
        "auto_noisy": decibels(rough, truth),
        **levels,
    }


def measure(editor: Editor, photos: Sequence[Path], names: Sequence[str]) -> dict[str, Any]:
    """Means over the photographs, the worst of "auto", and the modes it took."""
    rows = {}
    for name in names:
        found = [transfer(editor, read_photo(path), name) for path in photos]
        means = {key: round(fmean(row[key] for row in found), 1) for key in ("source", "auto", "auto_noisy", *MODES)}
        worst = round(min(row["auto"] for row in found), 1)
        took = sorted({row["ran"] for row in found}), sorted({row["ran_noisy"] for row in found})
        best = max(means[mode] for mode in MODES)
        rows[name] = means | {
            "auto_worst": worst,
            "ran": took[0],
            "ran_noisy": took[1],
            "lost_to_best_mode": round(best - means["auto"], 1),
            "goal_met": bool(worst >= GOAL),
        }
    return rows


def table(rows: dict[str, Any]) -> str:
    """Decibels, one line a filter."""
    heads = "".join(f"{head:>9}" for head in ("source", "auto", "worst", "noisy", *MODES))
    lines = [f"{'dB':<12}{heads}   auto took"]
    for name, row in rows.items():
        cells = [row[key] for key in ("source", "auto", "auto_worst", "auto_noisy", *MODES)]
        took = " or ".join(row["ran"]) + (
            "" if row["ran"] == row["ran_noisy"] else f", noisy {' or '.join(row['ran_noisy'])}"
        )
        lines.append(f"{name:<12}" + "".join(f"{cell:>9.1f}" for cell in cells) + f"   {took}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, record, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="whose autoencoder; default: the one that `dimrt edit` takes")
    parser.add_argument("--photos", type=Path, default=PHOTOS, help="folder of .jpg photographs")
    parser.add_argument("--quick", action="store_true", help="one photograph, three filters; nothing is kept")
    parser.add_argument("--out", type=Path, default=RESULTS / "photo-transfer.json")
    args = parser.parse_args(arguments)
    photos, names = sorted(args.photos.glob("*.jpg")), list(FILTERS)
    if args.quick:
        photos, names = photos[:1], ["sepia", "vignette", "blur"]
    editor = Editor.load(args.bundle, device="cpu", threads=1)
    rows = measure(editor, photos, names)
    settings = {"photos": [path.name for path in photos], "goal_db": GOAL, "bundle": editor.bundle.manifest.name}
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "quick.json" if args.quick else args.out
        write_result("photo-transfer", settings | {"digest": editor.bundle.digest}, rows, out)
    print(table(rows))


if __name__ == "__main__":
    main()
