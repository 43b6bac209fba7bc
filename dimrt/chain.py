"""The chain from photo to photo, each part a stream of events that ends in its result."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dimrt.autoencoder import Autoencoder
from dimrt.backends.base import ROLES, Backend, Role, Tensor
from dimrt.blueprint import Blueprint
from dimrt.bundle import Bundle
from dimrt.designer import Designer, View
from dimrt.errors import BundleError, InputError
from dimrt.events import Event, PlanReady, PlanText, Progress
from dimrt.interop import CudaArray
from dimrt.manifest import Resolution
from dimrt.painter import Latent, Painter, Show, start_noise
from dimrt.phases import Phases
from dimrt.photo.fit import Frame, from_painter, painter_frame
from dimrt.photo.photo import Pixels, Samples
from dimrt.prompt import Turn
from dimrt.request import Request
from dimrt.result import EditResult, Writing
from dimrt.schedule import painter_schedule
from dimrt.subject import Subject
from dimrt.vision import condition_size, fit_size

Size = tuple[int, int]


@dataclass(frozen=True)
class Brief:
    """What the designer hands to the painter.

    Attributes:
        blueprint: the plan, or None when the bare instruction was used.
        condition: N rows of condition_channels, on the host or the device.
        writing: what the designer's own plan took; None when it wrote none.
    """

    blueprint: Blueprint | None
    condition: Tensor
    writing: Writing | None = None


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
        self._designer = Designer(bundle, backend)
        self._painter = Painter(bundle, backend)
        self._autoencoder = Autoencoder(backend)

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

    def prepare(self, phases: Phases) -> Generator[Event, None, None]:
        """Build what the backend is missing, as a phase of its own."""
        missing = self._backend.missing()
        if missing:
            yield from phases.stream("build", len(missing), self._build(missing))

    def close(self) -> None:
        """Give back all memory: engines and what is kept of the last picture. What is used again is loaded again."""
        self._designer.forget()
        self._backend.close()

    def generate(self, prompt: str, request: Request, phases: Phases) -> Generator[Event, None, EditResult]:
        """Prompt to picture."""
        brief = yield from self.design(None, prompt, request, phases)
        noise = start_noise(request.seed, self.latent_shape())
        latent = yield from self.paint(brief, None, noise, request, phases)
        painted = yield from phases.once("decode", lambda: from_painter(self.decode(latent)))
        return self.result(painted, painted, brief, request, "none", phases)

    def design(
        self, subject: Subject | None, instruction: str, request: Request, phases: Phases
    ) -> Generator[Event, None, Brief]:
        """Vision, plan (when the designer is to write one) and condition."""
        vision = self._facts.designer.vision
        size = condition_size(vision) if subject is not None else None
        self._check_text("instruction", instruction, size)
        blueprint, writing = request.plan, None
        if blueprint is not None:
            self._check_text("plan", blueprint.text, size)
            yield PlanReady(blueprint)
        self._enter("designer")
        view = None
        if subject is not None and size is not None:
            writes = blueprint is None and request.think
            native = writes and request.plan_view == "native"
            first = fit_size(*subject.photo.size, vision) if native else size
            view = yield from phases.once("vision", partial(self._view, subject, first))
            if writes:
                blueprint, writing = yield from self._plan(instruction, view, request, phases)
        text = instruction if blueprint is None else blueprint.text
        condition = yield from phases.once("condition", partial(self._condition, text, subject, size, view))
        return Brief(blueprint, condition, writing)

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

    def encode(self, subject: Subject, frame: Frame) -> Tensor:
        """The photo's latent, float32 [1, C, h, w], on the device."""
        self._enter("painter")
        return self._autoencoder.encode(subject, frame)

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
        work = self._painter.paint(brief.condition, source, noise, schedule, request.guidance_scale, request.seed, show)
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
            composite=mode,
            timings=phases.seconds,
            bundle=self._facts.name,
            provider=self._backend.name,
        )

    def _enter(self, role: Role) -> None:
        """Where memory holds one role at a time, give back what the other one has loaded or kept."""
        if self._backend.residency == "all":
            return
        if role == "painter":
            self._designer.forget()
        for other, graphs in ROLES.items():
            if other != role:
                for graph in graphs:
                    self._backend.release(graph)

    def _build(self, graphs: Sequence[str]) -> Generator[Event, None, None]:
        for done, _ in enumerate(self._backend.build(graphs), 1):
            yield Progress("build", done)

    def _plan(
        self, instruction: str, view: View, request: Request, phases: Phases
    ) -> Generator[Event, None, tuple[Blueprint | None, Writing]]:
        """The designer's own plan (None when it wrote nothing), and what that took."""
        turn = self._designer.prompts.plan_turn(instruction, _tokens(view), request.plan_style)
        limit = _within(request.max_new_tokens, turn, self._facts.designer.language.max_positions)
        text, writing = yield from phases.stream("plan", limit, self._write(turn, view, limit))
        if not text.strip():
            return None, writing
        blueprint = Blueprint.parse(text)
        yield PlanReady(blueprint, request.plan_style)
        return blueprint, writing

    def _write(self, turn: Turn, view: View, limit: int) -> Generator[Event, None, tuple[str, Writing]]:
        text, writing = "", Writing(0, 0)
        limit = _within(limit, turn, self._designer.room)  # known once the engine is loaded, which is part of the phase
        for piece in self._designer.write(turn, view, limit, self._facts.designer.decoding.repetition_penalty):
            if piece.text:
                text += piece.text
                yield PlanText(piece.text)
            writing = Writing(piece.count, piece.passes)
            yield Progress("plan", piece.count)
        return text, writing

    def _view(self, subject: Subject, size: Size) -> View:
        view = self._designer.view(subject.view(size, self._facts.designer.vision))
        self._backend.finish()
        return view

    def _condition(self, text: str, subject: Subject | None, size: Size | None, planned: View | None) -> Tensor:
        """The condition; the view that the plan was written on serves again when it has the condition's size."""
        view = planned
        if subject is not None and planned is not None and size is not None and planned.size != size:
            view = self._view(subject, size)
        condition = self._designer.condition(self._designer.prompts.condition_turn(text, _tokens(view)), view)
        self._backend.finish()
        return condition

    def _check_text(self, name: str, text: str, size: Size | None) -> None:
        """Refuse an empty text, and one so long that the painter would lose sight of the picture's first rows.

        Raises:
            InputError: empty or too long.
        """
        if not text.strip():
            raise InputError(f"the {name} is empty; say in words what to " + ("change" if size else "paint"))
        facts = self._facts.designer
        room = self._facts.painter.max_condition
        if size is not None:
            factor = facts.vision.patch_size * facts.vision.merge_size
            room -= (size[0] // factor) * (size[1] // factor) + 2
        count = len(self._designer.prompts.encode(text))
        if count > room:
            raise InputError(f"the {name} has {count} tokens, this bundle takes at most {room}; shorten it")


def _tokens(view: View | None) -> int:
    """Image tokens in a turn about this view."""
    return 0 if view is None else view.grid[0] * view.grid[1]


def _within(limit: int, turn: Turn, most: int) -> int:
    """So many tokens of a plan at most, that the turn has `most` with it.

    Raises:
        InputError: not even one.
    """
    count = len(turn.ids)
    if count >= most:
        raise InputError(
            f"the instruction and the photo take {count} tokens and leave no room for a plan (limit {most}); "
            "shorten the instruction, or plan on the shared view"
        )
    return min(limit, most - count)
