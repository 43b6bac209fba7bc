"""What each recipe keeps of the float32 pictures and plans of the nano model, whole and graph by graph.

Every recipe edits the same held-out scenes and photographs with the same seeds as the float32 bundle. Compared are the
painted picture and the full-size result (PSNR, FLIP, SSIM: see `metrics.py`), the plans slot by slot, and how many
edits succeed by the oracle that knows the true result. A greedy plan that differs in a word asks for another picture,
so pictures are compared twice: with the plan that float32 wrote given to both ("given_plan", what the arithmetic
costs), and with each bundle's own plan ("own_plan", what a user sees). Success is always of the own plan.

"graphs" repeats it with one graph of the recipe and the other six in float32 (see `mixing.py`), on a part of the cases
and on the painted picture alone.

A recipe's result is written when it is complete. Run again with the same settings, recipes whose bundles are unchanged
are taken from the file.

    python benchmarks/quality.py --bundles bundles --scenes 20
"""

import argparse
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import RESULTS, write_result
from mixing import mixed_editor
from quality_cases import (
    compare,
    draw_cases,
    edit,
    image,
    painted,
    part_of,
    photo_truth,
    pictures,
    plans,
    success,
)
from quality_table import table

from dimrt import Editor
from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import Bundle

RECIPES = ("fp16", "int8", "int4", "fp8", "int8-cpu", "int4-cpu")
DESIGNING = ("vision", "language")
"""Graphs that take part in writing the plan."""
PICTURE_GOALS = {"fp16": 50.0, "int8": 30.0, "int8-cpu": 30.0}
"""Least decibels of the painted picture against float32 with the same plan."""
SUCCESS_GOALS = ("fp16", "int8", "int8-cpu")
SUCCESS_POINTS = 1.0
"""Most percent points of successful edits that may be lost."""
SLOT_GOALS = {"int4": 98.0, "int4-cpu": 98.0}
"""Least percent of equal plan slots."""


class Run:
    """The base's outcomes, made once, and the measurements against them."""

    def __init__(self, base: Path, args: argparse.Namespace) -> None:
        self.args = args
        self.base = self._open(base)
        self.cases = draw_cases(args.scenes, args.photos, args.seed)
        self.part = part_of(self.cases, args.graph_scenes, args.graph_photos)
        editor = Editor(*self.base)
        self.outcomes = [edit(editor, case, args.seed, "auto") for case in self.cases]

    def _open(self, folder: Path) -> tuple[Bundle, OrtBackend]:
        bundle = Bundle.open(folder)
        return bundle, OrtBackend(bundle, threads=self.args.threads)

    def recipe(self, folder: Path) -> dict[str, Any]:
        """Everything about one recipe's bundle."""
        start = time.process_time()
        other = self._open(folder)
        own, given = compare(Editor(*other), self.cases, self.outcomes, self.args.seed, "auto")
        small, full = (pictures(given, own, self.outcomes, of) for of in (painted, image))
        measured = {
            "bundle": contents(other[0]),
            "bytes": sum(record.size for record in other[0].manifest.files.values()),
            "plans": plans(own, self.outcomes),
            **{way: {"painted": small[way], "full_size": full[way]} for way in small},
            "success": success(self.cases, own, self.outcomes, image),
            "photos_to_truth": photo_truth(self.cases, own, self.outcomes),
            "graphs": {graph: self._graph(graph, other) for graph in other[0].manifest.graphs},
        }
        return measured | {"processor_s": round(time.process_time() - start, 1)}

    def _graph(self, graph: str, other: tuple[Bundle, OrtBackend]) -> dict[str, Any]:
        """One graph of the recipe, the rest of the base."""
        cases, base = [self.cases[i] for i in self.part], [self.outcomes[i] for i in self.part]
        writes = graph in DESIGNING
        editor = mixed_editor(self.base, other, {graph})
        own, given = compare(editor, cases, base, self.args.seed, "none", writes)
        measures = pictures(given, own, base, painted)
        scored = success(cases, own, base, painted)
        measured = {
            "bytes": other[0].graph_bytes(graph),
            "fp32_bytes": self.base[0].graph_bytes(graph),
            "export_error": other[0].manifest.graphs[graph].error.relative,
            "given_plan": measures["given_plan"],
            "success": {key: row for key, row in scored.items() if key != "by_edit_percent"},
        }
        if writes:
            measured |= {"plans": plans(own, base), "own_plan": measures["own_plan"]}
        return measured


