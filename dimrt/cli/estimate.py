"""`dimrt estimate`: how much memory an edit takes on a target and how long it will take, before anything is loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from dimrt.bundle import Bundle, find_bundle
from dimrt.cli.console import print_json
from dimrt.cli.options import json_option
from dimrt.errors import CheckFailed, InputError

if TYPE_CHECKING:
    from dimrt.backends.base import Flavour
    from dimrt.predict.compare import Outlook, Place

ALL = "all"
"""As a target: every one that dimrt brings."""


def parse_size(text: str | None) -> tuple[int, int] | None:
    """WIDTHxHEIGHT in pixels."""
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InputError(f"--size {text}: give width and height in pixels, like 1024x768")
    return int(width), int(height)


def open_subject(name: str | None) -> tuple[Bundle, bool]:
    """A bundle, or a published model's outline (and whether it is one)."""
    from dimrt.predict.models import is_model, model

    if name is not None and is_model(name):
        return model(name), True
    return Bundle.open(find_bundle(name)[0], verify="layout"), False


def find_places(names: Sequence[str]) -> list["Place"]:
    """Targets by name or file; documents of `dimrt bench` stand for the machine they were measured on."""
    from dimrt.predict.compare import Place

    if not names:
        return [Place("this machine", None, None)]
    from dimrt.engines.target import load_target, target_names
    from dimrt.predict.rates import target_rates

    found = []
    for name in [each for given in names for each in (target_names() if given == ALL else [given])]:
        if name.endswith(".json"):
            found.append(_measured_place(Path(name)))
        else:
            target = load_target(name)
            found.append(Place(target.name, target, target_rates(target), target.recipe))
    return found


def _measured_place(path: Path) -> "Place":
    """The machine that a document of `dimrt bench` is of; whether an edit fits there isn't known."""
    import json

    from dimrt.predict.compare import Machine, Place
    from dimrt.predict.measured import measured_edit
    from dimrt.predict.rates import PROCESSOR, measured_rates

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"--target {path} can't be read as JSON ({error}); give a file of `dimrt bench -o`") from None
    rates = measured_rates(document, path.name)
    memory = document["card"].get("memory_bytes") if rates.family == PROCESSOR else None  # a GPU's own isn't in it
    flavour: Flavour = "tensorrt" if "tensorrt" in str(document["card"].get("provider")).lower() else "onnxruntime"
    machine = Machine(path.stem, memory if isinstance(memory, int) else None, flavour)
    return Place(path.stem, machine, rates, edit=measured_edit(document))


@click.command("estimate")
@click.argument("bundle", required=False)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="Target, .toml file, document of `dimrt bench`, or all; several are compared [default: this machine].",
)
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    metavar="NAME",
    help="Recipe; several are compared [default: the bundle's; of a model, the target's].",
)
@click.option("--size", metavar="WxH", help="The painter's picture in pixels [default: the bundle's].")
@click.option(
    "--plan-tokens",
    type=click.IntRange(min=0),
    metavar="N",
    help="Length of the plan [default: 512 for memory, 256 for time].",
)
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Painter steps [default: the bundle's].")
@click.option("--no-guidance", is_flag=True, help="Paint one row a step, as a distilled painter does.")
@click.option(
    "--tokens-per-run",
    type=click.FloatRange(min=1, max=8),
    default=1.0,
    show_default=True,
    metavar="X",
    help="Tokens of the plan that one run confirms; above 1 with guesses.",
)
@click.option("--residency", type=click.Choice(["all", "phased"]), help="[default: the target's]")
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw the comparison.")
@json_option
def command(
    bundle: str | None,
    targets: tuple[str, ...],
    recipes: tuple[str, ...],
    size: str | None,
    plan_tokens: int | None,
    steps: int | None,
    no_guidance: bool,
    tokens_per_run: float,
    residency: Literal["all", "phased"] | None,
    svg: Path | None,
    as_json: bool,
) -> None:
    """Say whether an edit fits a device, and how long it takes.

    BUNDLE is a bundle or a published model (dim-4.6b-edit). Nothing is loaded: memory and time come from the manifest.
    Reading and writing the photo's file isn't counted. Exits 1 when it doesn't fit; several targets or recipes are
    compared in a table, which exits 0.

    Example: dimrt estimate dim-4.6b-edit --target orin-agx-64gb --target rtx-4060
    """
    from dimrt.cli import estimating
    from dimrt.predict.compare import Wish, compare, look

    opened, is_model = open_subject(bundle)
    places = find_places(targets)
    wish = Wish(parse_size(size), plan_tokens, steps, tokens_per_run, False if no_guidance else None, residency)

    def suits(place: "Place") -> str | None:
        return place.recipe if is_model else None

    compared = len(places) > 1 or len(recipes) > 1
    found: list[Outlook]
    if compared:
        found = compare(opened, places, recipes, wish, suits)
    else:
        found = [look(opened, places[0], wish, recipes[0] if recipes else suits(places[0]))]
    if svg is not None:
        estimating.draw(found, opened.manifest.name, svg)
    if compared:
        print_json(estimating.table_document(found)) if as_json else estimating.print_comparison(found)
        return
    if as_json:
        print_json(estimating.document(found[0]))
    else:
        estimating.print_outlook(found[0])
    if not found[0].estimate.fits:
        click.get_current_context().exit(CheckFailed.exit_code)
