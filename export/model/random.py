"""DIM-4.6B of random numbers: the published names and shapes, for building and timing the real size without a download.

Sizes in `published_parts/` follow the published configuration files of Qwen2.5-VL-3B-Instruct and DC-AE f32c32 (Sana
1.1). Weights are scaled by their fan-in and residual branches by their depth, so that activations stay near one through
all layers in half precision. Every tensor follows from (seed, name) alone.

`python -m dimrt.export.model.random dim-4.6b-edit FOLDER` writes the same tensors as a checkpoint of bfloat16 shards.
"""

import argparse
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dimrt.errors import DimrtError, InputError
from dimrt.export.model.assembly import DIM, Parts, expected_tensors
from dimrt.export.model.checkpoint import read_parts
from dimrt.export.model.config import DIMConfig, encode_config
from dimrt.export.model.names import EMBEDDING, TIED, source, targets
from dimrt.export.model.published import published_config
from dimrt.export.model.random_tokenizer import write_designer_files
from dimrt.files import atomic_folder

NAMES: dict[str, Literal["edit", "generate"]] = {"dim-4.6b-edit": "edit", "dim-4.6b-t2i": "generate"}
PARTS = Path(__file__).parent / "published_parts"
POOL = 8_388_617
"""Normal numbers that all tensors are cut from, each beginning at its own place. An odd count: no two rows of a matrix
are equal."""
SHARD_BYTES = 4 * 10**9

RESIDUAL = (".o_proj.", ".down_proj.", ".attn.proj.", ".to_out.0.", ".ff.conv_point.")
"""Last layers of residual branches."""
AUTOENCODER_BRANCH = 0.3
"""Weight of the norms that end the autoencoder's residual branches."""
MODULATION = 0.3
"""Spread of the painter's modulation rows: its branches are gated by them."""


