"""What an export reads a model from: files of a checkpoint, numbers made up, or a part of either."""

import copy
from dataclasses import replace
from typing import Protocol

from torch import Tensor

from dimrt.export.model.assembly import DIM, Parts, empty_dim
from dimrt.export.model.config import DIMConfig


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

    The last layer that is left of the vision tower attends to the whole picture, as the tower's last layer does.
    """

    def __init__(self, source: Source, layers: int) -> None:
        self._source = source
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
        """The whole model's tensor of that name."""
        return self._source.read(name)


class Reference:
    """The library's model in float32, one part in memory at a time; the connector, which is small, stays."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.config = source.config
        self._held: dict[str, object] = {}

    def __getattr__(self, part: str) -> object:
        """`designer`, `connector`, `painter` or `autoencoder`, as on a `DIM`."""
        if part not in ("designer", "connector", "painter", "autoencoder"):
            raise AttributeError(part)
        if part not in self._held:
            self.drop()
            self._held[part] = _load(self._source, part)
        return self._held[part]

    def drop(self) -> None:
        """Let go of the large parts."""
        self._held = {name: module for name, module in self._held.items() if name == "connector"}


def _load(source: Source, part: str) -> object:
    """One part of the model with its weights, in float32."""
    dim: DIM = empty_dim(source.config, source.parts)
    module = getattr(dim, part)
    state = {name: source.read(f"{part}.{name}").float().clone() for name, _ in module.named_parameters()}
    missing, unexpected = module.load_state_dict(state, strict=False, assign=True)
    if part == "designer":
        module.tie_weights()
    elif missing or unexpected:
        raise RuntimeError(f"{part}: {missing} {unexpected}")
    return module.eval().requires_grad_(False)
