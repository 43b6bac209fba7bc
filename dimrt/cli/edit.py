"""`dimrt edit`: photo and instruction in, edited photo out."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from dimrt.cli.console import Console, cancel_on_interrupt, print_json
from dimrt.cli.options import (
    Editing,
    bundle_options,
    check_picture_out,
    full_size_options,
    output_option,
    output_options,
    painting_options,
    place_options,
    plan_source_options,
    planning_options,
    read_plan,
    verbose_option,
)
from dimrt.cli.running import Device, describe_result, load_editor, note_result
from dimrt.options import EditOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack


@click.command("edit")
@click.argument("photo")
@click.argument("instruction")
@output_option(required=True, what="Where the edited photo goes; the suffix chooses the format")
@plan_source_options
@painting_options
@planning_options
@click.option(
    "--frame",
    type=click.Choice(["whole", "crop"]),
    default="whole",
    show_default=True,
    help="Paint the whole photo, or its centre square as the original does.",
)
@full_size_options
@place_options
@bundle_options
@output_options
@verbose_option
def command(
    photo: str,
    instruction: str,
    out: Path,
    plan_file: str | None,
    no_plan: bool,
    quality: int,
    frame: Literal["whole", "crop"],
    mask_file: str | None,
    region: str | None,
    feather: float | None,
    bundle: str | None,
    device: Device,
    target: str | None,
    threads: int | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **asked: "Unpack[Editing]",
) -> None:
    """Edit a photo as the instruction says.

    The plan is printed on stdout as it is written; progress and notes go to stderr.
    """
    if plan_file is not None and no_plan:
        raise click.UsageError("--plan and --no-plan exclude each other. Give one.", click.get_current_context())
    if asked["plan_style"] is not None and (plan_file is not None or no_plan):
        raise click.UsageError(
            "--plan-style says how the designer writes, and with --plan or --no-plan it writes nothing. Leave one out.",
            click.get_current_context(),
        )
    check_picture_out(out)
    from dimrt.photo.mask import parse_region, read_mask
    from dimrt.photo.read import read_photo
    from dimrt.photo.write import write_photo

    source = read_photo(photo)
    mask = None if mask_file is None else read_mask(mask_file, source.size)
    options = EditOptions(
        **asked,
        plan=None if plan_file is None else read_plan(plan_file),
        think=not no_plan,
        frame=frame,
        mask=mask,
        region=None if region is None else parse_region(region, source.size),
        feather=feather,
    )
    console = Console(quiet=quiet, as_json=as_json, verbose=verbose)
    editor = load_editor(bundle, device, target, threads, console)
    try:
        with cancel_on_interrupt() as cancel:
            result = editor.edit(source, instruction, options, on_event=console.on_event, cancel=cancel)
    finally:
        console.close()
    console.notes(source.notes)
    if mask is not None:
        console.note(f"note      mask: {mask.reading}")
    console.notes(write_photo(out, result.image, source, quality))
    note_result(result, out, console)
    if as_json:
        print_json(describe_result(result, out))
