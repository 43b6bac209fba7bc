"""The editor: the public face of the chain, whole or in named steps."""

from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dimrt.backends.base import ROLES, Backend, Role
from dimrt.backends.choose import DeviceName, open_backend
from dimrt.briefing import Brief
from dimrt.bundle import Bundle, find_bundle
from dimrt.chain import Chain
from dimrt.editing import edit
from dimrt.errors import ResourceError, drop_frames
from dimrt.events import Event
from dimrt.interop import CudaArray, from_device
from dimrt.memory.fits import check_request
from dimrt.options import EditOptions
from dimrt.painter import Latent, start_noise
from dimrt.phases import Cancel, OnEvent, Phases, drain
from dimrt.photo.read import Photo, read_photo
from dimrt.request import Request, resolve
from dimrt.result import Design, EditResult
from dimrt.session import Session
from dimrt.subject import Subject
from dimrt.warming import INSTRUCTION, Warmth, blank, shortest

Picture = str | Path | bytes | Image.Image | NDArray[Any] | Photo | CudaArray
"""How a photo is given: a file, the bytes of one, a Pillow image, a uint8 array, a photo already read, or a uint8 array
on a GPU (anything with `__cuda_array_interface__`). Photos are resized and composited on the host: a device array is
copied there once."""
_DEFAULTS = EditOptions()