def contents(bundle: Bundle) -> str:
    """sha256 of all that decides a bundle's results: graphs, weights, tables, tokenizer, and the model's facts."""
    manifest = bundle.manifest
    facts = (manifest.designer, manifest.painter, manifest.resolution, manifest.schedule)
    sums = sorted((name, record.sha256) for name, record in manifest.files.items())
    return hashlib.sha256(repr((facts, sums)).encode()).hexdigest()


def goals(recipe: str, measured: dict[str, Any]) -> list[dict[str, Any]]:
    """What the recipe was to reach, and what it did."""
    checked = []
    if recipe in PICTURE_GOALS:
        reached, least = measured["given_plan"]["painted"]["psnr_db"], PICTURE_GOALS[recipe]
        checked.append({"goal": "painted PSNR, dB", "least": least, "reached": reached, "met": reached >= least})
    if recipe in SUCCESS_GOALS:
        reached = measured["success"]["difference_points"]
        met = reached >= -SUCCESS_POINTS
        checked.append({"goal": "success, points to fp32", "least": -SUCCESS_POINTS, "reached": reached, "met": met})
    if recipe in SLOT_GOALS:
        reached, least = measured["plans"]["equal_slots_percent"], SLOT_GOALS[recipe]
        checked.append({"goal": "equal plan slots, %", "least": least, "reached": reached, "met": reached >= least})
    return checked


def ensure_bundle(recipe: str, folder: Path) -> Path:
    """The recipe's nano bundle in `folder`, exported when it isn't there."""
    path = folder / f"nano-{recipe}"
    if not path.is_dir():
        from dimrt.export.pipeline import export_bundle
        from dimrt.export.precision.recipe import load_recipe

        print(f"exporting {path.name}", file=sys.stderr)
        export_bundle("nano", path, load_recipe(recipe))
    return path


SETTINGS = ("scenes", "photos", "graph_scenes", "graph_photos", "seed", "threads")


def earlier(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Recipes measured before under the same settings and against the same base bundle; none when anything differs."""
    if not out.is_file():
        return {}
    document = json.loads(out.read_text(encoding="utf-8"))
    return document["measured"]["recipes"] if document["settings"] == settings else {}


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundles", type=Path, help="folder of nano-RECIPE bundles; those missing are exported there")
    parser.add_argument("--recipes", default=",".join(RECIPES), help="comma-separated (default: %(default)s)")
    parser.add_argument("--scenes", type=int, default=20, help="scenes for each of the nine edit types")
    parser.add_argument("--photos", type=int, default=2, help="photographs for each of the photographic edits")
    parser.add_argument("--graph-scenes", type=int, default=10, help="scenes of each type for one graph at a time")
    parser.add_argument("--graph-photos", type=int, default=11, help="photographs for one graph at a time")
    parser.add_argument("--seed", type=int, default=31, help="of cases and start noise")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="fp16, few cases: does it still work?")
    parser.add_argument("--again", action="store_true", help="measure anew what the result already holds")
    parser.add_argument("--out", type=Path, help="default: results/quality.json; with --quick none is kept")
    args = parser.parse_args()
    if args.quick:
        args.recipes, args.scenes, args.photos, args.graph_scenes, args.graph_photos = "fp16", 1, 1, 1, 2
    return args


def main() -> None:
    """Measure the recipes one after the other, record and print."""
    args = parse()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.bundles or Path(temporary)
        out = args.out or (Path(temporary) if args.quick else RESULTS) / "quality.json"
        base = ensure_bundle("fp32", folder)
        settings = {name: getattr(args, name) for name in SETTINGS}
        settings |= {
            "fp32_bundle": Bundle.open(base).digest,
            "goals_on": "given_plan painted psnr_db, own plan success",
        }
        kept = {} if args.again else earlier(out, settings)
        run = None
        for recipe in args.recipes.split(","):
            path = ensure_bundle(recipe, folder)
            if recipe in kept and kept[recipe]["bundle"] == contents(Bundle.open(path)):
                continue
            run = run or Run(base, args)
            kept[recipe] = run.recipe(path)
            kept[recipe]["goals"] = goals(recipe, kept[recipe])
            write_result("quality", settings, {"recipes": kept}, out)
    print(table(kept))


if __name__ == "__main__":
    main()
