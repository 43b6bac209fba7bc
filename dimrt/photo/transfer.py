"""An edit in the form in which it is carried to full size, and the carrying, strip by strip.

No copy of the photo in floating point is ever made; what a strip needs is worked out when its turn comes.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dimrt.photo.bounds import Bounds
from dimrt.photo.local import Field
from dimrt.photo.photo import Samples
from dimrt.photo.planes import Box, Floats, enlarge, extent, rounded, strips, unit
from dimrt.photo.tone import Tone

Ran = Literal["tone", "local", "painted", "none", "unchanged"]


@dataclass(frozen=True)
class Transfer:
    """How an edit is carried over to a photo of any size.

    Attributes:
        ran: "tone" for one map of colours over all of it, "local" for a change in places, "painted" for the small
            edit enlarged, "unchanged" for nothing.
        tone: the map of colours; of a local edit, what holds in its region.
        field: what is added in the region.
        region: float32 [h, w], share of the field (and of a local edit's tone), 0 to 1.
        painted: float32 [h, w, 3], 0 to 255, the picture that is enlarged.
    """

    ran: Ran
    tone: Tone | None = None
    field: Field | None = None
    region: Floats | None = None
    painted: Floats | None = None

    def box(self, size: tuple[int, int], bounds: Bounds | None = None) -> Box:
        """The part of a photo of `size` (width, height) outside of which nothing changes; empty when nothing does."""
        if self.ran == "unchanged":
            return 0, 0, 0, 0
        changed = (0, 0, *size)
        if self.ran == "local" and self.region is not None:
            changed = extent(self.region, size)
        return changed if bounds is None else overlap(changed, bounds.box)

    def apply(self, photo: Samples, bounds: Bounds | None = None) -> Samples:
        """The photo with the edit.

        Args:
            photo: uint8 or uint16 [H, W, 3].
            bounds: what may change at all; of the photo's size.

        Returns:
            An array of its own, of the photo's type.
        """
        result: Samples = photo.copy()
        size = photo.shape[1], photo.shape[0]
        for part in strips(self.box(size, bounds)):
            left, top, right, bottom = part
            before = photo[top:bottom, left:right]
            after = self._strip(before, part, size)
            if bounds is not None:
                after = _faded(before, after, bounds.part(part))
            result[top:bottom, left:right] = after
        return result

    def _strip(self, before: Samples, part: Box, size: tuple[int, int]) -> Samples:
        """The edited pixels of one part of the photo."""
        if self.painted is not None:
            return rounded(enlarge(self.painted, size, part) * unit(before), before)
        toned = before if self.tone is None else self.tone.apply(before)
        under = toned if self.ran == "tone" else before
        if self.region is None or self.field is None:
            return under
        share = enlarge(self.region[..., None], size, part)
        if not share.any():
            return under
        one = unit(before)
        change = self.field.change(before.astype(np.float32) / np.float32(one), part, size)
        change *= one
        change += toned
        change -= under
        return np.where(share > 0, rounded(under + share * change, before), under)


def overlap(one: Box, other: Box) -> Box:
    """What two boxes share; empty at the origin when they share nothing."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right, bottom = min(one[2], other[2]), min(one[3], other[3])
    return (left, top, right, bottom) if left < right and top < bottom else (0, 0, 0, 0)


def _faded(before: Samples, after: Samples, share: Floats) -> Samples:
    """From `before` where the share is 0, exactly, to `after` where it is 1, exactly."""
    change = after.astype(np.float32)
    change -= before
    change *= share[..., None]
    change += before
    return np.where(share[..., None] > 0, rounded(change, before), before)
