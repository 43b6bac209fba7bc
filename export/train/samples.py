"""Sample sheets during training: fixed held-out examples, painted with the averages of the moment."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta, Struct
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from dimrt.export.model.painter import Painter
from dimrt.export.train.data.batch import Batch, Examples
from dimrt.export.train.distill.network import Scene
from dimrt.export.train.distill.sampling import paint
from dimrt.export.train.flow import conditioned
from dimrt.files import atomic_write
from dimrt.schedule import flow_schedule

GAP = 4
"""White pixels between pictures."""
Decode = Callable[[Tensor], Tensor]
"""Scaled latents [B, C, h, w] to pictures [B, 3, H, W], nominally in [-1, 1]."""


class SampleSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How many examples are held out for the sheets, and how they are painted."""

    count: Annotated[int, Meta(ge=0)] = 4
    steps: Annotated[int, Meta(ge=1)] = 20
    guidance: Annotated[float, Meta(ge=0)] = 4.5


class HeldOut:
    """A training set without some of its examples, which stay there to be painted."""

    def __init__(self, examples: Examples, count: int) -> None:
        self._examples = examples
        taken = [index for index, weight in enumerate(examples.weights()) if weight > 0]
        places = np.linspace(0, len(taken) - 1, count).round().astype(int) if count < len(taken) else []
        self.held = sorted({taken[place] for place in places})

    def __len__(self) -> int:
        return len(self._examples)

    def sizes(self) -> Sequence[tuple[int, int]]:
        """As in the whole set."""
        return self._examples.sizes()

    def weights(self) -> Sequence[float]:
        """As in the whole set, and 0 for what is held out."""
        weights = list(self._examples.weights())
        for index in self.held:
            weights[index] = 0.0
        return weights

    def batch(self, indices: Sequence[int]) -> Batch:
        """As of the whole set."""
        return self._examples.batch(indices)


class Sampler:
    """Paints held-out examples as rows of a sheet: source (of an edit), target, painted.

    Args:
        decode: the autoencoder.
        examples: each of its own size; every one is painted from the same noise at each call.
    """

    def __init__(
        self,
        painter: Painter,
        connector: nn.Module,
        decode: Decode,
        examples: Sequence[Batch],
        settings: SampleSettings,
        shift: float,
    ) -> None:
        self.painter, self.connector, self.decode = painter, connector, decode
        self.examples, self.settings = examples, settings
        self.schedule = flow_schedule(settings.steps, shift)

    def rows(self, device: torch.device | str) -> list[list[NDArray[np.uint8]]]:
        """The pictures of each example, [H, W, 3] uint8."""
        rows = []
        for number, held in enumerate(self.examples):
            batch = held.to(device)
            condition, mask = conditioned(self.painter, self.connector, batch)
            source = batch.source if self.painter.config.task == "edit" else None
            generator = torch.Generator().manual_seed(number)
            noise = torch.randn(held.target.shape, generator=generator).to(device)
            scene = Scene(condition, mask, source)
            painted = paint(self.painter, scene, noise, self.schedule, self.settings.guidance, generator)
            latents = [batch.target, painted] if source is None else [source, batch.target, painted]
            rows.append([_pixels(self.decode(latent)) for latent in latents])
        return rows

    def write(self, path: Path, device: torch.device | str, main: bool) -> None:
        """Paint a sheet and, in the `main` process, write it as a PNG."""
        rows = self.rows(device)
        if main and rows:
            with atomic_write(path) as file:
                Image.fromarray(sheet(rows)).save(file, "PNG")


def sheet(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Rows of pictures [H, W, 3] on white."""
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    widths = [sum(picture.shape[1] for picture in row) + GAP * (len(row) - 1) for row in rows]
    board = np.full((sum(heights) + GAP * (len(rows) - 1), max(widths), 3), 255, np.uint8)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for picture in row:
            board[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
            left += picture.shape[1] + GAP
        top += height + GAP
    return board


def _pixels(picture: Tensor) -> NDArray[np.uint8]:
    """[1, 3, H, W] in [-1, 1] to [H, W, 3] uint8."""
    values = ((picture[0].float().clamp(-1, 1) + 1) * 127.5).round()
    return values.permute(1, 2, 0).to("cpu", torch.uint8).numpy()
