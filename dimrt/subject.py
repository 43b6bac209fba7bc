"""One photo and what was made of it for the model, so that its next edit needs none of it again."""

import numpy as np
from numpy.typing import NDArray

from dimrt.manifest import Vision
from dimrt.photo.fit import Frame
from dimrt.photo.planes import Box
from dimrt.photo.read import Photo
from dimrt.preview import Previewer
from dimrt.vision import VisionInput, prepare

PARTS = 4
"""Parts of a photo that are kept at most, the last used ones."""


class Subject:
    """A photo that is edited, perhaps again and again, on one editor.

    Everything is kept on the host: a device may be cleared between two edits.

    Attributes:
        photo: as it was read.
        latents: float32 [1, C, h, w], by the frame in which the painter sees the photo and the side of the
            autoencoder's tiles (None: no tiles).
        decoded: float32 [H, W, 3], 0 to 255: those latents as pixels again.
        previewers: what shows latents on their way as small pictures, fitted to those of the photo.
    """

    def __init__(self, photo: Photo) -> None:
        self.photo = photo
        self.latents: dict[tuple[Frame, int | None], NDArray[np.float32]] = {}
        self.decoded: dict[tuple[Frame, int | None], NDArray[np.float32]] = {}
        self.previewers: dict[Frame, Previewer] = {}
        self._views: dict[tuple[int, int], VisionInput] = {}
        self._parts: dict[Box, Subject] = {}

    def view(self, size: tuple[int, int], vision: Vision) -> VisionInput:
        """The photo as the designer's graph takes it, at a (width, height) from `dimrt.vision`."""
        if size not in self._views:
            self._views[size] = prepare(self.photo.pixels, vision, size, self.photo.alpha, self.photo.icc)
        return self._views[size]

    def part(self, box: Box) -> "Subject":
        """The part of the photo in a box (left, top, right, bottom), as a subject of its own."""
        part = self._parts.pop(box, None) or Subject(self.photo.cut(box))
        self._parts[box] = part
        while len(self._parts) > PARTS:
            del self._parts[next(iter(self._parts))]
        return part
