"""Instructions for single photos, from a file: JSON lines or CSV, each with `input` and `instruction`."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dimrt.errors import InputError

FIELDS = ("input", "instruction")
MAX_BYTES = 64 << 20


def read_instructions(path: Path) -> dict[str, str]:
    """The instruction of each photo that a file names.

    Args:
        path: UTF-8; ".csv" with a first line that names the columns, else JSON lines. Other fields don't matter.

    Returns:
        Instructions by relative path with forward slashes, as given.

    Raises:
        InputError: the file can't be read, a line lacks a field, or a photo is named twice with two instructions.
    """
    found: dict[str, str] = {}
    rows = _csv_rows if path.suffix.lower() == ".csv" else _json_rows
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} is larger than {MAX_BYTES:,} bytes; give one line for each photo")
        for number, row in rows(path):
            if not all(isinstance(row.get(name), str) and row[name].strip() for name in FIELDS):
                raise InputError(f"{path}, line {number}: give both `input` and `instruction`, as text")
            photo, text = row["input"], row["instruction"]
            if found.setdefault(photo, text) != text:
                raise InputError(f"{path}, line {number}: {photo} has another instruction before; leave one")
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}; give a .jsonl or .csv file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} can't be read ({error}); save it as UTF-8") from error
    return found


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            yield reader.line_num, row


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}, line {number}: no JSON ({error}); give one object a line") from error
            yield number, row if isinstance(row, dict) else {}
