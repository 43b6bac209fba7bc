"""The editor: the public face of the chain, whole or in named steps."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dimrt.backends.base import Backend
from dimrt.backends.onnxruntime import OrtBackend, best_device
from dimrt.bundle import Bundle, find_bundle
from dimrt.chain import Chain
from dimrt.events import Event
from dimrt.options import EditOptions
from dimrt.painter import Latent, start_noise
from dimrt.phases import Cancel, Phases, drain
from dimrt.photo.read import Photo, read_photo
from dimrt.request import resolve
from dimrt.result import Design, EditResult

Picture = str | Path | bytes | Image.Image | NDArray[Any] | Photo
"""How a photo is given: a file, the bytes of one, a Pillow image, a uint8 array, or a photo already read."""
OnEvent = Callable[[Event], None]
_DEFAULTS = EditOptions()


class Editor:
    """One loaded bundle. Not safe for calls from several threads at once.

    Attributes:
        bundle: the checked bundle.
    """

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        """Use a bundle on a backend; `Editor.load` is the usual way."""
        self.bundle = bundle
        self._backend = backend
        self._chain = Chain(bundle, backend)

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        *,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        threads: int | None = None,
        verify: Literal["layout", "full"] = "full",
    ) -> "Editor":
        """Find, check and open a bundle. Graphs are loaded when first used.

        Args:
            path: the bundle's folder, or None for `DIMRT_BUNDLE`, the configured one, or the packaged nano.
            device: "auto" takes CUDA when this ONNX Runtime has it, else the CPU; `provider` says which it was.
            threads: CPU threads inside an operator.
            verify: "full" checks the sha256 of every file, "layout" only names and sizes.

        Raises:
            BundleError: there is no such bundle, or it isn't what its manifest says.
            ResourceError: the device can't be used.
        """
        bundle = Bundle.open(find_bundle(path)[0], verify=verify)
        return cls(bundle, OrtBackend(bundle, device=best_device() if device == "auto" else device, threads=threads))

    @property
    def provider(self) -> str:
        """Backend and provider that really run, e.g. "onnxruntime CPUExecutionProvider"."""
        return self._backend.name

    def edit(
        self,
        image: Picture,
        instruction: str,
        options: EditOptions = _DEFAULTS,
        *,
        on_event: OnEvent | None = None,
        cancel: Cancel | None = None,
    ) -> EditResult:
        """Edit a photo as the instruction says.

        Args:
            image: the photo.
            instruction: what to change, in words.
            options: of this request.
            on_event: called with every event (progress, pieces of the plan, the finished plan).
            cancel: looked at before every phase, token and painter step, such as a `threading.Event`.

        Raises:
            InputError: the photo, the instruction or an option can't be used.
            BundleError: the bundle paints from text only.
            Cancelled: `cancel` was set; the editor stays usable.
        """
        return drain(self.events(image, instruction, options), on_event, cancel)

    def generate(
        self,
        prompt: str,
        options: EditOptions = _DEFAULTS,
        *,
        on_event: OnEvent | None = None,
        cancel: Cancel | None = None,
    ) -> EditResult:
        """Paint a picture from a prompt alone, with a bundle made for that. Arguments and errors as for `edit`."""
        return drain(self.events(None, prompt, options), on_event, cancel)

    def events(
        self, image: Picture | None, instruction: str, options: EditOptions = _DEFAULTS
    ) -> Generator[Event, None, EditResult]:
        """The whole chain as a stream of events that ends in the result. Close it to cancel.

        Args:
            image: the photo, or None to paint from the instruction alone.
            instruction, options: as for `edit`.
        """
        request = resolve(options, self.bundle.manifest)
        self._chain.check_task(image is not None)
        phases = Phases()
        if image is None:
            return (yield from self._chain.generate(instruction, request, phases))
        photo = yield from phases.once("read", lambda: _photo(image))
        return (yield from self._chain.edit(photo, instruction, request, phases))

    def design(
        self,
        image: Picture | None,
        instruction: str,
        options: EditOptions = _DEFAULTS,
        *,
        on_event: OnEvent | None = None,
        cancel: Cancel | None = None,
    ) -> Design:
        """Step 1: write the plan and read it together with the photo (None: text alone)."""
        request = resolve(options, self.bundle.manifest)
        self._chain.check_task(image is not None)
        photo = None if image is None else _photo(image)
        return drain(self._chain.design(photo, instruction, request, Phases()), on_event, cancel)

    def encode(self, image: Picture, options: EditOptions = _DEFAULTS) -> Latent:
        """Step 2, for edits: the photo's latent, float32 [1, C, h, w]."""
        self._chain.check_task(True)
        photo = _photo(image)
        return self._chain.encode(photo, self._chain.frame(photo, resolve(options, self.bundle.manifest)))

    def paint(
        self,
        design: Design,
        source: Latent | None = None,
        options: EditOptions = _DEFAULTS,
        *,
        noise: Latent | None = None,
        on_event: OnEvent | None = None,
        cancel: Cancel | None = None,
    ) -> Latent:
        """Step 3: the painted latent, float32 [1, C, h, w].

        Args:
            design: from `design`.
            source: from `encode`; None paints from the design alone.
            options, on_event, cancel: as for `edit`.
            noise: start latent in place of the one drawn from the seed.
        """
        request = resolve(options, self.bundle.manifest)
        self._chain.check_task(source is not None)
        if noise is None:
            noise = start_noise(request.seed, self._chain.latent_shape() if source is None else source.shape)
        return drain(self._chain.paint(design, source, noise, request, Phases()), on_event, cancel)

    def decode(self, latent: Latent) -> NDArray[np.float32]:
        """Step 4: pixels of a latent, float32 [1, 3, H, W], nominally in [-1, 1], not clamped."""
        return self._chain.decode(latent)


def _photo(image: Picture) -> Photo:
    return image if isinstance(image, Photo) else read_photo(image)
