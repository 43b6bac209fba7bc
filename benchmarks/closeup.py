"""Whether what changed in one place should be painted again from nearer, or the first painting enlarged.

Two questions, on held-out scenes drawn at several times the painter's size, so that the true result is known there:

- resolution: the painter's stand-in is perfect (the true edit of what it is shown, through the autoencoder). What does
  a second look from nearer gain over enlarging the first?
- painting: nano paints, after the true plan. Does its second painting show the same as the first, and is the result
  nearer to the truth?

Decibels are over the changed place and a margin around it; sharpness is the energy of the gradients there, of all cases
together, against the true results' (1 is right).

    python benchmarks/closeup.py
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from common import RESULTS, write_result
from numpy.typing import NDArray

from dimrt import EditOptions, Editor
from dimrt.events import Event, PhaseStarted
from dimrt.export.nano.cases import Case, generator, scene_case
from dimrt.export.nano.oracle import judge
from dimrt.export.nano.scenes import render
from dimrt.export.nano.trials import ITEM_COUNTS
from dimrt.photo.closeup import bounds_of_change, closer_window
from dimrt.photo.composite import choose
from dimrt.photo.fit import to_levels
from dimrt.photo.photo import Photo
from dimrt.photo.planes import box_mean

KINDS = ("add", "adjust", "replace", "remove", "action")
"""Edits in one or two places."""
TIMES = (2, 4)
"""Sides of the photo, in sides of the painter's picture."""
MARGIN = 0.02
Picture = NDArray[np.uint8]


def cases(kinds: Sequence[str], count: int, seed: int) -> Iterator[Case]:
    """`count` held-out scenes of each kind."""
    for number, kind in enumerate(kinds):
        for index in range(count):
            yield scene_case(generator("held-out", seed, 6_000_000 + number * 1000 + index), kind, ITEM_COUNTS)


def drawn(case: Case, side: int) -> tuple[Picture, Picture]:
    """Source and true result at a side."""
    assert case.before is not None and case.scene is not None
    return render(case.before, side), render(case.scene, side)


def place_of(source: Picture, target: Picture) -> NDArray[np.bool_]:
    """The changed place and a margin around it."""
    changed = (abs(source.astype(np.int16) - target).max(axis=2) > 8).astype(np.float32)
    return np.asarray(box_mean(changed[..., None], round(MARGIN * source.shape[0]))[..., 0] > 0)


def score(picture: Picture, target: Picture, place: NDArray[np.bool_]) -> dict[str, float]:
    """Decibels inside the place, and the energy of the gradients there, of the picture and of the truth."""
    error = float(((picture[place].astype(np.float64) - target[place]) ** 2).mean())
    return {
        "db": float(10 * np.log10(255**2 / max(error, 1e-3))),
        "energy": energy(picture, place),
        "true_energy": energy(target, place),
    }


def energy(picture: Picture, place: NDArray[np.bool_]) -> float:
    """Mean squared difference of neighbouring pixels."""
    levels = picture.astype(np.float64)
    down, across = np.diff(levels, axis=0)[:, :-1] ** 2, np.diff(levels, axis=1)[:-1] ** 2
    return float((down + across)[place[:-1, :-1]].mean())


def seen(editor: Editor, picture: Picture) -> NDArray[np.float32]:
    """A picture as the autoencoder shows it, levels."""
    return to_levels(editor.decode(editor.encode(picture)))


def perfect(editor: Editor, source: Picture, target: Picture) -> tuple[Picture, Picture] | None:
    """The result of a perfect painting of the whole picture, and of one more from nearer; None where the change isn't
    one in places or no nearer window is there."""
    size = source.shape[1], source.shape[0]
    whole = (0, 0, *size)
    far = choose(seen(editor, source), seen(editor, target))
    if far.ran != "local":
        return None
    changed = far.box(size)
    window = closer_window(changed, whole, size, editor.bundle.manifest.resolution)
    if window is None:
        return None
    before, after = (Photo(picture).cut(window).pixels for picture in (source, target))
    near = choose(seen(editor, before), seen(editor, after), "local")
    image = source.copy()
    left, top, right, bottom = window
    limits = bounds_of_change(far, None, changed, whole, window)
    image[top:bottom, left:right] = near.apply(before, limits)
    return far.apply(source), image


