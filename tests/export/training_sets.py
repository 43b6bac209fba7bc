"""Tiny data sets on disk, in the published formats, made of nano's cases."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from dimrt.export.nano.cases import Case, draw_case


def cases(count: int) -> list[Case]:
    """Always the same cases."""
    return [draw_case("held-out", 5, index) for index in range(count)]


def save(path: Path, pixels: Any, size: tuple[int, int] | None = None) -> Path:
    """A picture file, resized to (width, height) if given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.resize(size) if size else image).save(path)
    return path


def write_lines(path: Path, rows: list[Any]) -> Path:
    """A jsonl file; a row that is bytes is written as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows))
    return path


def write_dim_edit(
    folder: Path, count: int, sizes: tuple[tuple[int, int], ...] = ((128, 128),), text: str | None = None
) -> tuple[Path, list[dict[str, str]]]:
    """DIM-Edit's form: the jsonl file and its rows. Case i has the size i modulo their number, and as its text the plan
    or `text` with its number.
    """
    rows = []
    for index, case in enumerate(cases(count)):
        size = sizes[index % len(sizes)]
        save(folder / "image" / f"{index}_source.png", case.source, size)
        save(folder / "image" / f"{index}_target.png", case.target, size)
        rows.append(
            {
                "id": f"case-{index}",
                "image_path": f"image/{index}_source.png",
                "image_path_target": f"image/{index}_target.png",
                "prompt": case.plan.text() if text is None else f"{text} {index}",
            }
        )
    return write_lines(folder / "tos_dataset_edit.jsonl", rows), rows
