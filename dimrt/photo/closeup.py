"""Whether what changed in one place is worth painting again from nearer, and whether it then shows the same."""

import numpy as np
from PIL import Image

from dimrt.manifest import Resolution
from dimrt.photo.bounds import Bounds
from dimrt.photo.planes import Box, Floats, enlarge, strips
from dimrt.photo.transfer import Transfer, overlap
from dimrt.photo.window import context_window

NEARER = 1.25
"""A window is nearer when its pixels get at least so many times the painter's pixels, along a side."""
DIFFERENT = 0.5
"""A close-up shows something else when its change differs from the first one by more than this share of it."""


def closer_window(changed: Box, painted: Box, size: tuple[int, int], resolution: Resolution) -> Box | None:
    """The window for painting a change once more.

    Args:
        changed: the part of the photo that changed; empty for none.
        painted: the part that was painted.
        size: width and height of the photo.
        resolution: of the painter.

    Returns:
        A window around the change, or None when it would bring hardly more detail than the first painting had.
    """
    if changed[2] <= changed[0]:
        return None
    window = context_window(size, changed, resolution)
    return window if _area(painted) >= NEARER**2 * _area(window) else None


def bounds_of_change(transfer: Transfer, bounds: Bounds | None, changed: Box, painted: Box, window: Box) -> Bounds:
    """What a close-up may change: what the first painting changed, in the same shares.

    Args:
        transfer: of the first painting, local.
        bounds: what the user let it change, on the painted part.
        changed, painted: the parts of the photo that changed and that was painted.
        window: the part that the close-up shows; it holds `changed`.

    Returns:
        Bounds on the window.
    """
    assert transfer.region is not None
    left, top = changed[:2]
    across, down = painted[:2]
    mask = np.empty((changed[3] - top, changed[2] - left), np.uint8)
    for part in strips(changed):
        inner = part[0] - across, part[1] - down, part[2] - across, part[3] - down
        whole = painted[2] - across, painted[3] - down
        share = enlarge(transfer.region[..., None], whole, inner)[..., 0]
        if bounds is not None:
            share = share * bounds.part(inner)
        mask[part[1] - top : part[3] - top] = share * np.float32(255) + np.float32(0.5)
    return Bounds((window[2] - window[0], window[3] - window[1]), changed, mask, 0.0).within(window)


def agrees(near: Floats, window: Box, far: Floats, painted: Box) -> bool:
    """Whether a close-up, seen from afar, changes the photo as the first painting did.

    Args:
        near: float32 [h, w, 3], the change in the close-up, in levels.
        window: the part of the photo that it shows.
        far: float32 [h', w', 3], the first painting's change.
        painted: the part of the photo that this one shows.
    """
    shared = overlap(window, painted)
    height, width = far.shape[:2]
    scale = width / (painted[2] - painted[0]), height / (painted[3] - painted[1])
    size = max(round((shared[2] - shared[0]) * scale[0]), 1), max(round((shared[3] - shared[1]) * scale[1]), 1)
    first, again = _seen(far, painted, shared, size), _seen(near, window, shared, size)
    return float(((again - first) ** 2).sum()) <= DIFFERENT**2 * float((first**2).sum())


def _seen(planes: Floats, shown: Box, part: Box, size: tuple[int, int]) -> Floats:
    """The planes, which show one box of the photo, in another box inside it, at a (width, height)."""
    height, width = planes.shape[:2]
    across, down = width / (shown[2] - shown[0]), height / (shown[3] - shown[1])
    box = (
        (part[0] - shown[0]) * across,
        (part[1] - shown[1]) * down,
        (part[2] - shown[0]) * across,
        (part[3] - shown[1]) * down,
    )
    channels = [
        np.asarray(Image.fromarray(planes[..., index]).resize(size, Image.Resampling.BILINEAR, box=box))
        for index in range(planes.shape[2])
    ]
    return np.stack(channels, axis=-1)


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
