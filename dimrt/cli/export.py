"""`dimrt export`: a checkpoint becomes a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import msgspec

from dimrt.cli.console import Console, print_json
from dimrt.cli.options import check_writable, output_options
from dimrt.errors import InputError, ResourceError

if TYPE_CHECKING:
    from dimrt.export.pipeline import ExportEvent

PUBLISHED = "DIM-4.6B-Edit"
"""Name of the checkpoint that is exported when none is named."""


def chosen_recipe(fp16: bool, fp32: bool) -> Literal["fp16", "fp32"]:
    """The one recipe asked for; fp16 when none is."""
    if fp16 and fp32:
        raise click.UsageError("--fp16 and --fp32 exclude each other. Give one.", click.get_current_context())
    return "fp32" if fp32 else "fp16"


def check_out(out: Path, force: bool) -> None:
    """Refuse an output folder that could not be written at the end."""
    check_writable(out / "manifest.json" if out.is_dir() else out)
    if out.is_dir() and any(out.iterdir()) and not force:
        raise InputError(f"--out {out}: the folder exists and isn't empty. Add --force to replace it.")


def default_out(checkpoint: str | None, recipe: str) -> Path:
    """Where the bundle goes when nothing is said: named after the checkpoint, in the current folder."""
    return Path(f"{Path(checkpoint or PUBLISHED).name}-{recipe}")


def describe_event(event: "ExportEvent") -> str:
    """One line about a phase that starts or is done."""
    line = f"[{event.done}/{event.total}] {event.phase}"
    if event.measured is None:
        return line
    return f"{line}: differs from torch by {event.measured.relative:.1e} (limit {event.measured.limit:.1e})"


@click.command("export")
@click.option(
    "--checkpoint",
    metavar="DIR|HUB_ID|nano",
    help="A folder, a Hugging Face id, or nano [default: the published DIM-4.6B-Edit].",
)
@click.option("--fp16", is_flag=True, help="Half precision; sums and norms that overflow stay fp32 [default].")
@click.option("--fp32", is_flag=True, help="Full precision.")
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="DIR", help="The bundle [default: NAME-RECIPE].")
@click.option("--designer", metavar="DIR|HUB_ID", help="Where the Qwen2.5-VL files are [default: the checkpoint's].")
@click.option("--autoencoder", metavar="DIR|HUB_ID", help="Where the DC-AE files are [default: the checkpoint's].")
@click.option("--offline", is_flag=True, help="Open no socket: use folders and what was fetched before.")
@click.option("--force", is_flag=True, help="Replace the output folder if it exists.")
@output_options
def command(
    checkpoint: str | None,
    fp16: bool,
    fp32: bool,
    out: Path | None,
    designer: str | None,
    autoencoder: str | None,
    offline: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Turn a DIM checkpoint into a bundle, and check each graph against torch.

    Needs the export extra: pip install "dimrt[export]".
    """
    recipe = chosen_recipe(fp16, fp32)
    target = out or default_out(checkpoint, recipe)
    check_out(target, force)
    try:
        from dimrt.export.pipeline import ExportEvent, export_bundle
        from dimrt.export.precision import RECIPES
    except ModuleNotFoundError as error:
        raise ResourceError(
            f'export needs {error.name}, which isn\'t installed. Install it: pip install "dimrt[export]"'
        ) from None
    console = Console(quiet=quiet, as_json=as_json)
    graphs: dict[str, dict[str, float | int]] = {}

    def on_event(event: ExportEvent) -> None:
        if event.measured is not None:
            graphs[event.phase] = msgspec.structs.asdict(event.measured)
        console.note(describe_event(event))

    export_bundle(
        checkpoint,
        target,
        RECIPES[recipe],
        designer=designer,
        autoencoder=autoencoder,
        offline=offline,
        replace=force,
        on_event=on_event,
    )
    if as_json:
        print_json({"output": str(target), "recipe": recipe, "graphs": graphs})
    console.note(f"wrote {target}. Use it: dimrt edit PHOTO INSTRUCTION -o OUT --bundle {target}")
