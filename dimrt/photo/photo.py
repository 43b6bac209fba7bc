"""What a photo is here: upright RGB, alpha and metadata apart, and what its file had been instead of RGB."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dimrt.photo.planes import Box

Pixels = NDArray[np.uint8]
Samples = NDArray[Any]
"""uint8 or uint16."""


@dataclass(frozen=True)
class Native:
    """How the file stored a photo that wasn't plain RGB; writing goes back to it where the result allows.

    Attributes:
        mode: black and white, gray, palette, or CMYK as stored; "RGB" when only `bits` is told.
        samples: gray [H, W] or CMYK [H, W, 4] as stored, upright, where `pixels` came from them by a profile or a
            formula; else None.
        icc: profile of `samples`, or None.
        palette: uint8 [n, 4], RGBA, of mode "P".
        bits: of a channel in the file, where more than 8.
    """

    mode: Literal["1", "L", "P", "CMYK", "RGB"]
    samples: Samples | None = None
    icc: bytes | None = None
    palette: Pixels | None = None
    bits: int = 8


@dataclass(frozen=True)
class Photo:
    """One photo, upright.

    Attributes:
        pixels: uint8 or uint16 [H, W, 3], RGB in the photo's own colour space.
        alpha: the same type [H, W], or None.
        icc: ICC profile of `pixels` as it was in the file, or None (sRGB is assumed).
        exif: EXIF block with the orientation reset to upright and the old thumbnail left out, or None.
        path: the file it came from, or None.
        notes: what the reader had to decide, for the user ("several pages: the first is used").
        xmp: XMP packet, altered where it would contradict the upright pixels, or None.
        native: what the file held in place of RGB, or None.
    """

    pixels: Samples
    alpha: Samples | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    path: Path | None = None
    notes: tuple[str, ...] = ()
    xmp: bytes | None = None
    native: Native | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width = self.pixels.shape[:2]
        return width, height

    @property
    def depth(self) -> Literal[8, 16]:
        """Bits of a channel of `pixels`."""
        return 16 if self.pixels.dtype == np.uint16 else 8

    def cut(self, box: Box) -> "Photo":
        """The part of a box (left, top, right, bottom): a view of the same memory, with the profile alone."""
        left, top, right, bottom = box
        alpha = None if self.alpha is None else self.alpha[top:bottom, left:right]
        return Photo(self.pixels[top:bottom, left:right], alpha, self.icc)
