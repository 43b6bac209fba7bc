"""What the chain is run on to measure activations: pictures and instructions."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dimrt.errors import InputError
from dimrt.export.nano.cases import draw_case
from dimrt.export.nano.photos import FOLDER as PHOTOS
from dimrt.manifest import Manifest
from dimrt.photo.read import read_photo

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
NANO_CASES, NANO_SEED = 48, 20
SHOWN = 8
"""How many broken entries a description names."""
INSTRUCTIONS = (
    "Make the sky a warm orange and keep everything else as it is.",
    "Remove the person from the picture.",
    "Turn this photo into a watercolour painting.",
    "Replace the background with a snowy mountain landscape.",
    "Add a small red balloon in the upper left corner.",
    "Make it look like night, with lights in the windows.",
    "Change the colour of the largest object to blue.",
    "Move the object in the centre a little to the left and make it smaller.",
)
PROMPTS = (
    "A lighthouse on a rocky coast at dusk, waves below, oil painting.",
    "A close-up portrait of an old fisherman, soft window light.",
    "A bowl of cherries on a wooden table, top view.",
    "An isometric drawing of a small city block with trees and a tram.",
    "A red fox in fresh snow, looking into the camera.",
    "A minimalist poster that says HELLO in large blue letters.",
    "A spiral galaxy, deep colours, photographed through a telescope.",
    "Two children flying a kite on a green hill, children's book illustration.",
)


@dataclass(frozen=True)
class Item:
    """One request; `picture` (a file, or pixels uint8 [h,w,3]) is None for a model that paints from text alone."""

    picture: Path | NDArray[np.uint8] | None
    instruction: str


@dataclass(frozen=True)
class CalibrationData:
    """Requests to run, what they are (for the manifest), and what could not be used and why."""

    items: tuple[Item, ...]
    description: str
    broken: tuple[str, ...] = ()


def calibration_data(folder: Path | None, facts: Manifest) -> CalibrationData:
    """The user's folder, or what this package brings: nano's training cases for nano, photographs for other models.

    A folder holds pictures and `instructions.jsonl` (`{"image": "a.jpg", "instruction": "..."}` a line) or
    `instructions.txt` (one a line, dealt out over the pictures in the order of their names); without either, pictures
    get instructions of this package. A text-to-image model takes the instructions alone.

    Raises:
        InputError: the folder holds nothing that can be used.
    """
    task = facts.painter.task
    if folder is not None:
        return _folder_data(folder, task)
    if facts.name == "dimrt-nano":
        cases = (draw_case("training", NANO_SEED, index) for index in range(NANO_CASES))
        items = tuple(Item(case.source, case.instruction) for case in cases)
        return CalibrationData(items, f"{len(items)} training cases of nano (scenes, photographs and textures)")
    if task == "generate":
        return CalibrationData(
            tuple(Item(None, prompt) for prompt in PROMPTS), f"{len(PROMPTS)} prompts of the package"
        )
    photos = sorted(PHOTOS.glob("*.jpg"))
    items = tuple(_deal(photos, INSTRUCTIONS))
    return CalibrationData(items, f"{len(items)} photographs of the package, each with an instruction")


def _folder_data(folder: Path, task: Literal["edit", "generate"]) -> CalibrationData:
    if not folder.is_dir():
        raise InputError(f"--calibration {folder}: no such folder; give one with pictures and instructions")
    listed, plain = folder / "instructions.jsonl", folder / "instructions.txt"
    broken: list[str] = []
    if listed.is_file():
        items = list(_listed(listed, task, broken))
    else:
        lines = _lines(plain) if plain.is_file() else INSTRUCTIONS if task == "edit" else ()
        pictures = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in PICTURES]
        items = list(_deal(pictures, lines)) if task == "edit" else [Item(None, line) for line in lines]
    usable = tuple(item for item in items if _readable(item, broken))
    if not usable:
        found = f" ({'; '.join(broken[:SHOWN])})" if broken else ""
        wanted = "pictures and instructions.jsonl or .txt" if task == "edit" else "instructions.txt"
        raise InputError(f"--calibration {folder}: nothing in it can be used{found}; it needs {wanted}")
    description = f"{len(usable)} requests from {folder.name}"
    if broken:
        more = ", …" if len(broken) > SHOWN else ""
        description += f"; {len(broken)} broken entries left out: {'; '.join(broken[:SHOWN])}{more}"
    return CalibrationData(usable, description, tuple(broken))


def _deal(pictures: list[Path], lines: tuple[str, ...] | list[str]) -> Iterator[Item]:
    """Pictures and instructions, the shorter list repeated."""
    if pictures and lines:
        for number in range(max(len(pictures), len(lines))):
            yield Item(pictures[number % len(pictures)], lines[number % len(lines)])


def _listed(path: Path, task: str, broken: list[str]) -> Iterator[Item]:
    for number, line in enumerate(_lines(path), 1):
        place = f"{path.name} line {number}"
        try:
            entry: Any = json.loads(line)
        except ValueError:
            broken.append(f"{place}: not JSON")
            continue
        text = entry.get("instruction") if isinstance(entry, dict) else None
        name = entry.get("image") if isinstance(entry, dict) else None
        if not isinstance(text, str) or not text.strip():
            broken.append(f'{place}: needs "instruction"')
        elif task == "generate":
            yield Item(None, text)
        elif not isinstance(name, str):
            broken.append(f'{place}: needs "image"')
        else:
            yield Item(path.parent / name, text)


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read as text ({error}); save it as UTF-8") from error


def _readable(item: Item, broken: list[str]) -> bool:
    if not isinstance(item.picture, Path):
        return True
    try:
        read_photo(item.picture)
    except InputError as error:
        broken.append(f"{item.picture.name}: {error}")
        return False
    return True
