"""Chain parity: picture and token ids in, picture out."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimrt.export.model.dim import DIM
from dimrt.export.parity.autoencoder import decode, encode
from dimrt.export.parity.designer import patch_values
from dimrt.export.parity.items import (
    CHAIN_CONDITION,
    CHAIN_LATENT,
    CHAIN_LEVELS,
    CHAIN_PICTURE,
    DESIGNER_PIXELS,
    PAINTER_PIXELS,
    STATISTICS,
    Arrays,
    Item,
    compare,
    count,
)
from dimrt.export.parity.reference import Reference, token_facts
from dimrt.export.parity.sampler import sample
from dimrt.photo.fit import from_painter, original_crop
from dimrt.photo.read import read_photo
from dimrt.prompt import select_user_spans
from dimrt.rope import position_ids
from dimrt.schedule import flow_schedule
from dimrt.vision import condition_size, prepare


def chain_items(reference: Reference) -> Iterator[Item]:
    """Every case of the chain fixture."""
    arrays = reference.arrays("pipeline_tiny")
    meta = arrays.json("meta")
    for case, facts in meta["cases"].items():
        model = reference.models[facts["painter"]]
        pixels = arrays[facts["source"].split()[0]]
        side = meta["gen_resolution"]
        name = f"chain {case}"
        raw = original_crop(read_photo(pixels), side)
        yield compare(f"{name} painter input", raw[0], arrays[f"{case}.raw_image"], PAINTER_PIXELS)
        values, grid = None, None
        if f"{case}.image_grid_thw" in arrays:
            vision = reference.vision(side)
            prepared = prepare(pixels, vision, condition_size(vision))
            values, grid = patch_values(prepared, vision), np.array([[1, *prepared.grid]], np.int64)
            yield from _view_items(arrays, case, values, grid)
        hidden, selected = _hidden(reference, arrays[f"{case}.input_ids"], values, grid)
        yield count(f"{name} user mask", selected, arrays[f"{case}.user_mask"])
        yield from _paint_items(model, arrays, case, meta, hidden[selected], raw)


def _view_items(arrays: Arrays, case: str, values: NDArray[np.float32], grid: NDArray[np.int64]) -> Iterator[Item]:
    name = f"chain {case} pixel values"
    wide = values.astype(np.float64)
    yield count(f"chain {case} grid", grid, arrays[f"{case}.image_grid_thw"])
    moments = np.array([wide.mean(), wide.std(ddof=1)])
    yield compare(f"{name} mean and deviation", moments, arrays[f"{case}.pixel_values_mean_std"], STATISTICS)
    yield compare(f"{name} first rows", values[:2], arrays[f"{case}.pixel_values_first2rows"], DESIGNER_PIXELS)
    yield compare(f"{name} last row", values[-1:], arrays[f"{case}.pixel_values_last_row"], DESIGNER_PIXELS)


def _hidden(
    reference: Reference, ids: NDArray[np.int64], values: NDArray[np.float32] | None, grid: NDArray[np.int64] | None
) -> tuple[Tensor, NDArray[np.bool_]]:
    """Hidden states [L, hidden] of the sequence `ids` [1, L], and which of its tokens are the user's."""
    names = reference.arrays("designer_tiny").json("ids")
    tokens = token_facts(names)
    inputs = {"input_ids": torch.from_numpy(ids)}
    grids = []
    if values is not None and grid is not None:
        merge = reference.any.parts.designer.vision_config.spatial_merge_size
        grids = [(int(grid[0, 1]) // merge, int(grid[0, 2]) // merge)]
        inputs |= {"pixel_values": torch.from_numpy(values), "image_grid_thw": torch.from_numpy(grid)}
    positions, _ = position_ids(ids[0], tokens, grids)
    with torch.no_grad():
        out = reference.any.designer(
            **inputs, position_ids=torch.from_numpy(positions)[:, None], output_hidden_states=True
        )
    selected = np.zeros(ids.shape[1], bool)
    selected[select_user_spans(ids[0], tokens, names["user"], names["newline"])] = True
    return out.hidden_states[-1][0], selected


def _paint_items(
    model: DIM, arrays: Arrays, case: str, meta: dict[str, Any], hidden: Tensor, raw: NDArray[np.float32]
) -> Iterator[Item]:
    """From the selected hidden states [N, hidden] to the 8-bit picture."""
    name, longest = f"chain {case}", int(meta["max_condition_length"])
    with torch.no_grad():
        condition = model.connector(hidden)[-longest:].numpy()
        latent = encode(model.autoencoder, torch.from_numpy(raw)).numpy()
    padded = np.zeros((1, 1, longest, condition.shape[1]), np.float32)
    padded[0, 0, : len(condition)] = condition
    mask = (np.arange(longest) < len(condition)).astype(np.int64)[None]
    yield compare(f"{name} condition", padded, arrays[f"{case}.caption_embs"], CHAIN_CONDITION)
    yield count(f"{name} condition mask", mask, arrays[f"{case}.emb_masks"])
    editing = model.config.painter.task == "edit"
    source = latent if editing else np.zeros_like(latent)
    yield compare(f"{name} source latent", source, arrays[f"{case}.latents_condition"], CHAIN_LATENT)
    seed = int(re.search(r"seed (\d+)", meta["noise"])[1])
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(seed)).numpy()
    schedule = flow_schedule(int(meta["steps"]), float(meta["flow_shift"]))
    scale = float(meta["cfg_scale"])
    final = sample(model.painter, noise, condition, None, source if editing else None, schedule, scale)
    yield compare(f"{name} final latent", final, arrays[f"{case}.final_latent"], CHAIN_LATENT)
    with torch.no_grad():
        picture = decode(model.autoencoder, torch.from_numpy(final)).numpy()
    yield compare(f"{name} picture", picture, arrays[f"{case}.image"], CHAIN_PICTURE)
    levels = from_painter(picture).astype(np.int64)
    off = np.abs(levels - arrays[f"{case}.image_uint8"])
    yield Item(f"{name} 8-bit picture, largest difference", float(off.max()), 1.0)
    yield Item(f"{name} 8-bit picture, fraction off", float((off > 0).mean()), CHAIN_LEVELS)
