"""How much of an edit each pixel takes where a mask or a rectangle bounds it.

The edge fades inwards: outside of what the user marked nothing changes, at the edge the edit begins, `feather` pixels
inside it is full. Where the mark ends at the photo's own border there is no edge to soften.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dimrt.photo.planes import Box, Floats, enlarge

AUTOMATIC = 1 / 50
"""Feather where none is asked for, as a share of the longer side of what is marked…"""
THICKNESS = 1 / 3
"""… and at most this share of the largest depth inside it. One that is asked for may take all of that depth."""
STEPS = 16
"""Depths of a mask are counted in blocks of this share of the feather."""
COARSE = 128
"""Longest side at which a mask's largest depth is measured."""


@dataclass(frozen=True)
class Bounds:
    """What may change of a picture, and how much of it.

    Attributes:
        size: width and height of the picture.
        box: outside of it nothing changes.
        mask: uint8 [h, w] on the box, the share in 255ths; None where all of the box is marked.
        feather: pixels over which the edge fades in; 0 for a hard edge.
        depths: float32 [h', w', 1], depth inside the mask in pixels, on blocks of `block` pixels of the box.
        block: see `depths`.
        edges: whether the box's left, top, right and bottom are edges that fade (and not the photo's border).
    """

    size: tuple[int, int]
    box: Box
    mask: NDArray[np.uint8] | None
    feather: float
    depths: Floats | None = None
    block: int = 1
    edges: tuple[bool, bool, bool, bool] = (True, True, True, True)

    def part(self, part: Box) -> Floats:
        """Shares of the edit, float32 [h, w] from 0 to 1, in a part of `box`."""
        left, top, right, bottom = part
        inner = left - self.box[0], top - self.box[1], right - self.box[0], bottom - self.box[1]
        if self.mask is None:
            return self._fade(_depth_in_box(inner, self._length, self.edges))
        share: Floats = self.mask[inner[1] : inner[3], inner[0] : inner[2]] / np.float32(255)
        if self.depths is not None:
            rows, columns = self.depths.shape[:2]
            depth = enlarge(self.depths, (columns * self.block, rows * self.block), inner)[..., 0]
            share *= self._fade(depth)
        return share

    def inside(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """What is marked on the picture made as small as (width, height): [h, w], true where over half is."""
        whole = Image.new("L", self.size)
        marked = Image.new("L", self._length, 255) if self.mask is None else Image.fromarray(self.mask)
        whole.paste(marked, self.box[:2])
        found = np.asarray(whole.resize(size, Image.Resampling.BOX))
        if (found > 127).any():
            return np.asarray(found > 127)
        # A mark thinner than a small pixel is still one.
        inside = np.zeros(found.shape, np.bool_)
        across, down = size[0] / self.size[0], size[1] / self.size[1]
        left, top, right, bottom = self.box
        inside[int(top * down) : int(bottom * down) + 1, int(left * across) : int(right * across) + 1] = True
        return inside

    def within(self, window: Box) -> "Bounds":
        """The same on the part of the picture in a window that holds `box`."""
        left, top, right, bottom = window
        box = self.box[0] - left, self.box[1] - top, self.box[2] - left, self.box[3] - top
        return replace(self, size=(right - left, bottom - top), box=box)

    @property
    def _length(self) -> tuple[int, int]:
        return self.box[2] - self.box[0], self.box[3] - self.box[1]

    def _fade(self, depth: Floats) -> Floats:
        if self.feather <= 0:
            return np.ones_like(depth)
        step = np.clip(depth / np.float32(self.feather), 0, 1)
        fade: Floats = step * step * (3 - 2 * step)
        return fade


def region_bounds(size: tuple[int, int], box: Box, feather: float | None = None) -> Bounds:
    """Bounds by a rectangle.

    Args:
        size: width and height of the picture.
        box: the rectangle, inside the picture.
        feather: in pixels; None chooses.
    """
    edges = box[0] > 0, box[1] > 0, box[2] < size[0], box[3] < size[1]
    lengths = box[2] - box[0], box[3] - box[1]
    depths = [
        length / (1 + (edges[axis] and edges[axis + 2])) if edges[axis] or edges[axis + 2] else np.inf
        for axis, length in enumerate(lengths)
    ]
    return Bounds(size, box, None, _width(feather, lengths, min(depths)), edges=edges)


def mask_bounds(mask: NDArray[np.uint8], feather: float | None = None) -> Bounds:
    """Bounds by a mask.

    Args:
        mask: uint8 [H, W] of the picture's size, with at least one value above 0.
        feather: in pixels; None chooses.
    """
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    edges = box[0] > 0, box[1] > 0, box[2] < width, box[3] < height
    cut = np.ascontiguousarray(mask[box[1] : box[3], box[0] : box[2]])
    lengths = box[2] - box[0], box[3] - box[1]
    reach = _largest_depth(cut, edges)
    chosen = _width(feather, lengths, reach)
    bounds = Bounds((width, height), box, cut, chosen, edges=edges)
    if chosen == 0 or reach == np.inf:
        return replace(bounds, feather=0.0)
    block = max(1, round(chosen / STEPS))
    return replace(bounds, depths=_depths(cut, edges, block, chosen)[..., None], block=block)


def _width(asked: float | None, lengths: tuple[int, int], reach: float) -> float:
    """The feather's width, given the largest depth there is; below a pixel the edge is hard."""
    width = min(AUTOMATIC * max(lengths), THICKNESS * reach) if asked is None else min(asked, reach)
    return float(width) if width >= 1 else 0.0


def _depth_in_box(part: Box, lengths: tuple[int, int], edges: tuple[bool, bool, bool, bool]) -> Floats:
    """Distance in pixels of each pixel's centre in `part` to the nearest edge of a box that begins at 0, 0."""
    depths = []
    for axis in (0, 1):
        centre = np.arange(part[axis], part[axis + 2], dtype=np.float32) + np.float32(0.5)
        depth = np.full_like(centre, np.inf)
        if edges[axis]:
            depth = np.minimum(depth, centre)
        if edges[axis + 2]:
            depth = np.minimum(depth, lengths[axis] - centre)
        depths.append(depth)
    nearest: Floats = np.minimum.outer(depths[1], depths[0])
    return nearest


def _largest_depth(mask: NDArray[np.uint8], edges: tuple[bool, bool, bool, bool]) -> float:
    """Depth of the deepest place of the mask, in pixels, as far as a coarse picture tells; infinite without edges."""
    if mask.all() and not any(edges):
        return np.inf
    block = -(-max(mask.shape) // COARSE)
    return float(_depths(mask, edges, block, np.inf).max() + block / 2)


def _depths(mask: NDArray[np.uint8], edges: tuple[bool, bool, bool, bool], block: int, enough: float) -> Floats:
    """Depth of each block inside the mask, in pixels, counted up to `enough`: octagons, by four and eight neighbours.

    A block that isn't marked all over has depth 0.
    """
    left = _filled(mask, edges, block)
    count = np.zeros(left.shape, np.float32)
    turn = 0
    while left.any() and (turn - 0.5) * block < enough:
        count += left
        left = _shrunk(left, edges, corners=turn % 2 == 1)
        turn += 1
    depth: Floats = np.maximum(count - np.float32(0.5), 0) * np.float32(block)
    return depth


def _filled(mask: NDArray[np.uint8], edges: tuple[bool, bool, bool, bool], block: int) -> NDArray[np.bool_]:
    """Whether every pixel of each block is marked, [ceil(h / block), ceil(w / block)]; beyond an edge none is."""
    if block == 1:
        return mask > 0
    height, width = mask.shape
    padded = np.pad(mask, ((0, -height % block), (0, -width % block)), mode="edge")
    padded[height:] *= not edges[3]
    padded[:, width:] *= not edges[2]
    rows, columns = padded.shape[0] // block, padded.shape[1] // block
    least = padded.reshape(rows, block, columns * block).min(axis=1).reshape(rows, columns, block).min(axis=2)
    filled: NDArray[np.bool_] = least > 0
    return filled


def _shrunk(mask: NDArray[np.bool_], edges: tuple[bool, bool, bool, bool], corners: bool) -> NDArray[np.bool_]:
    """The mask without its outermost blocks; beyond a side that is no edge it goes on."""
    left, top, right, bottom = (not edge for edge in edges)
    padded = np.pad(mask, 1, mode="edge")
    padded[:, 0] &= left
    padded[0] &= top
    padded[:, -1] &= right
    padded[-1] &= bottom
    across = padded[:, :-2] & padded[:, 1:-1] & padded[:, 2:]
    if corners:
        return across[:-2] & across[1:-1] & across[2:]
    return across[1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1]
