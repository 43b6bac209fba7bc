"""The two runtimes that `precision_speed.py` times: a graph in ONNX Runtime, the library's module in PyTorch.

Both are given the same numbers: key/value cache, token embeddings, condition, latents. PyTorch runs the classes of
transformers and diffusers as they are, eager, as the original inference does: its cache is a DynamicCache, and its
painter projects the condition and makes the cross-attention's keys and values in every step, which dimrt's `context`
graph does once an edit (timed by itself).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import DynamicCache

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.export.model.assembly import empty_dim
from dimrt.export.model.source import Source
from dimrt.export.precision.recipe import Recipe
from dimrt.export.precision.statistics import assumed_statistics
from dimrt.export.writer import Writer
from dimrt.manifest import Language
from dimrt.rope import rotary
from dimrt.schedule import Step
from dimrt.vision import MASKED

Array = NDArray[np.float32]


class Graphs:
    """Some graphs of one recipe, in a folder: as much of a bundle as a backend needs."""

    def __init__(self, source: Source, recipe: Recipe, names: tuple[str, ...], folder: Path) -> None:
        """Write the graphs. Ranges of activations are assumed: time doesn't depend on values."""
        folder.mkdir()
        self.folder = folder
        writer = Writer(source, recipe)
        definitions = {name: writer.define(name) for name in names}
        writer.statistics = assumed_statistics({name: _widths(d.module) for name, d in definitions.items()})
        self.bytes, self.dtypes = {}, {}
        for name, definition in definitions.items():
            self.bytes[name] = sum(record.size for record in writer.write_graph(definition, folder).values())
            self.dtypes[name] = recipe.dtypes[name]

    def graph_path(self, name: str) -> Path:
        """As `Bundle.graph_path`."""
        return self.folder / "onnx" / f"{name}.onnx"


def _widths(module: nn.Module) -> dict[str, int]:
    """Input channels of every matrix."""
    return {name: parameter.shape[0] for name, parameter in module.named_parameters() if parameter.dim() == 2}


def library_part(source: Source, part: str, dtype: torch.dtype) -> nn.Module:
    """`designer` or `painter` as the library's class, its weights read one at a time into `dtype`."""
    module: nn.Module = getattr(empty_dim(source.config, source.parts), part)
    if part == "designer":
        del module.model.visual
    state = {name: source.read(f"{part}.{name}").to(dtype, copy=True) for name, _ in module.named_parameters()}
    module.load_state_dict(state, strict=False, assign=True)
    if part == "designer":
        module.tie_weights()
    return module.eval().requires_grad_(False)


class TextInputs:
    """A cache with all rows filled but the last `prompt`, and the tokens that come there.

    Attributes:
        keys, values: float32 [layers, kv_heads, rows, head_dim].
        embeddings: float32 [prompt, hidden].
    """

    def __init__(self, facts: Language, rows: int, prompt: int) -> None:
        random = np.random.default_rng(0)
        self.facts, self.rows, self.prompt = facts, rows, prompt
        shape = (facts.layers, facts.kv_heads, rows, facts.head_dim)
        self.keys, self.values = (random.standard_normal(shape, np.float32) for _ in range(2))
        self.embeddings = random.standard_normal((prompt, facts.hidden_size), np.float32) * np.float32(0.02)


class OrtText:
    """The `language` graph behind a full cache; `read` gives logits [vocab] of the last of `count` tokens."""

    def __init__(self, graphs: Graphs, inputs: TextInputs, threads: int) -> None:
        self.backend = OrtBackend(graphs, threads=threads)  # type: ignore[arg-type]
        self.engine = self.backend.engine("language")
        self.inputs = inputs
        dtype = graphs.dtypes["language"]
        self.cache = {}
        for layer in range(inputs.facts.layers):
            for kind, tensors in (("key", inputs.keys), ("value", inputs.values)):
                self.cache[f"{kind}_{layer}"] = self.backend.to_device(tensors[layer][None].astype(dtype))

    def read(self, count: int) -> Array:
        """The last `count` tokens of the cache's length, read anew in place."""
        inputs = self.inputs
        start = inputs.rows - count
        places = np.broadcast_to(np.arange(start, inputs.rows), (3, count))
        cos, sin = rotary(places, inputs.facts)
        visible = np.arange(inputs.rows) <= start + np.arange(count)[:, None]
        feeds = {
            "embeddings": inputs.embeddings[None, -count:],
            "cos": cos,
            "sin": sin,
            "mask": np.where(visible, np.float32(0), np.float32(MASKED))[None, None],
            "position": np.array([start], np.int64),
            "rows": np.array([count - 1], np.int64),
            **self.cache,
        }
        into = {f"{name}_out": tensor for name, tensor in self.cache.items()}
        return np.asarray(self.engine.run(feeds, into=into)["logits"][0, 0], np.float32)


