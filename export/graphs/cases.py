"""What each exported graph is compared on: inputs, and what the library's own forward makes of them.

References come from transformers' and diffusers' classes, never from the graph modules. Every graph gets random
inputs and the ones the chain really passes: a picture through the designer's picture route, a prompt through its
chat layout, the condition that comes of it, latents on the way from noise to picture.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimrt import rope, schedule, vision
from dimrt.export.model.painter import Painter
from dimrt.export.model.source import Reference
from dimrt.manifest import GRAPHS, Designer
from dimrt.prompt import Prompts, Turn

Array = NDArray[Any]
INSTRUCTION = "Make the sky a warm orange and keep everything else as it is."
LARGEST_SIDE = 256
"""Pixels; the pictures compared on are no larger, so that a full-size model is checked in minutes on a CPU."""


@dataclass(frozen=True)
class Case:
    """Inputs of a graph by name, and the outputs expected of it (those that are compared)."""

    feeds: Mapping[str, Array]
    expected: Mapping[str, Array]


class Cases:
    """Builds the cases of one model. References are computed once, in float32, and shared between graphs.

    Where two parts of the model are needed, the first is done with before the second is touched: `Reference` holds one.
    """

    def __init__(self, dim: Reference, designer: Designer, prompts: Prompts) -> None:
        self.dim = dim
        self.facts = designer
        self.prompts = prompts
        self.random = np.random.default_rng(0)
        self.edit = dim.config.painter.task == "edit"

    def of(self, graph: str) -> Iterator[Case]:
        """The cases of a graph, one at a time. What is random in them depends on the graph alone: an export that goes
        on after an interruption measures what it would have measured.
        """
        self.random = np.random.default_rng(GRAPHS.index(graph))
        with torch.no_grad():
            yield from getattr(self, f"_{graph}")()

    def normal(self, *shape: int) -> NDArray[np.float32]:
        """Random normal float32."""
        return self.random.standard_normal(shape, dtype=np.float32)

    @cached_property
    def picture(self) -> NDArray[np.uint8]:
        """A picture with gradients, edges and grain: uint8 [side, side, 3], the painter's size or `LARGEST_SIDE`."""
        resolution = self.dim.config.resolution
        side = resolution.side if resolution.aspect == "square" else min(resolution.side, LARGEST_SIDE)
        y, x = np.mgrid[0:side, 0:side] / side
        disc = ((x - 0.4) ** 2 + (y - 0.6) ** 2 < 0.05) * 90.0
        channels = [120 + 100 * x - disc, 200 - 140 * y + disc, 90 + 80 * np.sin(9 * x * y) + 60 * (x > 0.7)]
        grain = np.random.default_rng(1).normal(0, 6, (side, side, 3))
        return np.clip(np.stack(channels, -1) + grain, 0, 255).astype(np.uint8)

    @cached_property
    def pixels(self) -> Tensor:
        """The picture as the autoencoder takes it."""
        return torch.from_numpy(self.picture / np.float32(127.5) - np.float32(1)).permute(2, 0, 1)[None]

    @cached_property
    def view(self) -> vision.VisionInput:
        """The picture as the designer takes it."""
        side = min(self.facts.vision.condition_side, LARGEST_SIDE)
        return vision.prepare(self.picture, self.facts.vision, vision.fit_size(side, side, self.facts.vision))

    @cached_property
    def turn(self) -> Turn:
        """The condition turn of the picture (if the model takes one) and the instruction."""
        return self.prompts.condition_turn(INSTRUCTION, len(self.view.order) if self.edit else 0)

    @cached_property
    def read(self) -> tuple[Tensor, Tensor, Tensor]:
        """The turn read by the library: (token embeddings with the picture's in place, hidden [1,S,D], logits)."""
        ids = torch.from_numpy(self.turn.ids)[None]
        model, embeddings = self.dim.designer, self.dim.designer.get_input_embeddings()(ids)
        picture = {}
        if self.edit:
            embeds = self._library_vision(self._raster(self.view), self.view.grid)
            embeddings[ids == self.facts.tokens.image_pad] = embeds
            picture = {
                "pixel_values": torch.from_numpy(self._raster(self.view)),
                "image_grid_thw": torch.tensor([[1, *self.view.grid]]),
                "mm_token_type_ids": (ids == self.facts.tokens.image_pad).long(),
            }
        out = model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True, **picture)
        return embeddings, out.hidden_states[-1], out.logits

    @cached_property
    def condition(self) -> Tensor:
        """The painter's condition [1,N,Ccap] for the turn, from the library."""
        hidden = self.read[1][:, self.turn.condition][:, -self.dim.config.painter.max_condition :]
        return self.dim.connector(hidden)

    @cached_property
    def latent(self) -> Tensor:
        """The picture's latent, scaled, from the library."""
        return self.dim.autoencoder.encode(self.pixels).latent * self.dim.autoencoder.config.scaling_factor

    def _vision(self) -> Iterator[Case]:
        yield self._vision_case(self.view)
        facts = self.facts.vision
        side = facts.window_size // facts.patch_size
        grid = (side + facts.merge_size, 2 * side + facts.merge_size)
        pixels = self.random.integers(0, 256, (grid[0] * facts.patch_size, grid[1] * facts.patch_size, 3), np.uint8)
        yield self._vision_case(vision.prepare(pixels, facts, (pixels.shape[1], pixels.shape[0])))

    def _vision_case(self, view: vision.VisionInput) -> Case:
        feeds = {name: getattr(view, name) for name in ("patches", "cos", "sin", "window_mask", "order")}
        return Case(feeds, {"image_embeddings": self._library_vision(self._raster(view), view.grid).numpy()})

    def _raster(self, view: vision.VisionInput) -> NDArray[np.float32]:
        """The patches without padding, in the library's order."""
        source, _ = vision.window_order(view.grid, self.facts.vision)
        patches = np.empty((int(np.prod(view.grid)), view.patches.shape[1]), np.float32)
        patches[source[source >= 0]] = view.patches[source >= 0]
        return patches

    def _library_vision(self, patches: NDArray[np.float32], grid: tuple[int, int]) -> Tensor:
        out = self.dim.designer.model.visual(torch.from_numpy(patches), grid_thw=torch.tensor([[1, *grid]]))
        return out.pooler_output

    def _language(self) -> Iterator[Case]:
        embeddings, hidden, logits = self.read
        grids = [tuple(n // self.facts.vision.merge_size for n in self.view.grid)] if self.edit else []
        positions, _ = rope.position_ids(self.turn.ids, self.facts.tokens, grids)
        yield self._language_case(embeddings, positions, hidden, logits)
        count, language = 17, self.facts.language
        noise = torch.from_numpy(self.normal(1, count, language.hidden_size)) * embeddings.std()
        places = np.broadcast_to(np.arange(count), (3, count))
        model = self.dim.designer
        hidden = model.model.language_model(
            inputs_embeds=noise,
            position_ids=torch.from_numpy(places.copy())[:, None],
            attention_mask=torch.ones(1, count, dtype=torch.long),
        ).last_hidden_state
        yield self._language_case(noise, places, hidden, model.lm_head(hidden))

    def _language_case(self, embeddings: Tensor, positions: Array, hidden: Tensor, logits: Tensor) -> Case:
        """Reads all tokens into a cache that is longer than needed; logits of the first, a middle and the last row."""
        count, language = embeddings.shape[1], self.facts.language
        length = count + 7
        cos, sin = rope.rotary(positions, language)
        rows = np.array([0, count // 2, count - 1])
        mask = np.where(np.arange(length) <= np.arange(count)[:, None], np.float32(0), np.float32(vision.MASKED))
        cache = np.zeros((1, language.kv_heads, length, language.head_dim), np.float32)
        feeds = {
            "embeddings": embeddings.numpy(),
            "cos": cos,
            "sin": sin,
            "mask": mask[None, None],
            "position": np.zeros(1, np.int64),
            "rows": rows,
        }
        feeds |= {f"{kind}_{i}": cache for i in range(language.layers) for kind in ("key", "value")}
        return Case(feeds, {"hidden": hidden.numpy(), "logits": logits[:, rows].numpy()})

    def _connector(self) -> Iterator[Case]:
        for hidden in (self.read[1][:, self.turn.condition], torch.from_numpy(self.normal(1, 9, self._width))):
            yield Case({"hidden": hidden.numpy()}, {"condition": self.dim.connector(hidden).numpy()})

    @property
    def _width(self) -> int:
        return self.facts.language.hidden_size

    def _context(self) -> Iterator[Case]:
        conditions = (self._guided, self.condition, torch.from_numpy(self.normal(2, 7, self.condition.shape[-1])))
        layers = [[self._library_context(each, painter) for each in conditions] for painter in self.dim.painters()]
        for condition, contexts in zip(conditions, zip(*layers, strict=True), strict=True):
            yield Case({"condition": condition.numpy()}, {"context": torch.cat(contexts).numpy()})

    @cached_property
    def _guided(self) -> Tensor:
        """Null rows and condition, as guidance takes them: [2,N,Ccap]."""
        condition, _ = self.condition, self.latent
        return torch.cat([self.dim.painter.null_condition[None, : condition.shape[1]], condition])

    def _library_context(self, condition: Tensor, painter: Painter) -> Tensor:
        """Keys and values seen inside the library's forward, by hooks on its modules. They depend on no latent."""
        blocks = painter.transformer.transformer_blocks
        seen: list[Tensor] = []
        hooks = [
            module.register_forward_hook(lambda _m, _i, out: seen.append(out))
            for block in blocks
            for module in (block.attn2.norm_k, block.attn2.to_v)
        ]
        try:
            latent = self.latent.expand(len(condition), -1, -1, -1)
            if painter.config.position_side is None:
                latent = latent[..., : painter.config.patch_size, : painter.config.patch_size]
            painter(latent, torch.tensor(500.0), condition, source=self._source(latent))
        finally:
            for hook in hooks:
                hook.remove()
        # norm_k runs after to_v: put each layer's key first.
        heads = self.dim.config.painter.cross_heads
        return torch.stack([seen[i ^ 1].unflatten(-1, (heads, -1)).transpose(1, 2) for i in range(len(seen))])

    def _source(self, latent: Tensor) -> Tensor | None:
        return latent if self.edit else None

    def _step(self) -> Iterator[Case]:
        defaults = self.dim.config.schedule
        calls = schedule.flow_schedule(4, defaults.shift)
        latent = self.latent
        noise = torch.from_numpy(self.normal(*latent.shape))
        guided, alone = (
            (each, self._library_context(each, self.dim.painter)) for each in (self._guided, self.condition)
        )
        for call, (condition, context) in (
            (calls[0], guided),
            (calls[1], guided),
            (calls[2], alone),
            (calls[3], guided),
        ):
            latent = call.sigma * noise + (1 - call.sigma) * self.latent
            yield self._step_case(call, latent, condition, context, defaults.guidance_scale)

    def _step_case(
        self, call: schedule.Step, latent: Tensor, condition: Tensor, context: Tensor, guidance: float
    ) -> Case:
        """Guidance and solver written out here in float32, around the library's forward."""
        previous = torch.from_numpy(self.normal(*latent.shape)) * self.latent.std()
        batch = latent.expand(len(condition), -1, -1, -1)
        rows = self.dim.painter.data(
            batch,
            torch.tensor(call.sigma),
            torch.tensor(float(call.timestep)),
            condition,
            source=self._source(self.latent.expand_as(batch)),
        )
        data = rows[:1] + guidance * (rows[-1:] - rows[:1])
        _, a, b, c = call.coefficients
        feeds = {
            "latent": latent.numpy(),
            "previous": previous.numpy(),
            "context": context.numpy(),
            "timestep": np.array([call.timestep], np.float32),
            "guidance": np.array([guidance], np.float32),
            "coefficients": np.array(call.coefficients, np.float32),
        }
        if self.edit:
            feeds["source"] = self.latent.numpy()
        expected = {"next_latent": (a * latent + b * data + c * previous).numpy(), "data": data.numpy()}
        return Case(feeds, expected)

    def _encode(self) -> Iterator[Case]:
        yield Case({"pixels": self.pixels.numpy()}, {"latent": self.latent.numpy()})
        noise = torch.from_numpy(self.random.uniform(-1, 1, self.pixels.shape).astype(np.float32))
        latent = self.dim.autoencoder.encode(noise).latent * self.dim.autoencoder.config.scaling_factor
        yield Case({"pixels": noise.numpy()}, {"latent": latent.numpy()})

    def _decode(self) -> Iterator[Case]:
        noise = torch.from_numpy(self.normal(*self.latent.shape)) * self.latent.std()
        for latent in (self.latent, noise):
            pixels = self.dim.autoencoder.decode(latent / self.dim.autoencoder.config.scaling_factor).sample
            yield Case({"latent": latent.numpy()}, {"pixels": pixels.numpy()})
