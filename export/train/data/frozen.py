"""The frozen parts of a model, which turn rows into what the painter learns from: latents and conditions.

The designer reads a row exactly as the runtime reads a request: the same picture preparation, the same turn. Pictures
and texts of a batch go through it together.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import torch
from diffusers import AutoencoderDC
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from dimrt import manifest
from dimrt.errors import CheckpointError
from dimrt.export.facts import TOKENIZER, designer_facts
from dimrt.export.model.assembly import empty_dim
from dimrt.export.model.source import Source, load_part
from dimrt.export.train.data.problems import RowProblem
from dimrt.export.train.data.vision import embed
from dimrt.photo.read import Photo
from dimrt.prompt import Prompts, Turn
from dimrt.rope import position_ids
from dimrt.vision import VisionInput, condition_size, prepare

PIXELS_AT_ONCE = 8 * 1024 * 1024
"""That the autoencoder takes at a time: its activations are about 1 GB for a picture of 1024 x 1024."""
TOKENS_AT_ONCE = 16 * 1024
"""That the designer takes at a time: eight to ten conditions of DIM."""


@dataclass(frozen=True)
class Frozen:
    """Designer and autoencoder of a checkpoint, in evaluation mode, and what the runtime knows of them.

    Attributes:
        facts: of the designer, as a bundle's manifest states them.
        prompts: the runtime's own builder of turns.
        resolution: of the painter.
        task: "edit" when the turn begins with the source picture.
        max_condition: most rows of a condition.
    """

    designer: Qwen2_5_VLForConditionalGeneration
    autoencoder: AutoencoderDC
    facts: manifest.Designer
    prompts: Prompts
    resolution: manifest.Resolution
    task: Literal["edit", "generate"]
    max_condition: int

    @classmethod
    def load(cls, source: Source, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> "Frozen":
        """The frozen parts of an open checkpoint. `dtype` is the designer's; the autoencoder stays in float32."""
        return cls.of(
            source,
            load_part(source, "designer", dtype).to(device),
            load_part(source, "autoencoder").to(device),
        )

    @classmethod
    def of(cls, source: Source, designer: Qwen2_5_VLForConditionalGeneration, autoencoder: AutoencoderDC) -> "Frozen":
        """The same, of parts that are in memory already."""
        facts, prompts = read_prompts(source)
        config = source.config
        return cls(
            designer, autoencoder, facts, prompts, config.resolution, config.painter.task, config.painter.max_condition
        )

    @property
    def device(self) -> torch.device:
        """Where latents and conditions are computed."""
        return self.autoencoder.device

    @property
    def image_tokens(self) -> int:
        """Tokens of the picture in a turn."""
        width, height = condition_size(self.facts.vision)
        factor = self.facts.vision.patch_size * self.facts.vision.merge_size
        return (width // factor) * (height // factor)

    def turn(self, text: str, picture: bool) -> Turn:
        """The condition turn of a text, with or without a picture.

        Raises:
            RowProblem: the text is too long, as the runtime would say of a request.
        """
        turn = self.prompts.condition_turn(text, self.image_tokens if picture else 0)
        length = turn.condition.stop - turn.condition.start
        most = min(self.max_condition, self.facts.language.max_positions - turn.condition.start)
        if length > most:
            raise RowProblem("long text", f"text and picture take {length} rows, the painter takes at most {most}")
        return turn

    def view(self, photo: Photo) -> VisionInput:
        """The picture of a turn, prepared for the designer."""
        return prepare(photo.pixels, self.facts.vision, condition_size(self.facts.vision), photo.alpha, photo.icc)

    @torch.no_grad()
    def conditions(self, turns: Sequence[Turn], views: Sequence[VisionInput] | None) -> list[Tensor]:
        """The designer's hidden states after the final norm, float32 [N, hidden], of each turn's condition tokens.

        Args:
            turns: from `turn`, all with a picture or all without.
            views: the pictures in them; None without.
        """
        most = max(1, TOKENS_AT_ONCE // max(len(turn.ids) for turn in turns))
        spans = [slice(start, start + most) for start in range(0, len(turns), most)]
        return [rows for span in spans for rows in self._read(turns[span], None if views is None else views[span])]

    def _read(self, turns: Sequence[Turn], views: Sequence[VisionInput] | None) -> list[Tensor]:
        """Hidden states of the condition tokens of a few turns."""
        length = max(len(turn.ids) for turn in turns)
        ids = np.full((len(turns), length), self.facts.tokens.stop[-1], np.int64)
        for row, turn in enumerate(turns):
            ids[row, : len(turn.ids)] = turn.ids
        language = self.designer.model.language_model
        embedded = language.embed_tokens(torch.from_numpy(ids).to(self.designer.device))
        grids = []
        if views is not None:
            start = int(np.flatnonzero(ids[0] == self.facts.tokens.image_pad)[0])
            embedded[:, start : start + self.image_tokens] = embed(self.designer, views).to(embedded.dtype)
            merge = self.facts.vision.merge_size
            grids = [(views[0].grid[0] // merge, views[0].grid[1] // merge)]
        # The turns begin alike and the model is causal, so one row of positions serves all and padding needs no mask.
        positions, _ = position_ids(ids[0], self.facts.tokens, grids)
        spread = torch.from_numpy(positions)[:, None].expand(3, len(turns), -1).to(self.designer.device)
        hidden = language(inputs_embeds=embedded, position_ids=spread, use_cache=False).last_hidden_state
        return [hidden[row, turn.condition].float() for row, turn in enumerate(turns)]

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Scaled latents float32 [B, C, h, w] of pictures [B, 3, H, W] in [-1, 1]."""
        parts = pixels.split(max(1, PIXELS_AT_ONCE // pixels[0, 0].numel()))
        found = [self.autoencoder.encode(part.to(self.device, torch.float32)).latent for part in parts]
        return torch.cat(found) * self.scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pictures float32 [B, 3, H, W], nominally in [-1, 1], of scaled latents."""
        area = latents[0, 0].numel() * self.resolution.latent_factor**2
        parts = (latents.to(self.device, torch.float32) / self.scale).split(max(1, PIXELS_AT_ONCE // area))
        return torch.cat([self.autoencoder.decode(part).sample for part in parts])

    @property
    def scale(self) -> float:
        """The autoencoder's scaling factor."""
        return float(self.autoencoder.config.scaling_factor)


def read_prompts(source: Source) -> tuple[manifest.Designer, Prompts]:
    """The designer's facts of a checkpoint, and its builder of turns.

    Raises:
        CheckpointError: the designer's folder lacks its tokenizer or a settings file.
    """
    folder = source.parts.designer_folder
    if folder is None:
        raise CheckpointError("the designer has no folder with its tokenizer; open the checkpoint from a folder")
    facts = designer_facts(source, folder)
    return facts, Prompts(folder / TOKENIZER, facts)


def frozen_digests(source: Source) -> dict[str, str]:
    """sha256 of what latents and conditions depend on: "autoencoder" and "designer", each with weights as stored and
    configuration; the designer's with its tokenizer, picture route and system turn as well.
    """
    facts, _ = read_prompts(source)
    reading = msgspec.json.encode((facts.vision, facts.language, facts.tokens, facts.prompt.system))
    tokenizer = (source.parts.designer_folder / TOKENIZER).read_bytes()
    settings = {
        "designer": (reading, tokenizer),
        "autoencoder": (msgspec.json.encode(source.parts.autoencoder, order="sorted"),),
    }
    return {part: _digest(source, part, texts) for part, texts in settings.items()}


def _digest(source: Source, part: str, texts: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text).digest())
    for name, content in _stored(source, part):
        digest.update(name.encode() + b"\0" + str((content.dtype, tuple(content.shape))).encode())
        digest.update(content.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _stored(source: Source, part: str) -> Iterator[tuple[str, Tensor]]:
    module = getattr(empty_dim(source.config, source.parts), part)
    for name in sorted(dict(module.named_parameters())):
        yield name, source.read(f"{part}.{name}")