class TorchText:
    """The designer's text model and head from transformers, behind the same cache."""

    def __init__(self, designer: nn.Module, inputs: TextInputs) -> None:
        self.model, self.head = designer.model.language_model, designer.lm_head
        self.inputs = inputs
        self.dtype = self.head.weight.dtype
        self.embeddings = torch.from_numpy(inputs.embeddings).to(self.dtype)

    def cache(self, rows: int) -> DynamicCache:
        """A fresh cache of the first `rows` rows."""
        cache = DynamicCache()
        for layer in range(self.inputs.facts.layers):
            pair = (
                torch.from_numpy(t[layer][None, :, :rows]).to(self.dtype)
                for t in (self.inputs.keys, self.inputs.values)
            )
            cache.update(*pair, layer)
        return cache

    @torch.inference_mode()
    def read(self, count: int, cache: DynamicCache) -> Array:
        """As `OrtText.read`; `cache` of the rows before comes from `cache()`."""
        places = torch.arange(self.inputs.rows - count, self.inputs.rows).expand(3, 1, count)
        states = self.model(
            inputs_embeds=self.embeddings[None, -count:], position_ids=places, past_key_values=cache, use_cache=True
        ).last_hidden_state
        return self.head(states[:, -1]).float().numpy()[0]


class PaintInputs:
    """Latent, source and previous data float32 [1, C, h, w], and the condition [2, rows, channels] (null row first)."""

    def __init__(self, source: Source, side: int, rows: int, call: Step, guidance: float) -> None:
        random = np.random.default_rng(1)
        painter = source.config.painter
        self.edit, self.call, self.guidance = painter.task == "edit", call, guidance
        shape = (1, painter.latent_channels, side, side)
        self.latent, self.source, self.previous = (random.standard_normal(shape, np.float32) for _ in range(3))
        self.condition = random.standard_normal((2, rows, painter.caption_channels), np.float32)


class OrtPainter:
    """The `context` and `step` graphs."""

    def __init__(self, graphs: Graphs, inputs: PaintInputs, threads: int) -> None:
        self.backend = OrtBackend(graphs, threads=threads)  # type: ignore[arg-type]
        self.inputs = inputs
        self.context: Any = None

    def prepare(self) -> None:
        """Keys and values of the condition: once an edit."""
        engine = self.backend.engine("context")
        self.context = engine.run({"condition": self.inputs.condition}, keep=("context",))["context"]

    def step(self) -> Array:
        """The next latent."""
        inputs = self.inputs
        feeds = {
            "latent": inputs.latent,
            "previous": inputs.previous,
            "context": self.context,
            "timestep": np.array([inputs.call.timestep], np.float32),
            "guidance": np.array([inputs.guidance], np.float32),
            "coefficients": np.array(inputs.call.coefficients, np.float32),
        }
        if inputs.edit:
            feeds["source"] = inputs.source
        return np.asarray(self.backend.engine("step").run(feeds)["next_latent"])


class TorchPainter:
    """The painter from diffusers, guidance and solver written out around it."""

    def __init__(self, painter: nn.Module, inputs: PaintInputs) -> None:
        self.painter, self.inputs = painter, inputs
        self.dtype = painter.null_condition.dtype
        self.latent, self.source, self.previous, self.condition = (
            torch.from_numpy(values).to(self.dtype)
            for values in (inputs.latent, inputs.source, inputs.previous, inputs.condition)
        )

    @torch.inference_mode()
    def step(self) -> Array:
        """The next latent."""
        call = self.inputs.call
        sigma, keep, fresh, older = call.coefficients
        rows: Tensor = self.painter.data(
            self.latent.expand(2, -1, -1, -1),
            torch.tensor(sigma, dtype=self.dtype),
            torch.tensor(float(call.timestep)),
            self.condition,
            source=self.source if self.inputs.edit else None,
        )
        data = rows[:1] + self.inputs.guidance * (rows[1:] - rows[:1])
        return (keep * self.latent + fresh * data + older * self.previous).float().numpy()
