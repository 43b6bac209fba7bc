"""The chain from photo to photo, each part a stream of events that ends in its result."""

from collections.abc import Collection, Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from dimrt.autoencoder import Autoencoder, Queued
from dimrt.backends.base import ROLES, Backend, Role, Tensor
from dimrt.briefing import Brief, Briefing
from dimrt.bundle import Bundle
from dimrt.errors import BundleError
from dimrt.events import Event, Progress
from dimrt.interop import CudaArray
from dimrt.manifest import Resolution
from dimrt.painter import Latent, Painter, Show, start_noise
from dimrt.phases import Phases
from dimrt.photo.fit import Frame, from_painter, painter_frame
from dimrt.photo.photo import Pixels, Samples
from dimrt.request import Request
from dimrt.result import EditResult
from dimrt.schedule import painter_schedule
from dimrt.subject import Subject


class Chain:
    """Designer, painter and autoencoder of one bundle on one backend.

    Between the graphs tensors stay on the device. What crosses to the host: the prepared picture and the token rows
    going in, the logits of each token of the plan, the painted pixels (and the source's, to compare) and the source's
    latent, kept for the photo's next edit, coming out.
    """

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self._bundle = bundle
        self._facts = bundle.manifest
        self._backend = backend
        self._briefing = Briefing(bundle, backend)
        self._painter = Painter(bundle, backend)
        self._autoencoder = Autoencoder(bundle, backend)

    def check_task(self, has_photo: bool) -> None:
        """Refuse a photo for a text-to-image bundle, and none for an editing one.

        Raises:
            BundleError: the bundle was made for the other task.
        """
        task = "edit" if has_photo else "generate"
        made_for = self._facts.painter.task
        if task != made_for:
            raise BundleError(
                f"{self._bundle.path} ({self._facts.name}) is made for `dimrt {made_for}`, not for `dimrt {task}`; "
                "give another one with --bundle"
            )

    @property
    def tile(self) -> int | None:
        """Side in pixels of the tiles in which the autoencoder takes a larger picture; None takes it whole."""
        return self._autoencoder.tile

    @tile.setter
    def tile(self, side: int | None) -> None:
        self._autoencoder.tile = side

    def prepare(self, phases: Phases, graphs: Sequence[str]) -> Generator[Event, None, None]:
        """Build what the backend is missing, and load graphs where both roles' are held: phases of their own."""
        missing = self._backend.missing()
        if missing:
            yield from phases.stream("build", len(missing), self._build(missing))
        if self._backend.residency == "all":
            yield from self._load(graphs, phases)

    def enter(self, role: Role, phases: Phases, but: Collection[str] = ()) -> Generator[Event, None, None]:
        """Have a role's graphs loaded, `but` those that it won't run; the other role's are given back where only one
        fits.
        """
        self._enter(role)
        yield from self._load([graph for graph in ROLES[role] if graph not in but], phases)

    def close(self) -> None:
        """Give back all memory: engines and what is kept of the last picture. What is used again is loaded again."""
        self._briefing.forget()
        self._backend.close()

    def generate(self, prompt: str, request: Request, phases: Phases) -> Generator[Event, None, EditResult]:
        """Prompt to picture."""
        brief = yield from self.design(None, prompt, request, phases)
        yield from self.enter("painter", phases)
        noise = start_noise(request.seed, self.latent_shape())
        latent = yield from self.paint(brief, None, noise, request, phases)
        painted = yield from phases.once("decode", lambda: from_painter(self.decode(latent)))
        return self.result(painted, painted, brief, request, "none", phases)

    def design(
        self, subject: Subject | None, instruction: str, request: Request, phases: Phases
    ) -> Generator[Event, None, Brief]:
        """Vision, plan (when the designer is to write one) and condition."""
        self._briefing.check(subject is not None, instruction, request)
        yield from self.enter("designer", phases, but=() if subject is not None else ("vision",))
        return (yield from self._briefing.brief(subject, instruction, request, phases))

    def frame(self, subject: Subject, request: Request) -> Frame:
        """How the photo becomes the painter's picture."""
        return painter_frame(subject.photo.size, self._facts.resolution, request.frame)

    @property
    def resolution(self) -> Resolution:
        """Sizes the painter works at."""
        return self._facts.resolution

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """Shape of a tensor on the device."""
        return self._backend.shape(tensor)

    def latent_shape(self) -> tuple[int, int, int, int]:
        """Shape of the latent that generate paints."""
        resolution = self._facts.resolution
        side = resolution.side // resolution.latent_factor
        return 1, self._facts.painter.latent_channels, side, side

    def has_latent(self, subject: Subject, frame: Frame) -> bool:
        """Whether the photo's latent is kept, so that `encode` has nothing to do."""
        return self._autoencoder.has(subject, frame)

    def queue(self, subject: Subject, frame: Frame, *, back: bool) -> Queued | None:
        """Have the device take the photo through the autoencoder (`back`: and to pixels again) while the designer goes
        on; None where it can't, or has no need to.
        """
        if not self._backend.overlaps or self._backend.residency != "all":
            return None
        return self._autoencoder.queue(subject, frame, back=back)

    def encode(self, subject: Subject, frame: Frame, queued: Queued | None = None) -> Tensor:
        """The photo's latent, float32 [1, C, h, w], on the device."""
        self._enter("painter")
        return self._autoencoder.encode(subject, frame, queued)

    def paint(
        self,
        brief: Brief,
        source: Tensor | None,
        noise: Latent,
        request: Request,
        phases: Phases,
        show: Show | None = None,
    ) -> Generator[Event, None, Tensor]:
        """Condition, source latent and start noise to painted latent, on the device; `show` makes the previews."""
        self._enter("painter")
        schedule = painter_schedule(self._facts.schedule, request.steps, request.schedule)
        work = self._painter.paint(
            brief.condition,
            source,
            noise,
            schedule,
            request.guidance_scale,
            request.seed,
            show,
            request.guidance_interval,
        )
        return (yield from phases.stream("paint", request.steps, work))

    def decode(self, latent: Tensor) -> NDArray[np.float32]:
        """Pixels of a latent, float32 [1, 3, H, W], nominally in [-1, 1]."""
        self._enter("painter")
        return self._autoencoder.decode(latent)

    def decoded_source(self, subject: Subject, frame: Frame) -> NDArray[np.float32]:
        """The photo through the autoencoder and back, float32 [H, W, 3], 0 to 255."""
        self._enter("painter")
        return self._autoencoder.decoded_source(subject, frame)

    def decode_for_caller(self, latent: Tensor) -> CudaArray:
        """The same pixels as an array on the GPU that belongs to the caller."""
        self._enter("painter")
        return self._autoencoder.decode_for_caller(latent)

    def to_host(self, tensor: Tensor) -> NDArray[np.float32]:
        """Values of a latent or a condition, float32, in memory of their own."""
        return np.array(self._backend.to_host(tensor), np.float32)

    def result(
        self, image: Samples, painted: Pixels, brief: Brief, request: Request, mode: str, phases: Phases
    ) -> EditResult:
        """A finished picture and what ran."""
        return EditResult(
            image=image,
            painted=painted,
            blueprint=brief.blueprint,
            plan_style=request.plan_style if brief.blueprint is not None and request.plan is None else None,
            writing=brief.writing,
            seed=request.seed,
            steps=request.steps,
            guidance_scale=request.guidance_scale,
            guidance_interval=request.guidance_interval,
            composite=mode,
            tile=self._autoencoder.tile_of(painted.shape[:2]),
            timings=phases.seconds,
            loading=phases.loading,
            bundle=self._facts.name,
            provider=self._backend.name,
        )

    def _enter(self, role: Role) -> None:
        """Where memory holds one role at a time, give back what the other one has loaded or kept."""
        if self._backend.residency == "all":
            return
        if role == "painter":
            self._briefing.forget()
        for other, graphs in ROLES.items():
            if other != role:
                for graph in graphs:
                    self._backend.release(graph)

    def _load(self, graphs: Sequence[str], phases: Phases) -> Generator[Event, None, None]:
        have = self._facts.graphs
        yield from phases.load([g for g in graphs if g in have and not self._backend.loaded(g)], self._backend.engine)

    def _build(self, graphs: Sequence[str]) -> Generator[Event, None, None]:
        for done, _ in enumerate(self._backend.build(graphs), 1):
            yield Progress("build", done)
