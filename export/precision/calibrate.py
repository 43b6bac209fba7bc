"""Calibration: an unquantized bundle runs real requests, and the activations on the way are measured."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from dimrt.bundle import Bundle
from dimrt.editor import Editor, Picture
from dimrt.errors import InputError
from dimrt.export.precision.calibration_data import SHOWN, CalibrationData, Item
from dimrt.export.precision.observe import Chosen, ObservedBackend
from dimrt.export.precision.recipe import MEASURED, Recipe
from dimrt.export.precision.statistics import Statistics
from dimrt.options import EditOptions
from dimrt.photo.read import read_photo
from dimrt.result import Design

STEPS = 4
"""Painter steps of each request, at most: they sample the schedule from noise to picture."""
PLAN_TOKENS = 192
"""Tokens of each plan, at most."""
DESIGNER = ("vision", "language", "connector")


def measured_by(recipe: Recipe) -> Chosen:
    """Whether a recipe needs to know what enters a weight."""

    def chosen(graph: str, weight: str) -> bool:
        rule = recipe.rule(graph, weight)
        return rule is not None and rule.format in MEASURED

    return chosen


def calibrate(
    bundle: Bundle,
    chosen: Chosen,
    data: CalibrationData,
    *,
    threads: int | None = None,
    on_item: Callable[[int, int], None] = lambda done, total: None,
) -> Statistics:
    """Run requests through the whole chain, as an edit does, and measure what enters the chosen products.

    All designs are made before anything is painted, and each role's graphs are dropped when it is done: the memory
    taken is that of the larger role.

    Args:
        bundle: unquantized, with the dtypes of the recipe that the measurements are for.
        chosen: which inputs; `measured_by(recipe)`.
        data: the requests.
        threads: of ONNX Runtime.
        on_item: told how much of how much is done.

    Raises:
        InputError: the model takes none of the requests.
        BundleError, ResourceError: as an edit does.
    """
    with TemporaryDirectory(dir=bundle.path.parent, prefix=".calibration-") as folder:
        backend = ObservedBackend(bundle, chosen, Path(folder), threads=threads)
        editor = Editor(bundle, backend)
        schedule = bundle.manifest.schedule
        total = 2 * len(data.items)
        designs, refused = _designs(editor, data, lambda done: on_item(done, total))
        for graph in DESIGNER:
            backend.release(graph)
        for number, (item, design) in enumerate(designs):
            steps = min(STEPS, schedule.steps) if schedule.distilled is None else schedule.steps
            options = EditOptions(steps=steps, seed=number)
            source = None if item.picture is None else editor.encode(_picture(item), options)
            editor.paint(design, source, options)
            on_item(total - len(designs) + number + 1, total)
        for graph in bundle.manifest.graphs:
            backend.release(graph)
    backend.statistics.source = data.description
    if refused:
        backend.statistics.source += f"; {len(refused)} refused: {'; '.join(refused[:SHOWN])}"
    return backend.statistics


def _designs(
    editor: Editor, data: CalibrationData, on_done: Callable[[int], None]
) -> tuple[list[tuple[Item, Design]], list[str]]:
    """Every request's design, and the requests that the model doesn't take, with the reason.

    Raises:
        InputError: it takes none.
    """
    limit = min(PLAN_TOKENS, editor.bundle.manifest.designer.decoding.max_new_tokens)
    designs: list[tuple[Item, Design]] = []
    refused: list[str] = []
    for done, item in enumerate(data.items, 1):
        try:
            design = editor.design(_picture(item), item.instruction, EditOptions(max_new_tokens=limit))
        except InputError as error:
            refused.append(f"{item.instruction!r}: {error}")
        else:
            designs.append((item, design))
        on_done(done)
    if not designs:
        raise InputError(f"this model takes none of the calibration requests ({refused[0]}); give others")
    return designs, refused


def _picture(item: Item) -> Picture | None:
    return read_photo(item.picture) if isinstance(item.picture, Path) else item.picture
