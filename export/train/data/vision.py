"""The designer's vision tower over a batch of pictures of one size.

The arithmetic of the library's tower. That one takes pictures of any sizes and loops over pictures and windows; here
all pictures have the same windows, so that attention within windows and over the whole picture is one product each.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

from dimrt.vision import VisionInput


class Windows:
    """Where the patches of a picture stand among its windows, which are all padded to the same length.

    The tower works on the patches alone, in window order; `spread` and `gather` go to padded windows and back.
    """

    def __init__(self, picture: VisionInput, group: int, device: torch.device) -> None:
        count, slots = picture.window_mask.shape[0], picture.window_mask.shape[3]
        valid = picture.window_mask.reshape(-1) == 0
        self.count, self.slots, self.full = count, slots, bool(valid.all())
        self.places = torch.from_numpy(np.flatnonzero(valid)).to(device)
        self.mask = torch.from_numpy(picture.window_mask == 0).to(device)
        tables = (torch.from_numpy(table[valid]).to(device) for table in (picture.cos, picture.sin))
        self.cos, self.sin = (torch.cat([table, table], dim=-1) for table in tables)
        ranks = np.cumsum(valid.reshape(-1, group)[:, 0]) - 1
        self.order = torch.from_numpy(ranks[picture.order]).to(device)

    def spread(self, rows: Tensor) -> Tensor:
        """[B, patches, heads, d] -> [B * windows, heads, slots, d], zeros where a window is padded."""
        if not self.full:
            padded = rows.new_zeros(rows.shape[0], self.count * self.slots, *rows.shape[2:])
            rows = padded.index_copy(1, self.places, rows)
        return rows.unflatten(1, (self.count, self.slots)).flatten(0, 1).transpose(1, 2)

    def gather(self, rows: Tensor, batch: int) -> Tensor:
        """The inverse of `spread`."""
        rows = rows.transpose(1, 2).unflatten(0, (batch, self.count)).flatten(1, 2)
        return rows if self.full else rows.index_select(1, self.places)


def embed(model: Qwen2_5_VLForConditionalGeneration, pictures: Sequence[VisionInput]) -> Tensor:
    """Image embeddings [B, M, hidden], raster order, of prepared pictures of one size, in the model's dtype."""
    tower = model.model.visual
    weight = tower.patch_embed.proj.weight
    windows = Windows(pictures[0], tower.spatial_merge_unit, weight.device)
    patches = torch.from_numpy(np.stack([picture.patches for picture in pictures]))
    patches = patches.to(weight.device, weight.dtype).index_select(1, windows.places)
    hidden = functional.linear(patches, weight.flatten(1))
    for index, block in enumerate(tower.blocks):
        within = index not in tower.fullatt_block_indexes
        hidden = hidden + _attend(block.attn, block.norm1(hidden), windows, within)
        hidden = hidden + block.mlp(block.norm2(hidden))
    merged = tower.merger(hidden).view(len(pictures), len(windows.order), -1)
    return merged.index_select(1, windows.order)


def _attend(attention: nn.Module, rows: Tensor, windows: Windows, within: bool) -> Tensor:
    """One attention layer over rows [B, patches, width]."""
    batch, patches, width = rows.shape
    query, key, value = attention.qkv(rows).view(batch, patches, 3, attention.num_heads, -1).unbind(2)
    query, key = apply_rotary_pos_emb_vision(query, key, windows.cos, windows.sin)
    if within:
        query, key, value = (windows.spread(part) for part in (query, key, value))
        mask = None if windows.full else windows.mask.repeat(batch, 1, 1, 1)
        seen = functional.scaled_dot_product_attention(query, key, value, mask, scale=attention.scaling)
        mixed = windows.gather(seen, batch)
    else:
        parts = (part.transpose(1, 2) for part in (query, key, value))
        mixed = functional.scaled_dot_product_attention(*parts, scale=attention.scaling).transpose(1, 2)
    return attention.proj(mixed.reshape(batch, patches, width))
