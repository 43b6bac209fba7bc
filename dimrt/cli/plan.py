"""`dimrt plan`: what the designer would have the painter do."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dimrt.cli.console import Console, print_json
from dimrt.cli.options import Planning, bundle_options, check_writable, output_option, output_options, planning_options
from dimrt.cli.running import Device, load_editor
from dimrt.errors import InputError
from dimrt.events import PhaseStarted, PlanReady
from dimrt.files import atomic_write
from dimrt.options import EditOptions
from dimrt.wire import plan_json

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from dimrt.editor import Editor
    from dimrt.photo.read import Photo


def write_plan(editor: "Editor", photo: "Photo", instruction: str, options: EditOptions, console: Console) -> PlanReady:
    """Run the chain up to the finished plan and stop it there."""
    events = editor.events(photo, instruction, options)
    try:
        for event in events:
            console.on_event(event)
            if isinstance(event, PlanReady):
                return event
            if isinstance(event, PhaseStarted) and event.phase == "condition":
                break
    finally:
        events.close()
        console.close()
    raise InputError("the designer wrote no plan for this instruction. Say more exactly what to change.")


@click.command("plan")
@click.argument("photo")
@click.argument("instruction")
@output_option(required=False, what="Write the plan to this text file too")
@planning_options
@bundle_options
@output_options
def command(
    photo: str,
    instruction: str,
    out: Path | None,
    bundle: str | None,
    device: Device,
    target: str | None,
    threads: int | None,
    as_json: bool,
    quiet: bool,
    **asked: "Unpack[Planning]",
) -> None:
    """Write the plan of an edit without painting it.

    The plan is plain text: change it and paint it with `dimrt edit --plan FILE`.
    """
    if out is not None:
        check_writable(out)

    from dimrt.photo.read import read_photo

    source = read_photo(photo)
    console = Console(quiet=quiet, as_json=as_json)
    editor = load_editor(bundle, device, target, threads, console)
    plan = write_plan(editor, source, instruction, EditOptions(**asked), console)
    if out is not None:
        with atomic_write(out) as file:
            file.write(plan.blueprint.text.encode() + b"\n")
        console.note(f"wrote     {out}")
    if as_json:
        print_json({"plan": plan_json(plan.blueprint, plan.style), "output": None if out is None else str(out)})