class RandomCheckpoint:
    """A source of random tensors for a model of given sizes, in bfloat16 as the published ones.

    Args:
        config, parts: the model; `parts.designer_folder` holds the tokenizer.
        seed: another seed gives another model.
    """

    def __init__(self, config: DIMConfig, parts: Parts, seed: int = 0) -> None:
        self.config, self.parts = config, parts
        self.random_seed: int | None = seed
        self._pool = lru_cache(maxsize=8)(self._scaled_pool)
        self._folder: TemporaryDirectory[str] | None = None

    @classmethod
    def published(cls, name: str, seed: int = 0) -> "RandomCheckpoint":
        """DIM-4.6B-Edit or DIM-4.6B-T2I: "dim-4.6b-edit" or "dim-4.6b-t2i".

        Raises:
            InputError: another name.
        """
        if name not in NAMES:
            raise InputError(f"--random-weights {name!r}: give one of {', '.join(NAMES)}")
        config = published_config(NAMES[name])
        config = replace(config, name=f"{config.name}-random", licence="none: random numbers, not trained weights")
        folder = TemporaryDirectory(prefix="dimrt-")
        write_designer_files(PARTS / "qwen", Path(folder.name))
        made = cls(config, read_parts(Path(folder.name), PARTS / "dc-ae"), seed)
        made._folder = folder
        return made

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, by its name in `DIM.state_dict()`."""
        with torch.device("meta"):
            return {name: tuple(tensor.shape) for name, tensor in DIM(self.config, self.parts).named_parameters()}

    @property
    def fingerprint(self) -> str:
        """Configuration and seed."""
        facts = (encode_config(self.config), self.parts.designer.to_json_string(), self.parts.autoencoder)
        return hashlib.sha256(repr((facts, self.random_seed)).encode()).hexdigest()

    def read(self, name: str) -> Tensor:
        """One tensor by its name in `DIM.state_dict()`, bfloat16."""
        origin = source(name)
        if origin.name == TIED and self.parts.designer.tie_word_embeddings:
            name = targets(EMBEDDING)[0].name
        shape = self.shapes[name]
        center, spread = self._scale(name, shape)
        pool = self._pool(center, spread)
        begin = int.from_bytes(hashlib.sha256(f"{self.random_seed}/{name}".encode()).digest()[:8], "little") % POOL
        values = torch.empty(math.prod(shape), dtype=torch.bfloat16)
        done = 0
        while done < len(values):
            count = min(POOL - begin, len(values) - done)
            values[done : done + count] = pool[begin : begin + count]
            done, begin = done + count, 0
        return values.reshape(shape)

    @cached_property
    def _normals(self) -> Tensor:
        return torch.from_numpy(np.random.default_rng(self.random_seed).standard_normal(POOL, dtype=np.float32))

    def _scaled_pool(self, center: float, spread: float) -> Tensor:
        return (self._normals * spread + center).bfloat16()

    def _scale(self, name: str, shape: tuple[int, ...]) -> tuple[float, float]:
        """Mean and standard deviation of a tensor's values."""
        if name.endswith("bias"):
            return 0.0, 0.02
        if "norm" in name or ".ln_q." in name:
            ends_branch = name.startswith("autoencoder.") and "coder.norm_out" not in name
            return (AUTOENCODER_BRANCH, 0.02) if ends_branch else (1.0, 0.05)
        if name.endswith("embed_tokens.weight"):
            return 0.0, 0.02
        if name.endswith("scale_shift_table"):
            return 0.0, MODULATION
        if name.endswith("null_condition"):
            return 0.0, 0.5
        gain = MODULATION if "time_embed.linear." in name else 1.0
        if any(part in name for part in RESIDUAL):
            gain /= math.sqrt(2 * self._depth(name))
        return 0.0, gain / math.sqrt(math.prod(shape[1:]))

    def _depth(self, name: str) -> int:
        """Layers of the stack that a tensor belongs to."""
        if name.startswith("painter."):
            return self.config.painter.depth
        if name.startswith("designer.model.visual."):
            return int(self.parts.designer.vision_config.depth)
        return int(self.parts.designer.text_config.num_hidden_layers)

    def write_checkpoint(self, folder: str | Path, *, replace: bool = False) -> None:
        """The same tensors as a checkpoint folder that `Checkpoint.open` reads: bfloat16 shards under DIM names, fused
        as the published ones. A tied head is left out. One tensor at a time is in memory.
        """
        with atomic_folder(folder, replace=replace) as new:
            with torch.device("meta"):
                shards = list(_shards(expected_tensors(DIM(self.config, self.parts))))
            places = {}
            for number, shapes in enumerate(shards, 1):
                file = f"model-{number:05}-of-{len(shards):05}.safetensors"
                places |= dict.fromkeys(shapes, file)
                self._write_shard(new / file, shapes)
            index = {"metadata": {"total_size": sum(map(_nbytes, _merged(shards).values()))}, "weight_map": places}
            (new / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
            (new / "dim.json").write_bytes(encode_config(self.config))
            (new / "dc-ae").mkdir()
            (new / "dc-ae" / "config.json").write_text(json.dumps(self.parts.autoencoder, indent=1), encoding="utf-8")
            (new / "qwen").mkdir()
            for file in (self.parts.designer_folder or PARTS / "qwen").glob("*.json"):
                (new / "qwen" / file.name).write_bytes(file.read_bytes())

    def _write_shard(self, path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
        header, end = {}, 0
        for name, shape in shapes.items():
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + _nbytes(shape)]}
            end += _nbytes(shape)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in shapes:
                for target in targets(name):
                    file.write(self.read(target.name).view(torch.uint8).numpy())


def _nbytes(shape: tuple[int, ...]) -> int:
    return 2 * math.prod(shape)


def _shards(shapes: dict[str, tuple[int, ...]]) -> Iterator[dict[str, tuple[int, ...]]]:
    """The tensors in order, in groups of about `SHARD_BYTES`."""
    group: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        if group and sum(map(_nbytes, group.values())) + _nbytes(shape) > SHARD_BYTES:
            yield group
            group = {}
        group[name] = shape
    yield group


def _merged(groups: list[dict[str, tuple[int, ...]]]) -> dict[str, tuple[int, ...]]:
    return {name: shape for group in groups for name, shape in group.items()}


def _main() -> None:
    parser = argparse.ArgumentParser(description="Write a checkpoint of random numbers at a published model's size.")
    parser.add_argument("name", choices=list(NAMES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        RandomCheckpoint.published(arguments.name, arguments.seed).write_checkpoint(arguments.folder)
    except DimrtError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    _main()
