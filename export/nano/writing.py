"""Batched plan writing with the torch designer, for training on its own plans and for judging it while it learns."""

from collections import defaultdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, Qwen2_5_VLForConditionalGeneration

from dimrt.export.nano.designer import embed_pictures, view_pictures
from dimrt.export.nano.shapes import SIDE
from dimrt.manifest import Designer
from dimrt.prompt import Prompts
from dimrt.rope import position_ids


@torch.no_grad()
def write_plans(
    model: Qwen2_5_VLForConditionalGeneration,
    pictures: list[NDArray[np.uint8]],
    instructions: list[str],
    prompts: Prompts,
    facts: Designer,
) -> list[str]:
    """The plan (greedy) for each picture (uint8 [h,w,3]) and instruction. Prompts of equal length run as one batch."""
    side = SIDE // facts.vision.patch_size // facts.vision.merge_size
    turns = [prompts.plan_turn(instruction, side * side).ids for instruction in instructions]
    groups: dict[int, list[int]] = defaultdict(list)
    for index, ids in enumerate(turns):
        groups[len(ids)].append(index)
    plans = [""] * len(turns)
    for members in groups.values():
        images = embed_pictures(model, view_pictures([pictures[index] for index in members], facts.vision))
        written = _write(model, np.stack([turns[index] for index in members]), images, facts, side)
        for index, ids in zip(members, written, strict=True):
            plans[index] = prompts.decode(ids)
    return plans


def _write(
    model: Qwen2_5_VLForConditionalGeneration, ids: NDArray[np.int64], images: Tensor, facts: Designer, side: int
) -> list[NDArray[np.int64]]:
    """Greedy continuation of equally long rows [B, L], each cut at its stop token."""
    language = model.model.language_model
    positions, delta = position_ids(ids[0], facts.tokens, [(side, side)])
    start = int(np.flatnonzero(ids[0] == facts.tokens.image_pad)[0])
    rows = torch.from_numpy(ids)
    embedded = language.embed_tokens(rows)
    embedded[:, start : start + images.shape[1]] = images
    cache = DynamicCache(config=model.config.text_config)
    place = torch.from_numpy(positions)[:, None].expand(3, len(ids), -1)
    written: list[Tensor] = []
    running = torch.ones(len(ids), dtype=torch.bool)
    stop = torch.tensor(facts.tokens.stop)
    for step in range(facts.decoding.max_new_tokens):
        hidden = language(inputs_embeds=embedded, position_ids=place, past_key_values=cache, use_cache=True)
        token = model.lm_head(hidden.last_hidden_state[:, -1]).argmax(-1)
        running &= ~torch.isin(token, stop)
        written.append(torch.where(running, token, -1))
        if not running.any():
            break
        embedded = language.embed_tokens(token[:, None])
        place = torch.full((3, len(ids), 1), ids.shape[1] + step + delta)
    table = torch.stack(written, dim=1).numpy()
    return [row[row >= 0] for row in table]
