"""A trained model as a DIM checkpoint folder, as `dimrt export` takes: trained parts over the start's frozen ones."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from dimrt.export.model.assembly import meta_shapes
from dimrt.export.model.config import DIMConfig, encode_config
from dimrt.export.model.dim import DESIGNER_FILES
from dimrt.export.model.names import targets
from dimrt.export.model.source import Source
from dimrt.export.model.tensors import save_tensors
from dimrt.files import atomic_folder

SHARD_BYTES = 2 * 10**9
"""About so much of a model is in memory while it is written."""
Storage = Literal["bf16", "fp16", "fp32"]
STORED: dict[Storage, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class Trained:
    """A source with some of its tensors replaced, under another name maybe.

    Args:
        parameters: the new tensors, by their names in `DIM.state_dict()`.
        storage: the type they are stored in; the others keep theirs.
    """

    random_seed = None

    def __init__(
        self, start: Source, parameters: Mapping[str, Tensor], storage: Storage, config: DIMConfig | None = None
    ) -> None:
        self.config, self.parts = config or start.config, start.parts
        self._start, self._parameters, self._type = start, parameters, STORED[storage]

    @property
    def fingerprint(self) -> str:
        """A trained model in memory is never the same twice."""
        return f"{self._start.fingerprint}/{id(self._parameters)}"

    def read(self, name: str) -> Tensor:
        """One tensor by its name in `DIM.state_dict()`."""
        if name in self._parameters:
            return self._parameters[name].to(self._type)
        return self._start.read(name)


def named(config: DIMConfig, name: str | None) -> DIMConfig:
    """The same model under another name."""
    return config if name is None else replace(config, name=name)


def write_checkpoint(source: Source, folder: Path) -> None:
    """Write the folder of a model: `dim.json`, weights under DIM names (one file, or shards with an index when they
    are large), `qwen/` with the designer's configuration and tokenizer, `dc-ae/` with the autoencoder's configuration.
    A folder that is there is replaced once the new one is complete.
    """
    with atomic_folder(folder, replace=True) as new:
        places, total = {}, 0
        for number, shard in enumerate(_shards(source)):
            save_tensors(shard, new / _file(number))
            places |= dict.fromkeys(shard, number)
            total += sum(tensor.nbytes for tensor in shard.values())
        _name_weights(new, places, total)
        (new / "dim.json").write_bytes(encode_config(source.config))
        (new / "dc-ae").mkdir()
        (new / "dc-ae" / "config.json").write_text(json.dumps(source.parts.autoencoder, indent=1) + "\n")
        (new / "qwen").mkdir()
        (new / "qwen" / "config.json").write_text(source.parts.designer.to_json_string())
        for name in DESIGNER_FILES:
            held = None if source.parts.designer_folder is None else source.parts.designer_folder / name
            if held is not None and held.is_file():
                shutil.copyfile(held, new / "qwen" / name)


def _shards(source: Source) -> Iterator[dict[str, Tensor]]:
    """All tensors of a model under their published names, some at a time."""
    shard: dict[str, Tensor] = {}
    for name in sorted(meta_shapes(source.config, source.parts)):
        pieces = [source.read(target.name) for target in targets(name)]
        tensor = torch.cat(pieces) if len(pieces) > 1 else pieces[0].contiguous()
        if shard and sum(held.nbytes for held in shard.values()) + tensor.nbytes > SHARD_BYTES:
            yield shard
            shard = {}
        shard[name] = tensor
    yield shard


def _file(number: int) -> str:
    return f"shard-{number}.safetensors"


def _name_weights(folder: Path, places: Mapping[str, int], total: int) -> None:
    """Give the shards their final names: one file, or numbered ones with an index."""
    count = max(places.values()) + 1
    if count == 1:
        (folder / _file(0)).rename(folder / "model.safetensors")
        return
    files = [f"model-{number + 1:05}-of-{count:05}.safetensors" for number in range(count)]
    for number, file in enumerate(files):
        (folder / _file(number)).rename(folder / file)
    index = {"metadata": {"total_size": total}, "weight_map": {name: files[number] for name, number in places.items()}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
