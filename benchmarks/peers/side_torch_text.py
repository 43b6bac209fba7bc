"""PyTorch reads a prompt and writes greedily with transformers' Qwen2.5-VL, eager or compiled.

Eager is the original's way: the library's class with its growing cache, one call a token. Compiled is the library's
advice for speed: a cache of fixed length, so that one shape is compiled, and the mask given.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from common import versions
from peers.protocol import Json, clocked, serve
from torch import Tensor
from transformers import DynamicCache, Qwen2_5_VLForConditionalGeneration, StaticCache


class TorchText:
    """The library's class over the same weights."""

    def __init__(self, task: Json) -> None:
        torch.set_num_threads(task["threads"])
        self._compiled = task["compiled"]
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(task["library"], dtype=torch.float32)
        del model.model.visual
        self._text, self._head = model.eval().model.language_model, model.lm_head
        self._step: Callable[..., Tensor] = self._static_step
        if self._compiled:
            self._step = torch.compile(self._static_step, dynamic=False)
        self._prompt = torch.tensor([task["prompt"]])
        self._count = task["tokens"]
        self.facts = {
            "versions": versions(("torch", "transformers")),
            "weight_bytes": sum(p.numel() * p.element_size() for p in self._text.parameters()),
            "differs": (
                "a static cache of exactly the needed length; the loop around the model is written out, not `generate`"
                if self._compiled
                else "a cache that grows by concatenation; the loop around the model is written out, not `generate`"
            ),
        }

    @torch.inference_mode()
    def run(self) -> Json:
        """Read the prompt, write the tokens."""
        return self._run_static() if self._compiled else self._run_growing()

    def keep(self, path: Path) -> None:
        """Tokens are in every result."""

    def _run_growing(self) -> Json:
        seconds: dict[str, float] = {}
        length, cache, written = self._prompt.shape[1], DynamicCache(), []
        with clocked(seconds, "read"):
            written.append(self._next(self._prompt, torch.arange(length), cache))
        with clocked(seconds, "write"):
            for place in range(length, length + self._count - 1):
                written.append(self._next(torch.tensor([written[-1:]]), torch.tensor([place]), cache))
        return {"seconds": seconds, "tokens": written}

    def _next(self, ids: Tensor, places: Tensor, cache: DynamicCache) -> int:
        states = self._text(
            input_ids=ids,
            position_ids=places.expand(3, 1, len(places)),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return int(self._head(states[:, -1]).argmax())

    def _run_static(self) -> Json:
        seconds: dict[str, float] = {}
        length = self._prompt.shape[1]
        rows = length + self._count
        cache, written = StaticCache(config=self._text.config, max_cache_len=rows), []
        with clocked(seconds, "read"):
            places = torch.arange(length)
            written.append(int(self._static_step(self._prompt, places, self._mask(places, rows), cache)))
        with clocked(seconds, "write"):
            for place in range(length, rows - 1):
                places = torch.tensor([place])
                row = torch.tensor([written[-1:]])
                written.append(int(self._step(row, places, self._mask(places, rows), cache)))
        return {"seconds": seconds, "tokens": written}

    def _static_step(self, ids: Tensor, places: Tensor, mask: Tensor, cache: StaticCache) -> Tensor:
        states = self._text(
            input_ids=ids,
            position_ids=places.expand(3, 1, len(places)),
            attention_mask={"full_attention": mask},
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return self._head(states[:, -1]).argmax()

    @staticmethod
    def _mask(places: Tensor, rows: int) -> Tensor:
        """Additive [1,1,S,rows]."""
        hidden = torch.arange(rows) > places[:, None]
        return torch.zeros(hidden.shape).masked_fill(hidden, torch.finfo(torch.float32).min)[None, None]


if __name__ == "__main__":
    serve(TorchText)
