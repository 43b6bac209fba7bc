"""Designer parity: picture route, window order, positions, hidden states, logits, greedy decoding with a cache."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration, RepetitionPenaltyLogitsProcessor

from dimrt.export.parity.items import DESIGNER_PIXELS, HIDDEN, LOGITS, Arrays, Item, compare, count
from dimrt.export.parity.reference import Reference, token_facts
from dimrt.manifest import Vision
from dimrt.prompt import select_user_spans
from dimrt.rope import position_ids
from dimrt.vision import VisionInput, fit_size, prepare, window_order


def designer_items(reference: Reference) -> Iterator[Item]:
    """Every case of the designer fixture, with or without a picture."""
    arrays = reference.arrays("designer_tiny")
    designer = reference.any.designer
    for case in arrays.cases(".input_ids"):
        if f"{case}.image_uint8" in arrays:
            yield from _picture_items(reference, arrays, case)
        yield from _text_items(reference, arrays, case)
        yield from _encoding_items(designer, arrays, case)
        yield from _decoding_items(designer, arrays, case)


def window_index(grid: tuple[int, int], vision: Vision) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The runtime's padded window order in the original's form: merged tokens window by window, and the windows'
    borders in patches.
    """
    source, _ = window_order(grid, vision)
    group = vision.merge_size**2
    slots = (vision.window_size // vision.patch_size) ** 2
    borders = np.concatenate([[0], np.cumsum((source >= 0).reshape(-1, slots).sum(axis=1))])
    return source[source >= 0][::group] // group, borders


def patch_values(prepared: VisionInput, vision: Vision) -> NDArray[np.float32]:
    """The runtime's windowed, padded patches in the original's order [patches, values]."""
    source, _ = window_order(prepared.grid, vision)
    values = np.empty((prepared.grid[0] * prepared.grid[1], prepared.patches.shape[1]), np.float32)
    values[source[source >= 0]] = prepared.patches[source >= 0]
    return values


def _picture_items(reference: Reference, arrays: Arrays, case: str) -> Iterator[Item]:
    pixels, values = arrays[f"{case}.image_uint8"], arrays[f"{case}.pixel_values"]
    vision = reference.vision(pixels.shape[0])
    _, rows, columns = (int(size) for size in arrays[f"{case}.image_grid_thw"][0])
    prepared = prepare(pixels, vision, fit_size(pixels.shape[1], pixels.shape[0], vision))
    yield count(f"designer {case} grid", prepared.grid, (rows, columns))
    if prepared.grid != (rows, columns):
        return
    yield compare(f"designer {case} pixel values", patch_values(prepared, vision), values, DESIGNER_PIXELS)
    index, borders = window_index(prepared.grid, vision)
    yield count(f"designer {case} window index", index, arrays[f"{case}.window_index"])
    yield count(f"designer {case} window borders", borders, arrays[f"{case}.cu_window_seqlens"])
    with torch.no_grad():
        seen = reference.any.designer.model.visual(
            torch.from_numpy(values), grid_thw=torch.from_numpy(arrays[f"{case}.image_grid_thw"])
        )
    yield compare(f"designer {case} image embeddings", seen.pooler_output, arrays[f"{case}.image_embeds"], HIDDEN)


def _text_items(reference: Reference, arrays: Arrays, case: str) -> Iterator[Item]:
    """Rotary positions and the user's tokens, by the runtime's own code."""
    ids = arrays.json("ids")
    tokens = token_facts(ids)
    sequence = arrays[f"{case}.input_ids"][0]
    grids = []
    if f"{case}.image_grid_thw" in arrays:
        merge = reference.any.parts.designer.vision_config.spatial_merge_size
        grids = [(int(rows) // merge, int(columns) // merge) for _, rows, columns in arrays[f"{case}.image_grid_thw"]]
    positions, delta = position_ids(sequence, tokens, grids)
    yield count(f"designer {case} positions", positions[:, None], arrays[f"{case}.position_ids"])
    yield count(f"designer {case} rotary delta", [[delta]], arrays[f"{case}.rope_deltas"])
    selected = np.zeros(len(sequence), bool)
    selected[select_user_spans(sequence, tokens, ids["user"], ids["newline"])] = True
    yield count(f"designer {case} user mask", selected, arrays[f"{case}.user_mask"])


def picture_inputs(arrays: Arrays, case: str) -> dict[str, Tensor]:
    """Arguments of the designer for one case: ids, mask, positions, and the picture when there is one."""
    keys = ("input_ids", "attention_mask", "position_ids", "pixel_values", "image_grid_thw")
    return {key: torch.from_numpy(arrays[f"{case}.{key}"]) for key in keys if f"{case}.{key}" in arrays}


def _encoding_items(designer: Qwen2_5_VLForConditionalGeneration, arrays: Arrays, case: str) -> Iterator[Item]:
    kept: dict[str, Tensor] = {}
    norm = designer.model.language_model.norm
    hook = norm.register_forward_pre_hook(lambda _module, args: kept.__setitem__("pre_norm", args[0]))
    with torch.no_grad():
        out = designer(**picture_inputs(arrays, case), output_hidden_states=True)
    hook.remove()
    states = torch.cat(out.hidden_states)
    yield compare(f"designer {case} hidden states", states, arrays[f"{case}.hidden_states"], HIDDEN)
    last = arrays[f"{case}.last_hidden_state"]
    yield compare(f"designer {case} last hidden state", out.hidden_states[-1], last, HIDDEN)
    yield compare(f"designer {case} before the norm", kept["pre_norm"], arrays[f"{case}.pre_norm_last"], HIDDEN)
    yield compare(f"designer {case} logits", out.logits, arrays[f"{case}.logits"], LOGITS)


def _decoding_items(designer: Qwen2_5_VLForConditionalGeneration, arrays: Arrays, case: str) -> Iterator[Item]:
    want = arrays[f"{case}.greedy_tokens"]
    tokens, logits = greedy(designer, arrays, case, len(want), 1.0)
    yield count(f"designer {case} greedy tokens", tokens, want)
    yield compare(f"designer {case} greedy logits", logits, arrays[f"{case}.greedy_logits"], LOGITS)
    for penalty in arrays.below(f"{case}.greedy_tokens_rp"):
        want = arrays[f"{case}.greedy_tokens_rp{penalty}"]
        tokens, _ = greedy(designer, arrays, case, len(want), float(penalty))
        yield count(f"designer {case} greedy tokens, repetition penalty {penalty}", tokens, want)


def greedy(
    designer: Qwen2_5_VLForConditionalGeneration, arrays: Arrays, case: str, length: int, penalty: float
) -> tuple[list[int], NDArray[Any]]:
    """`length` tokens decoded with a key/value cache, and the logits before the penalty [length, vocab]."""
    inputs = picture_inputs(arrays, case)
    position = inputs["input_ids"].shape[1] + int(arrays[f"{case}.rope_deltas"][0, 0])
    seen = inputs["input_ids"]
    rule = RepetitionPenaltyLogitsProcessor(penalty)
    tokens, rows = [], []
    with torch.no_grad():
        out = designer(**inputs, use_cache=True)
        for index in range(length):
            logits = out.logits[:, -1]
            token = rule(seen, logits.clone()).argmax(-1, keepdim=True)
            seen = torch.cat([seen, token], dim=1)
            tokens.append(int(token))
            rows.append(logits[0])
            positions = torch.full((3, 1, 1), position + index)
            out = designer(token, past_key_values=out.past_key_values, position_ids=positions, use_cache=True)
    return tokens, torch.stack(rows).numpy()
