"""What `edit`, `generate` and `plan` share: load the editor, say what runs, describe the result."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dimrt.cli.console import Console, cancel_on_interrupt

if TYPE_CHECKING:
    from dimrt.editor import Editor
    from dimrt.result import EditResult

Device = Literal["auto", "cpu", "cuda", "tensorrt"]

COARSE = 0.9
"""Painted pixels for each of the photo's, along a side, below which it is said that what is new is coarser."""


def load_editor(
    bundle: str | None, device: Device, target: str | None, threads: int | None, console: Console
) -> "Editor":
    """Find, verify and load the bundle, and say which one runs and where it was named."""
    from dimrt.bundle import find_bundle
    from dimrt.editor import Editor

    path, source = find_bundle(bundle)
    editor = Editor.load(path, device=device, target=target, threads=threads)
    console.note(f"bundle    {editor.bundle.manifest.name} ({source}: {path})")
    console.note(f"provider  {editor.provider}")
    return editor


def warm(editor: "Editor", console: Console) -> None:
    """Do now what the first edit would have to do once, and say how long it took."""
    try:
        with cancel_on_interrupt() as cancel:
            warmth = editor.warm(on_event=console.on_event, cancel=cancel)
    finally:
        console.close()
    console.note(f"ready     after {warmth.seconds:.1f} s: {warmth}")


def describe_result(result: "EditResult", out: Path) -> dict[str, Any]:
    """The JSON document of a finished picture."""
    from dimrt.wire import result_json

    return {"output": str(out), **result_json(result)}


def note_result(result: "EditResult", out: Path, console: Console) -> None:
    """The closing lines of a finished picture."""
    height, width = result.image.shape[:2]
    seconds = sum(result.timings.values())
    if result.composite == "unchanged":
        console.note("note      the painter changed nothing visible: the photo stays as it was. Try other words.")
    if result.composite in ("local", "painted") and result.painted_scale < COARSE:
        x, y, across, down = result.window or (0, 0, width, height)
        painted_height, painted_width = result.painted.shape[:2]
        console.note(
            f"note      what is newly drawn was painted at {painted_width} x {painted_height} for {across} x {down} "
            f"pixels of the photo at {x},{y} ({result.painted_scale:.0%} of its resolution) and enlarged."
        )
    if console.verbose and result.loading:
        console.note("loaded    " + ", ".join(f"{graph} {taken:.2f} s" for graph, taken in result.loading.items()))
    if result.tile is not None:
        console.note(f"note      the autoencoder took the picture in tiles of {result.tile} pixels")
    console.note(f"seed      {result.seed}  steps {result.steps}  guidance {result.guidance_scale:g}")
    console.note(f"wrote     {out} ({width} x {height}, composite {result.composite}, {seconds:.1f} s)")
