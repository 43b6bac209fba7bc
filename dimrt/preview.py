"""Small pictures of a latent on its way, without the autoencoder.

A cell of the latent shows one block of the photo, nearly linearly. The photo being edited is known in both forms, so
the map from one to the other is fitted on it: a few hundred cells or more, one small least-squares problem an edit.
Colours that the photo hasn't got come out roughly; the finished picture comes from the autoencoder.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dimrt.painter import Show
from dimrt.photo.colour import as_image, to_srgb
from dimrt.photo.fit import from_painter
from dimrt.photo.photo import Photo, Pixels
from dimrt.photo.planes import Box

PATCH = 8
"""Pixels of the preview along a side of one cell, at most; an autoencoder of a lower factor has fewer."""
RIDGE = 1e-3
"""Added to the variance of each latent channel (they are near 1), as a share of it."""
WHOLE = 256
"""Longest side of a preview that shows a part in its place."""


class Previewer:
    """The fitted map of one photo: [C + 1, 3 x patch x patch]."""

    def __init__(self, latent: NDArray[np.float32], pixels: NDArray[np.float32]) -> None:
        """Fit it.

        Args:
            latent: the photo's latent, float32 [1, C, h, w].
            pixels: the painter's picture of the photo, float32 [1, 3, H, W] in [-1, 1].
        """
        height = latent.shape[2]
        self._patch = min(PATCH, pixels.shape[2] // height)
        cells, patches = _cells(latent), self._patches(pixels, latent.shape[2:])
        normal = cells.T @ cells
        spread = cells[:, :-1].var(axis=0)
        normal[np.diag_indices(len(spread))] += RIDGE * len(cells) * spread
        self._map = np.linalg.solve(normal + 1e-6 * np.eye(len(normal)), cells.T @ patches).astype(np.float32)

    def show(self, latent: NDArray[np.float32]) -> Pixels:
        """The picture of a latent [1, C, h, w], uint8 [h x patch, w x patch, 3]."""
        height, width = latent.shape[2:]
        patch = self._patch
        blocks = (_cells(latent) @ self._map).reshape(height, width, 3, patch, patch)
        picture = blocks.transpose(2, 0, 3, 1, 4).reshape(1, 3, height * patch, width * patch)
        return from_painter(picture)

    def _patches(self, pixels: NDArray[np.float32], grid: tuple[int, ...]) -> NDArray[np.float64]:
        """The pixels under each cell, shrunk to the preview's: [h x w, 3 x patch x patch]."""
        (height, width), patch = grid, self._patch
        rows, columns = pixels.shape[2] // (height * patch), pixels.shape[3] // (width * patch)
        blocks = pixels[0].reshape(3, height, patch, rows, width, patch, columns).mean(axis=(3, 6), dtype=np.float64)
        return np.ascontiguousarray(blocks.transpose(1, 3, 0, 2, 4)).reshape(height * width, 3 * patch * patch)


def in_place(show: Show, photo: Photo, window: Box) -> Show:
    """Previews of a part of a photo, each shown in its place in the photo made small.

    Args:
        show: makes the part's previews.
        photo: the whole photo.
        window: where the part lies: left, top, right, bottom in the photo's pixels.
    """
    scale = WHOLE / max(photo.size)
    size = max(round(photo.size[0] * scale), 1), max(round(photo.size[1] * scale), 1)
    small = Image.fromarray(to_srgb(np.asarray(as_image(photo.pixels).resize(size)), photo.icc))
    left, top, right, bottom = (round(value * scale) for value in window)
    place = left, top, max(right, left + 1), max(bottom, top + 1)

    def shown(latent: NDArray[np.float32]) -> Pixels:
        whole = small.copy()
        whole.paste(Image.fromarray(show(latent)).resize((place[2] - place[0], place[3] - place[1])), place)
        return np.asarray(whole)

    return shown


def _cells(latent: NDArray[np.float32]) -> NDArray[np.float64]:
    """[1, C, h, w] to [h x w, C + 1], the last column of ones."""
    channels = latent.shape[1]
    flat = latent[0].reshape(channels, -1).T.astype(np.float64)
    return np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
