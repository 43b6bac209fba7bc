"""A change in some places: where it is, and how it is added to the full-size photo without blurring it.

Around every pixel the change is written as an affine function of the source's colours, plus what that leaves over.
The affine part follows the photo's own edges and texture at full size (recolouring stays sharp, a removed object
leaves no outline); only the rest, content that wasn't in the photo, is enlarged from the model's resolution.
Guided upsampling after He & Sun, "Fast Guided Filter" (2015), with the ridge drawing to "no change".
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dimrt.photo.planes import Box, Floats, block_mean, box_mean, enlarge, grow

FIELD_SIDE = 256
"""Longest side at which affine coefficients and regions are computed; they vary slowly."""
NOISE = 4.0
"""Levels (0 to 255) of autoencoder noise in the source's colours that the affine fit must not follow."""
WEAK = (8.0, 16.0)
"""Range, in levels, of the threshold of weak change."""


@dataclass(frozen=True)
class Field:
    """A change that depends on place and colour, at model resolution.

    Attributes:
        affine: float32 [h', w', 12]: for each output channel three gains and an offset, in levels.
        rest: float32 [h, w, 3]: what the affine part doesn't explain, in levels.
    """

    affine: Floats
    rest: Floats

    def change(self, colours: Floats, part: Box, size: tuple[int, int]) -> Floats:
        """The change in a part of a photo, in levels, [h, w, 3].

        Args:
            colours: float32 [h, w, 3], 0 to 255, the photo's in that part.
            part: where it lies.
            size: width and height of the photo.
        """
        change = _evaluate(enlarge(self.affine, size, part), colours)
        change += enlarge(self.rest, size, part)
        return change


def fit_field(guide: Floats, change: Floats, radius: float) -> Field:
    """Fit `change` as an affine function of `guide` around every pixel.

    Args:
        guide: float32 [h, w, 3], 0 to 255.
        change: float32 [h, w, 3], what is to be added.
        radius: of the window, as a share of the longer side.
    """
    height, width = guide.shape[:2]
    block = -(-max(height, width) // FIELD_SIDE)
    colours, target = block_mean(guide, block), block_mean(change, block)
    reach = max(2, round(radius * max(colours.shape[:2])))
    mean_colours, mean_target = box_mean(colours, reach), box_mean(target, reach)
    products = box_mean(colours[..., :, None] * colours[..., None, :], reach)
    spread = products - mean_colours[..., :, None] * mean_colours[..., None, :]
    crossed = box_mean(colours[..., :, None] * target[..., None, :], reach)
    relation = crossed - mean_colours[..., :, None] * mean_target[..., None, :]
    gains = np.linalg.solve(spread + np.float32(NOISE**2) * np.eye(3, dtype=np.float32), relation).swapaxes(-1, -2)
    offsets = mean_target - (gains @ mean_colours[..., None])[..., 0]
    affine = np.concatenate([gains, offsets[..., None]], axis=-1).reshape(*colours.shape[:2], 12)
    affine = box_mean(affine.astype(np.float32), reach)
    explained = _evaluate(enlarge(affine, (width, height), (0, 0, width, height)), guide)
    return Field(affine, (change - explained).astype(np.float32))


def magnitude(change: Floats) -> Floats:
    """Size of the change around each pixel, float32 [h, w]: largest channel of the mean over 3 x 3."""
    size: Floats = np.abs(box_mean(change, 1)).max(axis=-1)
    return size


def changed_region(change: Floats, threshold: float | None = None) -> Floats:
    """Share of the change to apply, float32 [h, w]: 1 where something changed, 0 well away, feathered between.

    A region is what changed weakly and is joined to a strong change (twice as much); specks of noise have no strong
    core. The weak threshold, in levels, is chosen by the noise of the least changed fifth unless it is given.
    """
    size = magnitude(change)
    weak = float(np.clip(3 * np.quantile(size, 0.2), *WEAK)) if threshold is None else threshold
    height, width = size.shape
    block = -(-max(height, width) // FIELD_SIDE)
    candidates = _any_in_block(size > weak, block)
    joined = _any_in_block(size > 2 * weak, block)
    while True:
        wider = grow(joined) & candidates
        if (wider == joined).all():
            break
        joined = wider
    region = joined.repeat(block, 0).repeat(block, 1)[:height, :width] & (size > weak)
    margin = max(2, round(max(height, width) / 100))
    wide = (box_mean(region.astype(np.float32), 2 * margin) > 1e-6).astype(np.float32)
    share = box_mean(wide, margin)
    share[share < 1e-4] = 0
    return np.minimum(share, 1)


def _evaluate(affine: Floats, colours: Floats) -> Floats:
    """The affine functions [H, W, 12] of the colours [H, W, 3]."""
    result = np.empty_like(colours)
    for channel in range(3):
        first = 4 * channel
        value = affine[..., first] * colours[..., 0]
        value += affine[..., first + 1] * colours[..., 1]
        value += affine[..., first + 2] * colours[..., 2]
        value += affine[..., first + 3]
        result[..., channel] = value
    return result


def _any_in_block(mask: NDArray[np.bool_], block: int) -> NDArray[np.bool_]:
    return block_mean(mask[..., None].astype(np.float32), block)[..., 0] > 0
