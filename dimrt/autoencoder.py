"""The autoencoder: a photo to its latent, a latent to pixels; in tiles where memory or an engine has no room."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dimrt.backends.base import Backend, Tensor
from dimrt.bundle import Bundle
from dimrt.interop import CudaArray
from dimrt.photo.fit import Frame, to_levels, to_painter
from dimrt.subject import Subject
from dimrt.tiles import Grid, Size, in_tiles

Floats = NDArray[np.float32]
Coder = Literal["encode", "decode"]
CODERS: tuple[Coder, ...] = ("encode", "decode")


@dataclass(frozen=True)
class Queued:
    """A photo on its way through the autoencoder; the device works on it and nothing has waited for it.

    Attributes:
        latent: float32 [1, C, h, w].
        pixels: the latent as pixels again, [1, 3, H, W]; None where nobody wants them.
    """

    latent: Tensor
    pixels: Tensor | None


class Autoencoder:
    """Runs the `encode` and `decode` graphs. What it makes of a photo stays with the photo, and is made once.

    Attributes:
        tile: side in pixels of the tiles in which larger pictures are taken; None takes them whole. What an engine or
            a graph can't take whole is taken in tiles in any case.
    """

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self._graphs = bundle.manifest.graphs
        self._factor = bundle.manifest.resolution.latent_factor
        self._backend = backend
        self.tile: int | None = None

    def queue(self, subject: Subject, frame: Frame, *, back: bool) -> Queued | None:
        """Queue the photo's way to its latent, and `back` to pixels; None where it's kept, or goes in tiles."""
        width, height = (side // self._factor for side in frame.size)
        if self.has(subject, frame) or any(self._grid(graph, (height, width)) is not None for graph in CODERS):
            return None
        latent = self._run("encode", to_painter(subject.photo, frame))
        return Queued(latent, self._run("decode", latent) if back else None)

    def encode(self, subject: Subject, frame: Frame, queued: Queued | None = None) -> Tensor:
        """The photo's latent, float32 [1, C, h, w], on the device; what was `queued` for it is only waited for."""
        kept = subject.latents.get((frame, self.tile))
        if kept is not None:
            return self._backend.to_device(kept)
        if queued is not None:
            if queued.pixels is not None:
                subject.decoded[frame, self.tile] = to_levels(self._pixels(queued.pixels))
            subject.latents[frame, self.tile] = np.array(self._backend.to_host(queued.latent), np.float32)
            return queued.latent
        pixels = to_painter(subject.photo, frame)
        grid = self._grid("encode", (pixels.shape[2] // self._factor, pixels.shape[3] // self._factor))
        latent: Tensor
        if grid is None:
            latent = self._run("encode", pixels)
            host = np.array(self._backend.to_host(latent), np.float32)
        else:
            host = in_tiles(self._encode_tile, pixels, grid, (self._factor, 1))
            latent = self._backend.to_device(host)
        subject.latents[frame, self.tile] = host
        return latent

    def decode(self, latent: Tensor) -> Floats:
        """Pixels of a latent, float32 [1, 3, H, W], nominally in [-1, 1]."""
        grid = self._grid("decode", self._cells(latent))
        if grid is not None:
            return self._tiled(latent, grid)
        return self._pixels(self._whole(latent))

    def decode_for_caller(self, latent: Tensor) -> CudaArray:
        """The same pixels as an array on the GPU that belongs to the caller."""
        grid = self._grid("decode", self._cells(latent))
        pixels = self._whole(latent) if grid is None else self._backend.to_device(self._tiled(latent, grid))
        return self._backend.hand_over(pixels)

    def decoded_source(self, subject: Subject, frame: Frame) -> Floats:
        """The photo through the autoencoder and back, float32 [H, W, 3], 0 to 255."""
        if (frame, self.tile) not in subject.decoded:
            subject.decoded[frame, self.tile] = to_levels(self.decode(self.encode(subject, frame)))
        return subject.decoded[frame, self.tile]

    def has(self, subject: Subject, frame: Frame) -> bool:
        """Whether the photo's latent is kept."""
        return (frame, self.tile) in subject.latents

    def tile_of(self, size: Size) -> int | None:
        """The longer side in pixels of the tiles that a picture of (height, width) is decoded in; None: it is whole."""
        grid = self._grid("decode", (size[0] // self._factor, size[1] // self._factor))
        return None if grid is None else max(grid.tile) * self._factor

    def _whole(self, latent: Tensor) -> Tensor:
        pixels = self._run("decode", latent)
        self._backend.finish()
        return pixels

    def _run(self, graph: Coder, given: Tensor) -> Tensor:
        """What a graph makes of a whole picture, queued; on the device."""
        takes, gives = ("pixels", "latent") if graph == "encode" else ("latent", "pixels")
        return self._backend.engine(graph).run({takes: given}, keep=(gives,))[gives]

    def _pixels(self, pixels: Tensor) -> Floats:
        return np.asarray(self._backend.to_host(pixels), np.float32)

    def _tiled(self, latent: Tensor, grid: Grid) -> Floats:
        return in_tiles(self._decode_tile, np.asarray(self._backend.to_host(latent)), grid, (1, self._factor))

    def _encode_tile(self, pixels: Floats) -> Floats:
        return np.asarray(self._backend.engine("encode").run({"pixels": pixels})["latent"], np.float32)

    def _decode_tile(self, latent: Floats) -> Floats:
        return np.asarray(self._backend.engine("decode").run({"latent": latent})["pixels"], np.float32)

    def _cells(self, latent: Tensor) -> Size:
        height, width = self._backend.shape(latent)[2:]
        return height, width

    def _grid(self, graph: Coder, whole: Size) -> Grid | None:
        """How a picture of so many cells is cut; None when it is taken whole."""
        unit = self._factor if graph == "encode" else 1
        engine = self._backend.engine(graph)
        (spec,) = self._graphs[graph].inputs
        sides = []
        for side, size in zip(spec.shape[2:], whole, strict=True):
            if isinstance(side, int):
                sides.append(side // unit)  # the graph knows one size
                continue
            most = engine.limit(side)
            asked = size if self.tile is None else self.tile // self._factor
            sides.append(min(size, asked, size if most is None else most // unit))
        height, width = sides
        return None if whole == (height, width) else Grid(whole, (height, width))
