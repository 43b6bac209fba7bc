"""The PyTorch side of `gpu.py`: the library's classes, eager and compiled, graph by graph and as a whole edit.

What one of dimrt's graphs does is one call here; `context` has no counterpart, because the library's painter projects
the condition in every step.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import StaticCache

from dimrt.export.model.assembly import DIM, empty_dim
from dimrt.export.model.source import Source

Work = Callable[[], Any]


@dataclass(frozen=True)
class Sizes:
    """Sizes of one edit.

    Attributes:
        grid: patches of the picture (rows, columns).
        tokens: of the prefix that both turns share.
        cache: rows of the key/value cache while the plan is written.
        condition: rows of the condition.
        pixels, latent: height and width.
    """

    grid: tuple[int, int]
    tokens: int
    cache: int
    condition: int
    pixels: tuple[int, int]
    latent: tuple[int, int]


def whole_dim(source: Source, device: str, dtype: torch.dtype) -> DIM:
    """The model on a device, its tensors read one at a time."""
    dim = empty_dim(source.config, source.parts)
    tied = source.parts.designer.tie_word_embeddings
    names = [name for name, _ in dim.named_parameters() if not (tied and name == "designer.lm_head.weight")]
    state = {name: source.read(name).to(device=device, dtype=dtype, copy=True) for name in names}
    dim.load_state_dict(state, strict=False, assign=True)
    dim.designer.tie_weights()
    return dim.to(device).eval().requires_grad_(False)


class TorchSide:
    """Calls of the library's modules on inputs of given sizes.

    Args:
        dim: the model, on the device.
        sizes: of the inputs, whose values are random.
        device, dtype: of the model.
        compiled: backend of `torch.compile` ("inductor"), or None for eager.
    """

    def __init__(self, dim: DIM, sizes: Sizes, device: str, dtype: torch.dtype, compiled: str | None = None) -> None:
        self.dim, self.sizes, self.device, self.dtype = dim, sizes, device, dtype
        self._compiled = compiled

    def works(self) -> Iterator[tuple[str, Work]]:
        """Name and call of each graph's counterpart; inputs are made when a name is asked for."""
        for name in ("vision", "prefill", "decode_token", "connector", "step", "encode", "decode"):
            yield name, getattr(self, f"_{name}")()

    def flops(self, work: Work) -> int:
        """Operations of the products and convolutions in one call (a multiply-add counts two)."""
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            work()
        return int(counter.get_total_flops())

    def _module(self, module: Any) -> Any:
        return module if self._compiled is None else torch.compile(module, backend=self._compiled, dynamic=False)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, device=self.device, dtype=self.dtype)

    def _vision(self) -> Work:
        config = self.dim.parts.designer.vision_config
        rows, columns = self.sizes.grid
        patch = config.in_channels * config.temporal_patch_size * config.patch_size**2
        pixels = self._normal(rows * columns, patch)
        grid = torch.tensor([[1, rows, columns]], device=self.device)
        visual = self._module(self.dim.designer.model.visual)
        return lambda: visual(pixels, grid_thw=grid)

    def _text(self, tokens: int) -> Tensor:
        return self._normal(1, tokens, self.dim.parts.designer.text_config.hidden_size) * 0.02

    def _prefill(self) -> Work:
        count = self.sizes.tokens
        embeddings = self._text(count)
        places = torch.arange(count, device=self.device).expand(3, 1, count)
        model, head = self._module(self.dim.designer.model.language_model), self.dim.designer.lm_head
        return lambda: head(
            model(inputs_embeds=embeddings, position_ids=places, use_cache=False).last_hidden_state[:, -1]
        )

    def _decode_token(self) -> Work:
        """One token at the end of a static cache of the sizes' length, written anew each time."""
        rows = self.sizes.cache
        embeddings = self._text(1)
        config = self.dim.parts.designer.text_config
        cache = StaticCache(config=config, max_cache_len=rows)
        places = torch.full((3, 1, 1), rows - 1, device=self.device)
        mask = torch.zeros(1, 1, 1, rows, device=self.device, dtype=self.dtype)
        model, head = self._module(self.dim.designer.model.language_model), self.dim.designer.lm_head

        def work() -> Tensor:
            cache.reset()
            states = model(
                inputs_embeds=embeddings,
                position_ids=places,
                attention_mask={"full_attention": mask},
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
            return head(states[:, -1])

        return work

    def _connector(self) -> Work:
        hidden = self._text(self.sizes.condition)
        connector = self._module(self.dim.connector)
        return lambda: connector(hidden)

    def _step(self) -> Work:
        painter = self.dim.painter
        shape = (1, painter.config.latent_channels, *self.sizes.latent)
        latent, source, previous = (self._normal(*shape) for _ in range(3))
        rows = self._normal(2, self.sizes.condition, painter.config.caption_channels)
        level = torch.tensor([0.5], device=self.device, dtype=self.dtype)
        timestep = torch.full((2,), 500.0, device=self.device)
        data = self._module(painter.data)
        picture = source if painter.config.task == "edit" else None

        def work() -> Tensor:
            both = data(latent.expand(2, -1, -1, -1), level, timestep, rows, source=picture)
            guided = both[:1] + 7.5 * (both[1:] - both[:1])
            return 0.9 * latent + 0.1 * guided + 0.01 * previous

        return work

    def _encode(self) -> Work:
        pixels = self._normal(1, 3, *self.sizes.pixels)
        encoder = self._module(self.dim.autoencoder.encoder)
        return lambda: encoder(pixels)

    def _decode(self) -> Work:
        latent = self._normal(1, self.dim.config.painter.latent_channels, *self.sizes.latent)
        decoder = self._module(self.dim.autoencoder.decoder)
        return lambda: decoder(latent)


@contextmanager
def compiled(dim: DIM, backend: str) -> Iterator[None]:
    """The model's parts compiled in place (the library compiles its own decoding); eager again afterwards."""
    autoencoder = dim.autoencoder
    modules = (dim.designer.model.visual, dim.painter.transformer, autoencoder.encoder, autoencoder.decoder)
    for module in modules:
        module.compile(backend=backend)
    try:
        yield
    finally:
        for module in modules:
            module._compiled_call_impl = None


def weight_bytes(dim: DIM) -> dict[str, int]:
    """Bytes of the parameters that one call of each graph's counterpart reads."""
    text = dim.designer.model.language_model
    parts = {
        "vision": (dim.designer.model.visual,),
        "prefill": (text.layers, text.norm, dim.designer.lm_head),
        "decode_token": (text.layers, text.norm, dim.designer.lm_head),
        "connector": (dim.connector,),
        "step": (dim.painter.transformer,),
        "encode": (dim.autoencoder.encoder,),
        "decode": (dim.autoencoder.decoder,),
    }
    return {
        name: sum(p.numel() * p.element_size() for module in modules for p in module.parameters())
        for name, modules in parts.items()
    }
