"""The original's way of doing an edit, in plain PyTorch on the same weights: the peer that `chain.py` measures against.

Nothing is shared or cut: the designer reads the picture and the turn from the start for the plan and once more for the
condition, every painter step evaluates the null and the real condition through the whole network (projection and
cross-attention keys included), and the last step is followed by the decoder. Library classes do all of the work.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimrt.export.model.assembly import DIM
from dimrt.export.model.dim import load_dim
from dimrt.export.parity.designer import patch_values
from dimrt.manifest import Manifest
from dimrt.painter import start_noise
from dimrt.photo.fit import from_painter, painter_frame, to_painter
from dimrt.photo.read import Photo
from dimrt.prompt import Prompts
from dimrt.schedule import flow_schedule
from dimrt.vision import condition_size, prepare


@dataclass
class OriginalResult:
    """Painted picture uint8 [H,W,3], plan token ids, seconds of each phase."""

    painted: NDArray[np.uint8]
    plan_tokens: list[int]
    timings: dict[str, float] = field(default_factory=dict)


class Original:
    """DIM, by default on the CPU in float32. `manifest` and `tokenizer` come from a bundle of the same checkpoint."""

    def __init__(
        self,
        checkpoint: str | Path | DIM,
        manifest: Manifest,
        tokenizer: Path,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.dim = checkpoint if isinstance(checkpoint, DIM) else load_dim(checkpoint, device=device, dtype=dtype)
        self.device, self.dtype = device, dtype
        self.facts = manifest
        self.prompts = Prompts(tokenizer, manifest.designer)
        self.generation: dict[str, Any] = {}
        """Further arguments of `generate`."""
        self._timings: dict[str, float] = {}

    @torch.inference_mode()
    def edit(
        self,
        photo: Photo,
        instruction: str,
        *,
        steps: int,
        guidance_scale: float,
        seed: int,
        max_new_tokens: int | None = None,
    ) -> OriginalResult:
        """One edit at model resolution."""
        self._timings = {}
        limit = max_new_tokens or self.facts.designer.decoding.max_new_tokens
        picture, image_tokens = self._timed("preprocess", lambda: self._picture(photo))
        plan = self._timed("plan", lambda: self._plan(instruction, picture, image_tokens, limit))
        text = self.prompts.decode(np.array(plan)).strip() or instruction  # random weights may write nothing readable
        condition = self._timed("condition", lambda: self._condition(text, picture, image_tokens))
        source = self._timed("encode", lambda: self._encode(photo))
        latent = self._timed("paint", lambda: self._paint(condition, source, steps, guidance_scale, seed))
        painted = self._timed("decode", lambda: self._decode(latent))
        return OriginalResult(painted, plan, self._timings)

    def _timed(self, phase, work):
        start = time.perf_counter()
        result = work()
        if self.device != "cpu":
            torch.cuda.synchronize()
        self._timings[phase] = time.perf_counter() - start
        return result

    def _picture(self, photo: Photo) -> tuple[dict[str, Tensor], int]:
        vision = self.facts.designer.vision
        prepared = prepare(photo.pixels, vision, condition_size(vision))
        picture = {
            "pixel_values": self._number(patch_values(prepared, vision)),
            "image_grid_thw": torch.tensor([[1, *prepared.grid]], device=self.device),
        }
        return picture, prepared.grid[0] * prepared.grid[1] // vision.merge_size**2

    def _inputs(self, ids: NDArray[np.int64], picture: dict[str, Tensor]) -> dict[str, Tensor]:
        input_ids = torch.from_numpy(ids)[None].to(self.device)
        return {
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "mm_token_type_ids": (input_ids == self.facts.designer.tokens.image_pad).long(),
            **picture,
        }

    def _number(self, values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(values).to(self.device, self.dtype)

    def _plan(self, instruction: str, picture: dict[str, Tensor], image_tokens: int, limit: int) -> list[int]:
        turn = self.prompts.plan_turn(instruction, image_tokens)
        decoding, stop = self.facts.designer.decoding, self.facts.designer.tokens.stop
        written = self.dim.designer.generate(
            **self._inputs(turn.ids, picture),
            do_sample=False,
            max_new_tokens=limit,
            repetition_penalty=decoding.repetition_penalty,
            eos_token_id=list(stop),
            pad_token_id=stop[0],
            **self.generation,
        )[0, len(turn.ids) :].tolist()
        return written[:-1] if written and written[-1] in stop else written

    def _condition(self, text: str, picture: dict[str, Tensor], image_tokens: int) -> Tensor:
        turn = self.prompts.condition_turn(text, image_tokens)
        output = self.dim.designer.model(**self._inputs(turn.ids, picture), use_cache=False)
        condition = self.dim.connector(output.last_hidden_state)[:, turn.condition]
        return condition[:, -self.facts.painter.max_condition :]

    def _encode(self, photo: Photo) -> Tensor:
        frame = painter_frame(photo.size, self.facts.resolution, "whole")
        pixels = self._number(to_painter(photo, frame))
        autoencoder = self.dim.autoencoder
        return autoencoder.encode(pixels).latent * autoencoder.config.scaling_factor

    def _paint(self, condition: Tensor, source: Tensor, steps: int, guidance_scale: float, seed: int) -> Tensor:
        painter = self.dim.painter
        rows = torch.cat([painter.null_condition[None, : condition.shape[1]], condition])
        latent = self._number(start_noise(seed, tuple(source.shape)))
        previous = torch.zeros_like(latent)
        for step in flow_schedule(steps, self.facts.schedule.shift):
            sigma, keep, fresh, older = step.coefficients
            time_step = torch.full((2,), float(step.timestep), device=self.device)
            level = torch.tensor([sigma], device=self.device, dtype=self.dtype)
            both = painter.data(latent.expand(2, -1, -1, -1), level, time_step, rows, source=source)
            data = both[:1] + guidance_scale * (both[1:] - both[:1])
            latent, previous = keep * latent + fresh * data + older * previous, data
        return latent

    def _decode(self, latent: Tensor) -> NDArray[np.uint8]:
        autoencoder = self.dim.autoencoder
        return from_painter(autoencoder.decode(latent / autoencoder.config.scaling_factor).sample.float().cpu().numpy())
