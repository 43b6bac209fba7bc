"""`dimrt export`: a checkpoint becomes a bundle."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dimrt.cli.analyzing import BUDGET, check_recipe_out
from dimrt.cli.analyzing import analyze as run_analysis
from dimrt.cli.console import Console, print_json
from dimrt.cli.exporting import ExportView
from dimrt.cli.options import SEED_LIMIT, check_writable, output_options
from dimrt.errors import Cancelled, InputError, ResourceError

if TYPE_CHECKING:
    from dimrt.engines.target import Target
    from dimrt.export.model.random import RandomCheckpoint

PUBLISHED = "DIM-4.6B-Edit"
"""Name of the checkpoint that is exported when none is named."""
PRECISIONS = {
    "fp16": "Half precision; sums and norms that overflow stay fp32 [default].",
    "fp32": "Full precision.",
    "int8": "8-bit weights, and 8-bit products in the painter.",
    "int4": "4-bit weights in the designer, the painter as --int8.",
    "fp8": "8-bit floats, for RTX 40 and later.",
}


def precision_options(function: Callable[..., None]) -> Callable[..., None]:
    """One flag a recipe of the package."""
    for name, text in reversed(PRECISIONS.items()):
        function = click.option(f"--{name}", is_flag=True, help=text)(function)
    return function


def chosen_recipe(flags: dict[str, bool], recipe: str | None, default: str = "fp16") -> str:
    """The one recipe asked for; `default` when none is."""
    given = [name for name, on in flags.items() if on] + ([] if recipe is None else [recipe])
    if len(given) > 1:
        named = [f"--{name}" for name, on in flags.items() if on] + ([] if recipe is None else ["--recipe"])
        raise click.UsageError(f"{' and '.join(named)} exclude each other. Give one.", click.get_current_context())
    return given[0] if given else default


def check_out(out: Path, force: bool) -> None:
    """Refuse an output folder that could not be written at the end."""
    check_writable(out / "manifest.json" if out.is_dir() else out)
    if out.is_dir() and any(out.iterdir()) and not force:
        raise InputError(f"--out {out}: the folder exists and isn't empty. Add --force to replace it.")


def default_out(checkpoint: str | None, recipe: str) -> Path:
    """Where the bundle goes when nothing is said: named after the checkpoint, in the current folder."""
    return Path(f"{Path(checkpoint or PUBLISHED).name}-{Path(recipe).stem}")


def chosen_source(
    checkpoint: str | None, random_weights: str | None, seed: int | None
) -> "str | RandomCheckpoint | None":
    """The checkpoint, or the random numbers in its stead."""
    context = click.get_current_context()
    if random_weights is None:
        if seed is not None:
            raise click.UsageError("--seed goes with --random-weights.", context)
        return checkpoint
    if checkpoint is not None:
        raise click.UsageError("--checkpoint and --random-weights exclude each other. Give one.", context)
    from dimrt.export.model.random import RandomCheckpoint

    return RandomCheckpoint.published(random_weights, seed or 0)


@contextmanager
def resumable(out: Path) -> Iterator[None]:
    """Say what an interrupted export leaves, and how it goes on."""
    from dimrt.export.staging import staging_folder

    try:
        yield
    except (KeyboardInterrupt, Cancelled):
        kept = staging_folder(out.resolve())
        if not kept.is_dir():
            raise Cancelled from None
        raise Cancelled(
            f"cancelled. What is finished stays in {kept}: give the same command again to go on, "
            "with --restart to begin anew"
        ) from None


def buildable_target(name: str) -> "Target":
    """The target, when its engines can be built on this machine."""
    from dimrt.engines.place import building_place
    from dimrt.engines.target import load_target

    target = load_target(name)
    if target.flavour != "onnxruntime":
        building_place([target])
    return target


def build_engines(bundle: Path, target: "Target", console: Console) -> list[dict[str, Any]]:
    """The engines of a bundle that was just written, into the cache; none where ONNX Runtime runs it as it is."""
    from dimrt.bundle import Bundle
    from dimrt.cli.build import build_shown, describe

    if target.flavour == "onnxruntime":
        return []
    return [describe(record) for record in build_shown(Bundle.open(bundle, verify="layout"), [target], console)]


@click.command("export")
@click.option(
    "--checkpoint",
    metavar="DIR|HUB_ID|nano",
    help="A folder, a Hugging Face id, or nano [default: the published DIM-4.6B-Edit].",
)
@click.option(
    "--random-weights",
    metavar="NAME",
    help="No checkpoint: random numbers in the shapes of dim-4.6b-edit or dim-4.6b-t2i, to build and time that size.",
)
@click.option("--seed", type=click.IntRange(0, SEED_LIMIT), metavar="N", help="Of --random-weights [default: 0].")
@precision_options
@click.option("--recipe", metavar="NAME|FILE", help="Another recipe of the package, or a TOML file.")
@click.option(
    "--calibration",
    metavar="DIR|none",
    help="Pictures and instructions to measure activations with; none assumes them [default: the package's].",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="DIR", help="The bundle [default: NAME-RECIPE].")
@click.option("--target", metavar="NAME|FILE", help="Go on to build the engines for this device; sets the recipe, too.")
@click.option("--designer", metavar="DIR|HUB_ID", help="Where the Qwen2.5-VL files are [default: the checkpoint's].")
@click.option("--autoencoder", metavar="DIR|HUB_ID", help="Where the DC-AE files are [default: the checkpoint's].")
@click.option("--offline", is_flag=True, help="Open no socket: use folders and what was fetched before.")
@click.option(
    "--analyze",
    is_flag=True,
    help="Write no bundle: measure what each format costs each layer, and write a recipe within --budget to --out.",
)
@click.option(
    "--budget",
    type=click.FloatRange(0, min_open=True),
    metavar="X",
    help=f"Of --analyze: relative error that the products of a graph may have together [default: {BUDGET}].",
)
@click.option("--force", is_flag=True, help="Replace the output folder if it exists.")
@click.option("--restart", is_flag=True, help="Begin anew, whatever an interrupted export left.")
@output_options
def command(
    checkpoint: str | None,
    random_weights: str | None,
    seed: int | None,
    recipe: str | None,
    calibration: str | None,
    out: Path | None,
    target: str | None,
    designer: str | None,
    autoencoder: str | None,
    offline: bool,
    analyze: bool,
    budget: float | None,
    force: bool,
    restart: bool,
    as_json: bool,
    quiet: bool,
    **precisions: bool,
) -> None:
    """Turn a DIM checkpoint into a bundle, and check each graph against torch.

    Weights stream from file to file, so memory stays small at any size. What is interrupted goes on when the same
    command is given again. Needs the export extra: pip install "dimrt[export]".
    """
    device = None if target is None else buildable_target(target)
    name = chosen_recipe(precisions, recipe, "fp16" if device is None else device.recipe)
    place = out or default_out(checkpoint or (random_weights and f"{random_weights}-random"), name)
    if budget is not None and not analyze:
        raise click.UsageError("--budget goes with --analyze.", click.get_current_context())
    if analyze:
        place = out or place.with_name(f"{place.name}-within-{budget or BUDGET:g}.toml")
        check_recipe_out(place, force)
    else:
        check_out(place, force)
    try:
        from dimrt.export.pipeline import export_bundle
        from dimrt.export.precision import load_recipe
    except ModuleNotFoundError as error:
        raise ResourceError(
            f'export needs {error.name}, which isn\'t installed. Install it: pip install "dimrt[export]"'
        ) from None
    chosen = load_recipe(name)
    source = chosen_source(checkpoint, random_weights, seed)
    console = Console(quiet=quiet, as_json=as_json)
    if analyze:
        run_analysis(
            source,
            chosen,
            place,
            budget or BUDGET,
            console,
            designer=designer,
            autoencoder=autoencoder,
            calibration=calibration,
            offline=offline,
        )
        return
    with ExportView(console) as view, resumable(place):
        export_bundle(
            source,
            place,
            chosen,
            designer=designer,
            autoencoder=autoencoder,
            calibration=calibration,
            offline=offline,
            replace=force,
            restart=restart,
            on_event=view.on_event,
        )
    console.note(f"wrote {place}. Use it: dimrt edit PHOTO INSTRUCTION -o OUT --bundle {place}")
    document: dict[str, Any] = {"output": str(place), "recipe": chosen.name, "graphs": view.graphs}
    if device is not None:
        document["engines"] = build_engines(place, device, console)
    if as_json:
        print_json(document)
