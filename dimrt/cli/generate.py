"""`dimrt generate`: prompt in, picture out."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dimrt.cli.console import Console, cancel_on_interrupt, print_json
from dimrt.cli.options import (
    Painting,
    bundle_options,
    check_picture_out,
    output_option,
    output_options,
    painting_options,
    verbose_option,
)
from dimrt.cli.running import Device, describe_result, load_editor, note_result
from dimrt.options import EditOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack


@click.command("generate")
@click.argument("prompt")
@output_option(required=True, what="Where the picture goes; the suffix chooses the format")
@painting_options
@bundle_options
@output_options
@verbose_option
def command(
    prompt: str,
    out: Path,
    quality: int,
    bundle: str | None,
    device: Device,
    target: str | None,
    threads: int | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **asked: "Unpack[Painting]",
) -> None:
    """Paint a picture from a prompt, with a bundle made for that (text to image)."""
    check_picture_out(out)

    from dimrt.photo.write import write_photo

    console = Console(quiet=quiet, as_json=as_json, verbose=verbose)
    editor = load_editor(bundle, device, target, threads, console)
    try:
        with cancel_on_interrupt() as cancel:
            result = editor.generate(prompt, EditOptions(**asked), on_event=console.on_event, cancel=cancel)
    finally:
        console.close()
    console.notes(write_photo(out, result.image, quality=quality))
    note_result(result, out, console)
    if as_json:
        print_json(describe_result(result, out))
