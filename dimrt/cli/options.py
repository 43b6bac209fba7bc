"""Flags that several commands share, and the checks of what they name, made before any long work."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

import click

from dimrt.errors import InputError

Command = TypeVar("Command", bound=Callable[..., Any])


class Painting(TypedDict):
    """What `painting_options` ask of an edit, by the names of `EditOptions`; their `quality` is of the file."""

    steps: int | None
    guidance_scale: float | None
    guidance_interval: tuple[float, float] | None
    schedule: Literal["auto", "student", "teacher"]
    seed: int | None
    tile: int | None


class Planning(TypedDict):
    """What `planning_options` ask."""

    plan_style: str | None
    max_new_tokens: int | None
    plan_view: Literal["shared", "native"]


class Editing(Painting, Planning):
    """What `painting_options`, `planning_options` and `full_size_options` ask."""

    composite: Literal["auto", "tone", "local", "painted", "none"]
    closeup: Literal["auto", "never", "always"]


MAX_PLAN_BYTES = 64 * 1024
"""Size limit of a plan read from a file: about ten times the longest plan a designer writes."""

SEED_LIMIT = 2**63 - 1


def apply(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """One decorator that adds several options, in the order given."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
output_options = apply(json_option, quiet_option)
lazy_option = click.option("--lazy", is_flag=True, help="Load the graphs with the first edit, not at the start.")
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Say how long each phase took.")

bundle_options = apply(
    click.option(
        "--bundle", metavar="DIR", help="Bundle to run; else DIMRT_BUNDLE, else the configured one, else nano."
    ),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda", "tensorrt"]),
        default="auto",
        show_default=True,
        help="What to run on; a named one fails rather than fall back. tensorrt builds its engines at first use.",
    ),
    click.option(
        "--target", metavar="NAME", help="Target of the TensorRT engines, a name or a .toml [default: this GPU's]."
    ),
    click.option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads [default: one a core]."),
)

schedule_option = click.option(
    "--schedule",
    type=click.Choice(["auto", "student", "teacher"]),
    default="auto",
    show_default=True,
    help="Of a distilled painter: its own few steps, or its teacher's.",
)

painting_options = apply(
    click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Painter steps [default: the bundle's]."),
    click.option(
        "--guidance",
        "guidance_scale",
        type=click.FloatRange(min=0),
        metavar="X",
        help="Guidance scale, 1 is off [default: the bundle's].",
    ),
    click.option(
        "--guidance-interval",
        metavar="LOW,HIGH",
        callback=lambda context, parameter, text: None if text is None else parse_interval(text),
        help="Guide only the steps at these noise levels (0 clean, 1 noise), such as 0.2,0.8; the others take half the "
        "time [default: all].",
    ),
    schedule_option,
    click.option(
        "--seed",
        type=click.IntRange(0, SEED_LIMIT),
        metavar="N",
        help="Seed of the start noise [default: the bundle's].",
    ),
    click.option(
        "--tile",
        type=click.IntRange(min=1),
        metavar="PX",
        help="Encode and decode in tiles of this side, for less memory [default: whole where there is room].",
    ),
    click.option(
        "--quality",
        type=click.IntRange(1, 100),
        default=95,
        show_default=True,
        metavar="N",
        help="Of JPEG, WebP, AVIF and HEIC.",
    ),
)

planning_options = apply(
    click.option(
        "--plan-style",
        metavar="NAME",
        help="Style of the plan, one that the bundle knows: full, or a shorter one (`dimrt info`) [default: full].",
    ),
    click.option(
        "--max-plan-tokens",
        "max_new_tokens",
        type=click.IntRange(min=1),
        metavar="N",
        help="Length limit of the plan.",
    ),
    click.option(
        "--plan-view",
        type=click.Choice(["shared", "native"]),
        default="shared",
        show_default=True,
        help="What the designer sees while planning: the condition's picture, or the photo's own size.",
    ),
)

full_size_options = apply(
    click.option(
        "--composite",
        type=click.Choice(["auto", "tone", "local", "painted", "none"]),
        default="auto",
        show_default=True,
        help="How the change reaches full size: tone, local, painted (enlarged), or none (the painted picture itself).",
    ),
    click.option(
        "--closeup",
        type=click.Choice(["auto", "never", "always"]),
        default="auto",
        show_default=True,
        help="Paint what changed in one place once more, on a crop around it, for twice the time; auto doesn't so far.",
    ),
)

place_options = apply(
    click.option(
        "--mask",
        "mask_file",
        metavar="FILE",
        help="Edit only what this picture marks, of exactly the photo's size: its transparent part (alpha 0 = edit) if "
        "it has one, else its white part. All other pixels stay exactly.",
    ),
    click.option(
        "--region",
        metavar="X,Y,W,H",
        help="Edit only this rectangle of the upright photo, in pixels or percent (25%,0%,50%,100%).",
    ),
    click.option(
        "--feather",
        type=click.FloatRange(min=0),
        metavar="PX",
        help="How far inside the mask's or region's edge the edit becomes full [default: by its size].",
    ),
)

plan_source_options = apply(
    click.option("--plan", "plan_file", metavar="FILE", help="Use this plan (- reads stdin) and don't write one."),
    click.option("--no-plan", is_flag=True, help="Paint from the bare instruction."),
)


def parse_interval(text: str) -> tuple[float, float]:
    """LOW,HIGH: two noise levels.

    Raises:
        InputError: it isn't two numbers.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--guidance-interval {text}: give two noise levels, such as 0.2,0.8") from None
    return low, high


def output_option(required: bool, what: str) -> Callable[[Command], Command]:
    """`-o/--out FILE`."""
    return click.option(
        "-o", "--out", type=click.Path(path_type=Path), required=required, metavar="FILE", help=f"{what}."
    )


def check_writable(out: Path) -> None:
    """Refuse an output that could not be written at the end.

    Raises:
        InputError: the folder is missing or isn't writable, or `out` itself is a folder.
    """
    folder = out.parent
    if not folder.is_dir():
        raise InputError(f"--out {out}: there is no folder {folder}. Create it first.")
    if out.is_dir():
        raise InputError(f"--out {out}: this is a folder. Name a file in it.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"--out {out}: the folder {folder} isn't writable. Choose another folder.")


def check_picture_out(out: Path) -> None:
    """Refuse a picture output that could not be written at the end.

    Raises:
        InputError: as `check_writable`, or the suffix names no format that can be written.
    """
    from dimrt.photo.write import check_output

    check_writable(out)
    check_output(out)


def read_plan(source: str) -> str:
    """Text of a ready plan.

    Args:
        source: path of a UTF-8 text file, or `-` for standard input.

    Raises:
        InputError: it can't be read, isn't UTF-8, is empty or is longer than `MAX_PLAN_BYTES`.
    """
    name = "standard input" if source == "-" else source
    try:
        if source == "-":
            raw = sys.stdin.buffer.read(MAX_PLAN_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                raw = file.read(MAX_PLAN_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"--plan {source}: can't be read: {error.strerror}. Name a text file, or - for stdin."
        ) from None
    if len(raw) > MAX_PLAN_BYTES:
        raise InputError(f"--plan: {name} is longer than {MAX_PLAN_BYTES} bytes. Give the plan's text alone.")
    try:
        text = raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"--plan: {name} isn't UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    if not text:
        raise InputError(f"--plan: {name} is empty. Write a plan, or use --no-plan to paint from the instruction.")
    return text