def resolution(editor: Editor, chosen: Sequence[Case], times: int) -> dict[str, Any]:
    """Means of far and near over the cases that have a nearer window."""
    rows = []
    side = times * editor.bundle.manifest.resolution.side
    for case in chosen:
        source, target = drawn(case, side)
        pair = perfect(editor, source, target)
        if pair is not None:
            place = place_of(source, target)
            rows.append(
                {name: score(picture, target, place) for name, picture in zip(("far", "near"), pair, strict=True)}
            )
    return summary(rows) | {"of": len(chosen)}


def painting(editor: Editor, chosen: Sequence[Case], times: int) -> dict[str, Any]:
    """The same with nano's own painter, for the cases that were painted twice: where the second painting showed the
    same and was kept, where it was dropped, and of the kept ones those whose first painting had done the edit."""
    rows: dict[str, list[dict[str, Any]]] = {"kept": [], "dropped": [], "kept_and_right": []}
    side = times * editor.bundle.manifest.resolution.side
    for case in chosen:
        source, target = drawn(case, side)
        events: list[Event] = []
        given: dict[str, Any] = {"plan": case.plan.text("full"), "think": False}
        near = editor.edit(source, case.instruction, EditOptions(**given, closeup="always"), on_event=events.append)
        if sum(isinstance(event, PhaseStarted) and event.phase == "paint" for event in events) < 2:
            continue
        far = editor.edit(source, case.instruction, EditOptions(**given, closeup="never"))
        place = place_of(source, target)
        pair = {"far": score(far.image, target, place), "near": score(near.image, target, place)}
        rows["kept" if near.closeup else "dropped"].append(pair)
        if near.closeup and judge(source, target, far.image).done:
            rows["kept_and_right"].append(pair)
    return {name: summary(found) for name, found in rows.items()} | {"of": len(chosen)}


def summary(rows: Sequence[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Means, and how often near was nearer to the truth."""
    if not rows:
        return {"cases": 0}
    means = {f"{name}_db": round(fmean(row[name]["db"] for row in rows), 2) for name in ("far", "near")}
    for name in ("far", "near"):
        ratio = sum(row[name]["energy"] for row in rows) / max(sum(row[name]["true_energy"] for row in rows), 1e-9)
        means[f"{name}_sharpness"] = round(ratio, 2)
    gains = [row["near"]["db"] - row["far"]["db"] for row in rows]
    better = sum(gain > 0 for gain in gains)
    return {"cases": len(rows), **means, "near_better": better, "worst_gain_db": round(min(gains), 2)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, record, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="default: the one that `dimrt edit` takes")
    parser.add_argument("--cases", type=int, default=8, help="of each kind; three times as many are painted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="one case of each kind; nothing is kept")
    parser.add_argument("--out", type=Path, default=RESULTS / "closeup.json")
    args = parser.parse_args(arguments)
    count = 1 if args.quick else args.cases
    shown, painted = list(cases(KINDS, count, args.seed)), list(cases(KINDS, 3 * count, args.seed + 1))
    editor = Editor.load(args.bundle, device="cpu", threads=1)
    measured = {
        "resolution": {f"{times}x": resolution(editor, shown, times) for times in TIMES},
        "painting": {f"{TIMES[-1]}x": painting(editor, painted, TIMES[-1])},
    }
    facts = {"bundle": editor.bundle.manifest.name, "digest": editor.bundle.digest}
    settings = {"kinds": KINDS, "cases": count, "seed": args.seed, **facts}
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "quick.json" if args.quick else args.out
        write_result("closeup", settings, measured, out)


if __name__ == "__main__":
    main()