class Editor:
    """One loaded bundle. Not safe for calls from several threads at once.

    Each call that runs graphs raises ResourceError before anything is loaded when they can't fit into memory.

    Attributes:
        bundle: the checked bundle.
    """

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        """Use a bundle on a backend; `Editor.load` is the usual way."""
        self.bundle = bundle
        self._backend = backend
        self._chain = Chain(bundle, backend)
        self._checked: set[str] = set()
        self._tile: int | None = None

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        *,
        device: DeviceName = "auto",
        target: str | Path | None = None,
        threads: int | None = None,
        verify: Literal["layout", "full"] = "full",
        warm: bool = False,
    ) -> "Editor":
        """Find, check and open a bundle. Graphs are loaded by the first edit, unless `warm` is asked for.

        Args:
            path: the bundle's folder, or None for `DIMRT_BUNDLE`, the configured one, or the packaged nano.
            device: "tensorrt" runs engines, built at first use; "cuda" and "cpu" run ONNX Runtime. "auto" takes
                TensorRT when this bundle's engines for this GPU are built already, else CUDA when this ONNX Runtime
                has it, else the CPU; `provider` says which it was.
            target: for TensorRT, name or file of the target that bounds shapes and memory; None picks the GPU's.
            threads: CPU threads inside an operator of ONNX Runtime.
            verify: "full" checks the sha256 of every file, "layout" only names and sizes.
            warm: whether to `warm` the editor, too.

        Raises:
            BundleError: there is no such bundle, or it isn't what its manifest says.
            ResourceError: the device can't be used.
        """
        bundle = Bundle.open(find_bundle(path)[0], verify=verify)
        editor = cls(bundle, open_backend(bundle, device, target=target, threads=threads))
        if warm:
            editor.warm()
        return editor

    @property
    def provider(self) -> str:
        """Backend and provider that really run, e.g. "onnxruntime CPUExecutionProvider"."""
        return self._backend.name

    @property
    def missing(self) -> tuple[str, ...]:
        """Graphs whose engines must be built before anything can run, which takes minutes."""
        return self._backend.missing()

    def warm(self, *, run: bool | None = None, on_event: OnEvent | None = None, cancel: Cancel | None = None) -> Warmth:
        """Do now what the first edit would have to do once: build engines, load graphs, and run them.

        Where memory holds one role's graphs at a time, engines are built and nothing else can be done in advance.

        Args:
            run: whether a gray picture is edited, in as few steps as can be; None does so on a GPU, where a first run
                chooses and compiles kernels. On the processor it gains little and, with a large bundle, takes long.
            on_event, cancel: as for `edit`.

        Returns:
            How long that took, by its parts. A second call finds everything there.

        Raises:
            ResourceError: an edit can't fit into memory, or the machine gave out.
            Cancelled: `cancel` was set.
        """
        facts = self.bundle.manifest
        has_photo = facts.painter.task == "edit"
        graphs, options = self._graphs(has_photo), shortest(facts)
        self._check_memory(resolve(_DEFAULTS, facts), graphs)
        device = self._backend.target
        on_gpu = device is None or device.flavour != "onnxruntime"
        if self._backend.residency == "all" and (on_gpu if run is None else run):
            picture = blank(facts) if has_photo else None
            return Warmth.of(drain(self.events(picture, INSTRUCTION, options), on_event, cancel))
        phases = Phases()
        with self._giving_back():
            drain(self._chain.prepare(phases, graphs), on_event, cancel)
        return Warmth(phases.seconds.get("build", 0.0), phases.loading, 0.0)

    def close(self) -> None:
        """Give back the memory of everything loaded; the next edit loads it again."""
        self._checked.clear()
        self._tile = None
        self._chain.close()

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
            ResourceError: the machine gave out, mostly of memory; everything loaded has been given back.
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

    def open(self, image: Picture) -> Session:
        """Open a photo to edit it again and again: from the second edit on nothing is computed of the photo itself.

        Raises:
            InputError: the photo can't be used.
            BundleError: the bundle paints from text only.
        """
        self._chain.check_task(True)
        return Session(self.events, _photo(image))

    def events(
        self, image: Picture | Subject | None, instruction: str, options: EditOptions = _DEFAULTS
    ) -> Generator[Event, None, EditResult]:
        """The whole chain as a stream of events that ends in the result. Close it to cancel.

        Args:
            image: the photo (a `Subject` where it has been edited before), or None to paint from the instruction alone.
            instruction, options: as for `edit`.
        """
        request = resolve(options, self.bundle.manifest)
        self._chain.check_task(image is not None)
        phases = Phases()
        graphs = self._graphs(image is not None)
        self._check_memory(request, graphs)
        with self._giving_back():
            yield from self._chain.prepare(phases, graphs)
            if image is None:
                return (yield from self._chain.generate(instruction, request, phases))
            if isinstance(image, Subject):
                subject = image
            else:
                subject = yield from phases.once("read", lambda: Subject(_photo(image)))
            return (yield from edit(self._chain, subject, instruction, request, phases))

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
        subject = None if image is None else Subject(_photo(image))
        graphs = self._graphs(image is not None, "designer")
        self._check_memory(request, graphs)
        with self._giving_back():
            drain(self._chain.prepare(Phases(), graphs), on_event, cancel)
            brief = drain(self._chain.design(subject, instruction, request, Phases()), on_event, cancel)
            condition = self._chain.to_host(brief.condition)
        return Design(brief.blueprint, condition.reshape(condition.shape[-2:]))

    def encode(self, image: Picture, options: EditOptions = _DEFAULTS) -> Latent:
        """Step 2, for edits: the photo's latent, float32 [1, C, h, w]."""
        self._chain.check_task(True)
        subject = Subject(_photo(image))
        request = resolve(options, self.bundle.manifest)
        frame = self._chain.frame(subject, request)
        self._check_memory(request, ("encode",))
        with self._giving_back():
            drain(self._chain.prepare(Phases(), ("encode",)), None, None)
            return self._chain.to_host(self._chain.encode(subject, frame))

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
        brief = Brief(design.blueprint, design.condition)
        self._check_memory(request, ("context", "step"))
        with self._giving_back():
            drain(self._chain.prepare(Phases(), ("context", "step")), on_event, cancel)
            return self._chain.to_host(
                drain(self._chain.paint(brief, source, noise, request, Phases()), on_event, cancel)
            )

    @overload
    def decode(
        self, latent: Latent, options: EditOptions = _DEFAULTS, *, on_device: Literal[False] = False
    ) -> NDArray[np.float32]: ...

    @overload
    def decode(self, latent: Latent, options: EditOptions = _DEFAULTS, *, on_device: Literal[True]) -> CudaArray: ...

    def decode(
        self, latent: Latent, options: EditOptions = _DEFAULTS, *, on_device: bool = False
    ) -> NDArray[np.float32] | CudaArray:
        """Step 4: pixels of a latent, float32 [1, 3, H, W], nominally in [-1, 1], not clamped.

        Args:
            latent: from `paint` or `encode`.
            options: as for `edit`; `tile` counts.
            on_device: leave the pixels on the GPU, as an array with `__cuda_array_interface__` that is the caller's.

        Raises:
            InputError: `on_device`, and the editor runs on no GPU.
        """
        self._check_memory(resolve(options, self.bundle.manifest), ("decode",))
        with self._giving_back():
            drain(self._chain.prepare(Phases(), ("decode",)), None, None)
            if on_device:
                return self._chain.decode_for_caller(latent)
            return self._chain.decode(latent)

    def _graphs(self, has_photo: bool, *roles: Role) -> tuple[str, ...]:
        """The graphs that these roles (default: both) run; without a photo nothing is looked at."""
        names = [graph for role in roles or ROLES for graph in ROLES[role] if graph in self.bundle.manifest.graphs]
        return tuple(names if has_photo else (graph for graph in names if graph != "vision"))

    def _check_memory(self, request: Request, graphs: Collection[str]) -> None:
        """Refuse what can't fit before it is loaded; load one role at a time, and take the autoencoder's pictures in
        tiles, where only that fits.

        Graphs that were checked are taken as loaded.
        """
        target = self._backend.target
        if target is not None and not self._checked.issuperset(graphs):
            residency = self._backend.residency
            setting = check_request(self.bundle, request, target, residency, graphs, self._checked)
            self._backend.residency = setting.residency
            self._checked.update(graphs)
            if request.tile is None and setting.tile is not None:
                self._tile = setting.tile
        self._chain.tile = request.tile or self._tile

    @contextmanager
    def _giving_back(self) -> Iterator[None]:
        """When the machine gives out, all memory is free again before the error is seen: a smaller edit can follow."""
        try:
            yield
        except ResourceError as error:
            drop_frames(error)
            with suppress(ResourceError):  # the first error is the one to tell
                self.close()
            raise


def _photo(image: Picture) -> Photo:
    if isinstance(image, Photo):
        return image
    return read_photo(from_device(image) if isinstance(image, CudaArray) else image)
