"""`dimrt export`: a checkpoint becomes a bundle."""

from pathlib import Path
from typing import Literal

import click

from dimrt.cli.console import Console
from dimrt.cli.options import check_writable, output_options
from dimrt.errors import InputError, ResourceError


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
    if out is not None:
        check_out(out, force)
    try:
        from dimrt.export import DEFAULT_CHECKPOINT
        from dimrt.export.pipeline import export_bundle
    except ModuleNotFoundError as error:
        raise ResourceError(
            f'export needs {error.name}, which isn\'t installed. Install it: pip install "dimrt[export]"'
        ) from None
    console = Console(quiet=quiet, as_json=as_json)
    source = checkpoint or DEFAULT_CHECKPOINT
    target = out or Path(f"{Path(source).name}-{recipe}")
    check_out(target, force)
    export_bundle(
        source,
        target,
        recipe=recipe,
        designer=designer,
        autoencoder=autoencoder,
        offline=offline,
        force=force,
        on_progress=console.note,
    )
