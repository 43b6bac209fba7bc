"""Preprocessing parity: the runtime's two picture routes and its size rule on stored pictures."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimrt.errors import InputError
from dimrt.export.parity.designer import patch_values
from dimrt.export.parity.items import (
    DESIGNER_PIXELS,
    PAINTER_PIXELS,
    STATISTICS,
    Arrays,
    Item,
    compare,
    count,
    read_json,
)
from dimrt.export.parity.reference import Reference, token_facts
from dimrt.manifest import Resolution
from dimrt.photo.fit import original_crop, painter_frame
from dimrt.photo.read import Photo, read_photo
from dimrt.prompt import select_user_spans
from dimrt.vision import condition_size, fit_size, prepare

ROUTE_A = re.compile(r"painter_resize_(\d+)")
ROUTE_B = re.compile(r"forced(\d+)_size_wh")
SIZES = "_smart_resize_hw_factor28"


def picture_items(reference: Reference) -> Iterator[Item]:
    """Sizes of every picture listed, tensors of every picture stored."""
    facts = read_json(reference.folder / "preprocess.json")
    arrays = reference.arrays("preprocess")
    for name, entry in facts.items():
        if name.startswith("_"):
            continue
        yield from _size_items(reference, name, entry)
        path = reference.folder / "images" / f"{name}.png"
        if path.is_file():
            photo = read_photo(path)
            yield from _painter_items(arrays, name, photo)
            yield from _designer_items(reference, arrays, name, entry, photo)
    vision = reference.vision(1)
    for size, want in facts.get(SIZES, {}).items():
        height, width = (int(side) for side in size.split("x"))
        yield count(f"preprocess size rule {size}", fit_size(width, height, vision)[::-1], want)


def span_items(reference: Reference) -> Iterator[Item]:
    """Which tokens become the condition, and that broken conversations are refused instead of passed on."""
    facts = read_json(reference.folder / "user_spans.json")
    ids = facts["ids"]
    tokens = token_facts(ids)
    for name, case in facts["cases"].items():
        sequence = np.array(case["input_ids"], np.int64)
        try:
            selected: Any = select_user_spans(sequence, tokens, ids["user"], ids["newline"])
        except InputError:
            selected = None
        if "error" in case:
            yield Item(f"spans {name} is refused", float(selected is not None), 0.0)
        elif selected is None:
            yield Item(f"spans {name} (refused, expected {len(case['selected'])} tokens)", float("inf"), 0.0)
        else:
            yield count(f"spans {name}", selected, np.array(case["selected"], np.int64))


def _size_items(reference: Reference, name: str, entry: dict[str, Any]) -> Iterator[Item]:
    size = (entry["width"], entry["height"])
    for key, want in entry.items():
        if match := ROUTE_A.fullmatch(key):
            side = int(match[1])
            frame = painter_frame(size, Resolution(side, side, side, "free"), "crop")
            yield count(f"preprocess {name} painter {side} resize", frame.resize, want)
            yield count(f"preprocess {name} painter {side} crop", frame.crop[:2], entry[f"painter_crop_{side}"])
        elif match := ROUTE_B.fullmatch(key):
            side = int(match[1])
            yield count(f"preprocess {name} forced {side} size", condition_size(reference.vision(side)), want)
    yield count(f"preprocess {name} native size", fit_size(*size, reference.vision(1)), entry["native_size_wh"])


def _labels(arrays: Arrays, name: str, pattern: str) -> list[tuple[str, int]]:
    """Labels of picture `name` in the fixture that match, and the side in each (0 without one)."""
    found = {key.split(".")[0] for key in arrays.below(f"{name}.")}
    matches = [match for label in sorted(found) if (match := re.fullmatch(pattern, label))]
    return [(match[0], int(match[1] or 0)) for match in matches]


def _painter_items(arrays: Arrays, name: str, photo: Photo) -> Iterator[Item]:
    for label, side in _labels(arrays, name, r"painter(\d+)"):
        tensor = original_crop(photo, side)[0]
        yield from _excerpts(arrays, name, label, tensor, PAINTER_PIXELS)
        if f"{name}.{label}.center_row" in arrays:
            want = arrays[f"{name}.{label}.center_row"]
            row = tensor[:, tensor.shape[1] // 2, : want.shape[1]]
            yield compare(f"preprocess {name} {label} centre row", row, want, PAINTER_PIXELS)


def _designer_items(
    reference: Reference, arrays: Arrays, name: str, entry: dict[str, Any], photo: Photo
) -> Iterator[Item]:
    for label, side in _labels(arrays, name, r"(?:forced(\d+)|native)"):
        vision = reference.vision(side or 1)
        size = condition_size(vision) if side else fit_size(*photo.size, vision)
        prepared = prepare(photo.pixels, vision, size, photo.alpha)
        yield count(f"preprocess {name} {label} grid", (1, *prepared.grid), entry[f"{label}_grid_thw"])
        yield from _excerpts(arrays, name, label, patch_values(prepared, vision), DESIGNER_PIXELS)


def _excerpts(arrays: Arrays, name: str, label: str, tensor: NDArray[Any], limit: float) -> Iterator[Item]:
    """Compare whatever the fixture holds of a picture tensor: all of it, statistics, or some of its values."""
    flat = tensor.reshape(-1)
    parts: dict[str, tuple[NDArray[Any], float]] = {
        "": (tensor, limit),
        ".pixel_values": (tensor, limit),
        ".stats": (_statistics(flat), STATISTICS),
        ".first64": (flat[:64], limit),
        ".last64": (flat[-64:], limit),
    }
    for rest in arrays.below(f"{name}.{label}."):
        if match := re.fullmatch(r"row(\d+)\.first(\d+)", rest):
            parts[f".{rest}"] = (tensor[int(match[1]), : int(match[2])], limit)
        elif match := re.fullmatch(r"rowmean_every(\d+)", rest):
            parts[f".{rest}"] = (tensor[:: int(match[1])].mean(axis=1), limit)
    for ending, (got, bound) in parts.items():
        key = f"{name}.{label}{ending}"
        if key in arrays:
            yield compare(f"preprocess {key}", got, arrays[key], bound)


def _statistics(values: NDArray[Any]) -> NDArray[np.float64]:
    wide = values.astype(np.float64)
    return np.array([wide.mean(), wide.std(), wide.min(), wide.max()])
