"""What an export reads a model from: files of a checkpoint, numbers made up, or a part of either."""

import copy
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from dimrt.export.model.assembly import Parts, empty_dim
from dimrt.export.model.config import DIMConfig
from dimrt.export.model.painter import Painter

_BLOCK = re.compile(r"^(painter\.transformer\.transformer_blocks\.)(\d+)\.")


class Source(Protocol):
    """A model's configuration, and its tensors one at a time."""

    @property
    def config(self) -> DIMConfig:
        """Facts of the model."""

    @property
    def parts(self) -> Parts:
        """Configuration of designer and autoencoder."""

    @property
    def fingerprint(self) -> str:
        """Changes when the tensors may have changed."""

    @property
    def random_seed(self) -> int | None:
        """The seed of tensors that are made up; None for real ones."""

    def read(self, name: str) -> Tensor:
        """One tensor by its name in `DIM.state_dict()`, in stored type."""


class Shallow:
    """The same model with only its first layers: the deep stacks of designer and painter are cut, nothing else.

    The last layer that is left of the vision tower attends to the whole picture, as the tower's last layer does. With
    `first`, the painter's layers are those from that one on.
    """

    def __init__(self, source: Source, layers: int, first: int = 0) -> None:
        self._source, self._first = source, first
        self.random_seed = source.random_seed
        painter = source.config.painter
        self.config = replace(source.config, painter=replace(painter, depth=min(layers, painter.depth)))
        designer = copy.deepcopy(source.parts.designer)
        text, vision = designer.text_config, designer.vision_config
        text.num_hidden_layers = min(layers, text.num_hidden_layers)
        if text.layer_types is not None:
            text.layer_types = text.layer_types[: text.num_hidden_layers]
        vision.depth = min(layers, vision.depth)
        vision.fullatt_block_indexes = [vision.depth - 1]
        self.parts = replace(source.parts, designer=designer)

    @property
    def fingerprint(self) -> str:
        """The whole model's, and the depth."""
        return f"{self._source.fingerprint}/{self.config.painter.depth}"

    def read(self, name: str) -> Tensor:
        """The whole model's tensor of that name, counted from the first layer."""
        if self._first:
            name = _BLOCK.sub(lambda found: f"{found[1]}{int(found[2]) + self._first}.", name)
        return self._source.read(name)


class Reference:
    """The library's model in float32, one part in memory at a time; the connector, which is small, stays.

    Args:
        source: the model, maybe with its first layers alone.
        whole: the model with all its layers, when `source` is cut.
    """

    def __init__(self, source: Source, whole: Source | None = None) -> None:
        self._source, self._whole = source, whole
        self.config = source.config
        self._held: dict[str, Any] = {}

    def __getattr__(self, part: str) -> Any:
        """`designer`, `connector`, `painter` or `autoencoder`, as on a `DIM`."""
        if part not in ("designer", "connector", "painter", "autoencoder"):
            raise AttributeError(part)
        if part not in self._held:
            self.drop()
            self._held[part] = load_part(self._source, part)
        return self._held[part]

    def painters(self) -> Iterator[Painter]:
        """Painters that together have all layers of the whole model, in order: itself, or some layers at a time."""
        if self._whole is None:
            yield self.painter
            return
        self.drop()
        step = self.config.painter.depth
        for first in range(0, self._whole.config.painter.depth, step):
            layers = min(step, self._whole.config.painter.depth - first)
            yield load_part(Shallow(self._whole, layers, first), "painter")

    def drop(self) -> None:
        """Let go of the large parts."""
        self._held = {name: module for name, module in self._held.items() if name == "connector"}


def load_part(source: Source, part: str, dtype: torch.dtype = torch.float32) -> Any:
    """One part of the model ("designer", "connector", "painter", "autoencoder") with its weights, frozen."""
    module = getattr(empty_dim(source.config, source.parts), part)
    state = {name: source.read(f"{part}.{name}").to(dtype, copy=True) for name, _ in module.named_parameters()}
    missing, unexpected = module.load_state_dict(state, strict=False, assign=True)
    if part == "designer":
        module.tie_weights()
    elif missing or unexpected:
        raise RuntimeError(f"{part}: {missing} {unexpected}")
    return module.eval().requires_grad_(False)
