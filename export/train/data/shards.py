"""Precomputed data on disk: `index.json`, and shards of examples as safetensors files.

A shard packs its examples one behind the other: `target` and maybe `source` [values] (each example is C x h x w),
`condition` [rows, width], `starts` int64 [n + 1] of each example's rows, `sizes` int32 [n, 2] (h, w), `weights` float32
[n], and `keys`, a JSON list as bytes. A shard is written whole and renamed, so one that is there is complete.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from msgspec import Struct
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dimrt.errors import CheckFailed, InputError
from dimrt.export.train.data.batch import Batch
from dimrt.export.train.data.problems import Problem
from dimrt.files import atomic_write

FORMAT = 1
INDEX = "index.json"
PLAN = "plan.json"
PROBLEMS = "problems.jsonl"
StoredType = Literal["float16", "float32"]
_CHUNK = 1 << 22


class Shard(Struct, frozen=True, forbid_unknown_fields=True):
    """One file: its name, size in bytes, sha256 (hex) and number of examples."""

    file: str
    size: int
    sha256: str
    examples: int


class Index(Struct, frozen=True, forbid_unknown_fields=True):
    """What a folder of precomputed data holds.

    Attributes:
        format: version of this layout.
        made_of: fingerprint of the data sets, the frozen parts and the settings.
        edits: whether the examples have sources.
        dtype: of latents and conditions as stored.
        latent_channels, condition_width: of every example.
        digests: of the frozen parts, "designer" and "autoencoder" (see `frozen_digests`).
        examples: how many there are.
        shards: the files, in order.
    """

    format: int
    made_of: str
    edits: bool
    dtype: StoredType
    latent_channels: int
    condition_width: int
    digests: dict[str, str]
    examples: int
    shards: tuple[Shard, ...]


class Finished(Struct, frozen=True, forbid_unknown_fields=True):
    """What is noted beside a finished shard until the index is written: the shard, and the rows it left out."""

    shard: Shard
    problems: tuple[Problem, ...]


def shard_name(number: int) -> str:
    """The file of a shard."""
    return f"shard-{number:05d}.safetensors"


def write_json(path: Path, content: Struct) -> None:
    """A record as indented JSON, atomically."""
    with atomic_write(path) as file:
        file.write(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def read_index(folder: Path) -> Index:
    """The index of a folder.

    Raises:
        InputError: there is none, it isn't finished, or it can't be read.
    """
    path = folder / INDEX
    if not path.is_file():
        if (folder / PLAN).is_file():
            raise InputError(f"{folder}: isn't finished; give the same `dimrt precompute` command again to go on")
        raise InputError(f"{folder}: no precomputed data ({INDEX} is missing); write it with `dimrt precompute`")
    try:
        index = msgspec.json.decode(path.read_bytes(), type=Index)
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{path}: can't be read ({error}); copy it again") from error
    if index.format != FORMAT:
        raise InputError(f"{path}: has format {index.format}, this dimrt reads {FORMAT}; precompute it again")
    if any(shard.file != Path(shard.file).name for shard in index.shards):
        raise InputError(f"{path}: lists a shard outside of its folder; copy the folder again")
    return index


def write_shard(
    path: Path, examples: Sequence[tuple[Batch, int]], weights: Sequence[float], dtype: StoredType
) -> Shard:
    """Write examples (each a row of a batch) as one shard.

    Raises:
        CheckFailed: a value is too large for `dtype`, or not finite.
    """
    rows = [int(batch.mask[row].sum()) for batch, row in examples]
    keys = [batch.keys[row] for batch, row in examples]
    packed = {
        "sizes": torch.tensor([batch.target.shape[2:] for batch, _ in examples], dtype=torch.int32),
        "starts": torch.from_numpy(np.cumsum([0, *rows])),
        "weights": torch.tensor(weights, dtype=torch.float32),
        "keys": torch.frombuffer(bytearray(json.dumps(keys).encode()), dtype=torch.uint8),
        "condition": torch.cat(
            [batch.condition[row, :count] for (batch, row), count in zip(examples, rows, strict=True)]
        ),
        "target": torch.cat([batch.target[row].flatten() for batch, row in examples]),
    }
    if examples[0][0].source is not None:
        packed["source"] = torch.cat([batch.source[row].flatten() for batch, row in examples])
    for name in ("condition", "target", "source"):
        if name in packed:
            packed[name] = packed[name].cpu().to(getattr(torch, dtype))
            if not packed[name].isfinite().all():
                raise CheckFailed(f"{path.name}: a {name} holds values that {dtype} can't; store float32 (--dtype)")
    content = save(packed)
    with atomic_write(path) as file:
        file.write(content)
    return Shard(path.name, len(content), hashlib.sha256(content).hexdigest(), len(examples))


class OpenShard:
    """A shard that examples are read from, memory-mapped.

    Attributes:
        sizes: int32 [n, 2], latent height and width.
        weights: float32 [n].

    Raises:
        InputError: the file is gone, of another size than the index says, or no shard.
    """

    def __init__(self, folder: Path, shard: Shard) -> None:
        self.path, self._shard = folder / shard.file, shard
        size = self.path.stat().st_size if self.path.is_file() else None
        if size != shard.size:
            found = "is missing" if size is None else f"has {size:,} bytes, {INDEX} says {shard.size:,}"
            raise InputError(f"{self.path} {found}; copy it again, or remove it and precompute again to make it anew")
        try:
            with safe_open(self.path, framework="pt") as file:
                self.sizes = file.get_tensor("sizes").numpy()
                self.weights = file.get_tensor("weights").numpy()
                self._starts = file.get_tensor("starts").numpy()
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise self._damaged(str(error)) from error
        self._file: Any = None
        self._keys: list[str] = []
        self._check(shapes)

    def verify(self) -> None:
        """Compare every byte with the index. Raises InputError when one differs."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != self._shard.sha256:
            raise self._damaged(f"its sha256 is not the one in {INDEX}")

    def read(self, row: int) -> tuple[Tensor, Tensor | None, Tensor, str]:
        """Target and source [C, h, w], condition [N, width] (all as stored) and key of an example."""
        if self._file is None:
            self._file = safe_open(self.path, framework="pt")
            self._keys = json.loads(self._file.get_tensor("keys").numpy().tobytes())
        values = slice(int(self._values[row]), int(self._values[row + 1]))
        shape = (-1, int(self.sizes[row, 0]), int(self.sizes[row, 1]))
        target = self._file.get_slice("target")[values].view(shape)
        source = self._file.get_slice("source")[values].view(shape) if self._has_source else None
        condition = self._file.get_slice("condition")[int(self._starts[row]) : int(self._starts[row + 1])]
        return target, source, condition, self._keys[row]

    def close(self) -> None:
        """Let go of the file; it is opened again when asked for."""
        self._file, self._keys = None, []

    def _check(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """The packed lengths must add up, so that no example reads another's values."""
        count = self._shard.examples
        areas = self.sizes.astype(np.int64).prod(axis=1) if self.sizes.ndim == 2 else np.zeros(0, np.int64)
        if not {"target", "condition", "keys"} <= shapes.keys() or len(areas) != count or not areas.sum():
            raise self._damaged("its parts don't add up")
        channels = shapes["target"][0] // int(areas.sum())
        self._values = np.concatenate([[0], np.cumsum(areas * channels)])
        self._has_source = "source" in shapes
        whole = self._values[-1] == shapes["target"][0] and shapes.get("source", shapes["target"]) == shapes["target"]
        rows = len(self._starts) == count + 1 and self._starts[-1] == shapes["condition"][0]
        if not (whole and rows and len(self.weights) == count and (np.diff(self._starts) > 0).all()):
            raise self._damaged("its parts don't add up")

    def _damaged(self, why: str) -> InputError:
        return InputError(f"{self.path}: damaged ({why}); copy it again, or remove it and precompute again")
