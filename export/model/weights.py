"""Safetensors files as a lazy index: names, shapes and types from the headers, data one tensor at a time."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from dimrt.errors import CheckpointError

ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
FLOATS = tuple(ITEM_BYTES)
"""Storage types a checkpoint may use, as safetensors names them."""
REMAPPED = 512 * 2**20
"""Bytes read from one file before it is mapped anew."""


@dataclass(frozen=True)
class Stored:
    """One tensor of a safetensors file, by its header alone."""

    file: Path
    key: str
    dtype: str
    shape: tuple[int, ...]


def find_weights(folder: Path, stem: str) -> dict[str, Stored] | None:
    """Every tensor of `stem`.safetensors, or of the shards that `stem`.safetensors.index.json lists; None when
    neither is there. Raises CheckpointError for a damaged file, a broken index or a missing shard.
    """
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if single.is_file():
        return read_header(single)
    if index.is_file():
        return _read_shards(folder, index)
    return None


def read_header(path: Path) -> dict[str, Stored]:
    """Tensors of one safetensors file, keyed by name."""
    with _opened(path) as file:
        found = {}
        for key in file.keys():  # noqa: SIM118 (not a dict)
            piece = file.get_slice(key)
            found[key] = Stored(path, key, piece.get_dtype(), tuple(piece.get_shape()))
        return found


def read_tensors(tensors: dict[str, Stored]) -> Iterator[tuple[str, Tensor]]:
    """Data of `tensors`, one at a time in file order, in the stored type. Only the tensor in hand takes memory."""
    by_file: dict[Path, list[tuple[str, Stored]]] = {}
    for name, stored in tensors.items():
        by_file.setdefault(stored.file, []).append((name, stored))
    for path, items in by_file.items():
        with _opened(path) as file:
            for name, stored in items:
                yield name, file.get_tensor(stored.key)


class OpenFiles:
    """Safetensors files that stay open while single tensors are read from them.

    The files are memory-mapped, and pages once read count as this process's memory until the file is closed: after
    `REMAPPED` bytes from one file it is opened anew.
    """

    def __init__(self) -> None:
        self._open: dict[Path, tuple[Any, int]] = {}

    def read(self, stored: Stored, part: int = 0, parts: int = 1) -> Tensor:
        """Rows `part` of `parts` equal slices of a stored tensor, in the stored type; no other row is read.

        Raises CheckpointError when the file is gone or damaged.
        """
        file, handed = self._open.pop(stored.file, (None, 0))
        size = math.prod(stored.shape) * ITEM_BYTES[stored.dtype] // parts
        if file is None or handed + size > REMAPPED:
            file, handed = _open(stored.file), 0
        self._open[stored.file] = (file, handed + size)
        try:
            if parts == 1:
                return file.get_tensor(stored.key)
            rows = stored.shape[0] // parts
            return file.get_slice(stored.key)[part * rows : (part + 1) * rows]
        except SafetensorError as error:
            raise CheckpointError(f"{stored.file}: {stored.key} can't be read ({error}); copy it again") from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with _open(path) as file:
        yield file


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        size = path.stat().st_size if path.is_file() else 0
        raise CheckpointError(
            f"{path}: not a complete safetensors file ({size:,} bytes: {error}); "
            "it is truncated or damaged: download or copy it again"
        ) from error


def _read_shards(folder: Path, index: Path) -> dict[str, Stored]:
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards = {str(name): str(shard) for name, shard in listed.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f'{index}: not a shard index (a JSON object with a "weight_map" was expected): {error}; download it again'
        ) from error
    found: dict[str, Stored] = {}
    for shard in sorted(set(shards.values())):
        path = folder / shard
        if path.name != shard:
            raise CheckpointError(f"{index}: shard {shard!r} is not a plain file name; download the index again")
        if not path.is_file():
            raise CheckpointError(f"{path}: this shard, listed in {index.name}, is missing; download it again")
        found |= read_header(path)
    lost = sorted(set(shards) - set(found))
    if lost:
        raise CheckpointError(
            f"{index}: lists {lost[0]} in {shards[lost[0]]}, but that shard lacks it; download both again"
        )
    extra = sorted(set(found) - set(shards))
    if extra:
        raise CheckpointError(
            f"{found[extra[0]].file}: holds {extra[0]}, which {index.name} doesn't list; they belong to different "
            "downloads: download both again"
        )
    return found
