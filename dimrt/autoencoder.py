"""The autoencoder: a photo to its latent, a latent to pixels."""

import numpy as np
from numpy.typing import NDArray

from dimrt.backends.base import Backend, Tensor
from dimrt.interop import CudaArray
from dimrt.photo.fit import Frame, to_levels, to_painter
from dimrt.subject import Subject


class Autoencoder:
    """Runs the `encode` and `decode` graphs. What it makes of a photo stays with the photo, and is made once."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def encode(self, subject: Subject, frame: Frame) -> Tensor:
        """The photo's latent, float32 [1, C, h, w], on the device."""
        kept = subject.latents.get(frame)
        if kept is not None:
            return self._backend.to_device(kept)
        feeds = {"pixels": to_painter(subject.photo, frame)}
        latent = self._backend.engine("encode").run(feeds, keep=("latent",))["latent"]
        subject.latents[frame] = np.array(self._backend.to_host(latent), np.float32)
        return latent

    def decode(self, latent: Tensor) -> NDArray[np.float32]:
        """Pixels of a latent, float32 [1, 3, H, W], nominally in [-1, 1]."""
        return np.asarray(self._backend.to_host(self._on_device(latent)), np.float32)

    def decode_for_caller(self, latent: Tensor) -> CudaArray:
        """The same pixels as an array on the GPU that belongs to the caller."""
        return self._backend.hand_over(self._on_device(latent))

    def decoded_source(self, subject: Subject, frame: Frame) -> NDArray[np.float32]:
        """The photo through the autoencoder and back, float32 [H, W, 3], 0 to 255."""
        if frame not in subject.decoded:
            subject.decoded[frame] = to_levels(self.decode(self.encode(subject, frame)))
        return subject.decoded[frame]

    def _on_device(self, latent: Tensor) -> Tensor:
        pixels = self._backend.engine("decode").run({"latent": latent}, keep=("pixels",))["pixels"]
        self._backend.finish()
        return pixels
