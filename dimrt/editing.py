"""One edit of a photo: which part of it is painted, once or again from nearer, and how that comes back into the photo.

A mask or a region says where: then designer and painter are shown a window around it. Otherwise they are shown the
whole photo; what changed in one place may then be painted once more, from nearer, after the same plan.
"""

from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from dimrt.autoencoder import Queued
from dimrt.briefing import Brief
from dimrt.chain import Chain
from dimrt.events import Event, PlanReady, Progress
from dimrt.painter import Show, start_noise
from dimrt.phases import Phases
from dimrt.photo.bounds import Bounds
from dimrt.photo.closeup import agrees, bounds_of_change, closer_window
from dimrt.photo.colour import from_srgb
from dimrt.photo.composite import choose
from dimrt.photo.fit import Frame, from_painter, to_levels, to_painter
from dimrt.photo.photo import Photo, Samples
from dimrt.photo.planes import Box, Floats
from dimrt.photo.transfer import Transfer
from dimrt.photo.window import context_window
from dimrt.preview import Previewer, in_place
from dimrt.request import Request
from dimrt.result import EditResult
from dimrt.subject import Subject


@dataclass(frozen=True)
class Painting:
    """What was painted of a part of a photo.

    Attributes:
        part: that part, as a subject.
        window: where it lies in the photo.
        frame: how it became the painter's picture.
        brief: what it was painted after.
        pixels: float32 [1, 3, h, w], nominally in [-1, 1], as the autoencoder gave them.
    """

    part: Subject
    window: Box
    frame: Frame
    brief: Brief
    pixels: Floats

    @property
    def scale(self) -> float:
        """Painted pixels for each pixel of what was painted, along a side."""
        height, width = self.pixels.shape[2:]
        left, top, right, bottom = self.shown
        return round(float((width * height / ((right - left) * (bottom - top))) ** 0.5), 4)

    @property
    def shown(self) -> Box:
        """The part of the photo that the painter's picture shows."""
        left, top, right, bottom = self.frame.region
        across, down = self.window[:2]
        return left + across, top + down, right + across, bottom + down


@dataclass(frozen=True)
class Carried:
    """A painting on its way to full size.

    Attributes:
        source, edit: float32 [h, w, 3], 0 to 255 in the photo's colours: the part before and after.
        transfer: how the difference is carried.
        bounds: what of the part may change; None for all of it.
    """

    painting: Painting
    source: Floats
    edit: Floats
    transfer: Transfer
    bounds: Bounds | None

    @property
    def changed(self) -> Box:
        """The part of the photo outside of which nothing changes; empty when nothing does."""
        left, top, right, bottom = self.transfer.box(self.painting.part.photo.size, self.bounds)
        across, down = self.painting.window[:2]
        return (left + across, top + down, right + across, bottom + down) if right > left else (0, 0, 0, 0)


def edit(
    chain: Chain, subject: Subject, instruction: str, request: Request, phases: Phases
) -> Generator[Event, None, EditResult]:
    """Photo and instruction to edited photo."""
    photo = subject.photo
    whole = (0, 0, *photo.size)
    bounds = request.bounds(photo.size)
    window = whole if bounds is None else context_window(photo.size, bounds.box, chain.resolution)
    first = yield from _paint(chain, subject, window, instruction, request, phases)
    if request.as_painted:
        return _as_painted(chain, first, request, phases)
    inner = None if bounds is None else bounds.within(window)

    def composite() -> tuple[Carried, Samples | Box]:
        """The result, or the window from which it should be painted again first."""
        carried = _carry(chain, first, inner, request)
        nearer = _closer_window(chain, carried, photo.size, request)
        return carried, _finish(photo, carried) if nearer is None else nearer

    carried, image = yield from phases.once("composite", composite)
    if isinstance(image, tuple):
        carried, image = yield from _closeup(chain, subject, image, carried, instruction, request, phases)
    return _result(chain, image, carried, first, request, phases)


def _paint(
    chain: Chain, subject: Subject, window: Box, instruction: str, request: Request, phases: Phases
) -> Generator[Event, None, Painting]:
    """Design and paint one part of the photo."""
    part = subject if window == (0, 0, *subject.photo.size) else subject.part(window)
    frame = chain.frame(part, request)
    brief, queued = yield from _design(chain, part, frame, instruction, request, phases)
    yield from chain.enter("painter", phases, but=("encode",) if chain.has_latent(part, frame) else ())
    source = yield from phases.once("encode", partial(chain.encode, part, frame, queued))
    noise = start_noise(request.seed, chain.shape(source))
    show: Show | None = None
    if request.previews:
        if frame not in part.previewers:
            part.previewers[frame] = Previewer(chain.to_host(source), to_painter(part.photo, frame))
        show = part.previewers[frame].show
        if part is not subject:
            show = in_place(show, subject.photo, window)
    latent = yield from chain.paint(brief, source, noise, request, phases, show)
    pixels = yield from phases.once("decode", partial(chain.decode, latent))
    return Painting(part, window, frame, brief, pixels)


def _design(
    chain: Chain, part: Subject, frame: Frame, instruction: str, request: Request, phases: Phases
) -> Generator[Event, None, tuple[Brief, Queued | None]]:
    """Design one part of the photo. Once the plan's first token is there, the part is queued for the autoencoder: the
    rest of the plan is bound by the memory's bandwidth and leaves the arithmetic free.
    """
    queued: Queued | None = None
    work = chain.design(part, instruction, request, phases)
    try:
        while True:
            try:
                event = next(work)
            except StopIteration as end:
                brief: Brief = end.value
                return brief, queued
            yield event
            if event == Progress("plan", 1):
                queued = phases.beside("encode", partial(chain.queue, part, frame, back=not request.as_painted))
    finally:
        work.close()


def _carry(chain: Chain, painting: Painting, bounds: Bounds | None, request: Request) -> Carried:
    """How the change between the part and its painting reaches full size."""
    assert request.composite != "none"
    icc = painting.part.photo.icc
    source = from_srgb(chain.decoded_source(painting.part, painting.frame), icc)
    after = from_srgb(to_levels(painting.pixels), icc)
    plan = painting.brief.blueprint
    everywhere = plan is not None and plan.edits_everything
    return Carried(painting, source, after, choose(source, after, request.composite, bounds, everywhere), bounds)


def _closer_window(chain: Chain, carried: Carried, size: tuple[int, int], request: Request) -> Box | None:
    """The window for painting the change once more, where that is asked for and a change in one place.

    "auto" does not: a perfect painter would gain 2 dB there and nano's gains nothing for twice the time, as it doesn't
    paint the same twice (benchmarks/closeup.py).
    """
    if request.closeup != "always" or carried.transfer.ran != "local":
        return None
    return closer_window(carried.changed, carried.painting.window, size, chain.resolution)


def _closeup(
    chain: Chain, subject: Subject, window: Box, far: Carried, instruction: str, request: Request, phases: Phases
) -> Generator[Event, None, tuple[Carried, Samples]]:
    """What changed, painted again from nearer, and the result; the one from afar where that shows something else.

    The same plan is painted, so it isn't announced again; previews would show another part than those before.
    """
    again = replace(request, plan=far.painting.brief.blueprint, think=False, previews=False, composite="local")
    work = _paint(chain, subject, window, instruction, again, phases)
    painting = yield from _unannounced(work)

    def composite() -> tuple[Carried, Samples]:
        limits = bounds_of_change(far.transfer, far.bounds, far.changed, far.painting.window, window)
        near = _carry(chain, painting, limits, again)
        same = agrees(near.edit - near.source, window, far.edit - far.source, far.painting.window)
        carried = near if same and near.transfer.ran != "unchanged" else far
        return carried, _finish(subject.photo, carried)

    return (yield from phases.once("composite", composite))


def _unannounced(work: Generator[Event, None, Painting]) -> Generator[Event, None, Painting]:
    """The same work without its `PlanReady`."""
    try:
        while True:
            try:
                event = next(work)
            except StopIteration as end:
                painting: Painting = end.value
                return painting
            if not isinstance(event, PlanReady):
                yield event
    finally:
        work.close()


def _finish(photo: Photo, carried: Carried) -> Samples:
    """The full-size result, an array of its own; alpha stays as it was."""
    part, (left, top, right, bottom) = carried.painting.part.photo, carried.painting.window
    image = carried.transfer.apply(part.pixels, carried.bounds)
    if part.size != photo.size:
        whole = photo.pixels.copy()
        whole[top:bottom, left:right] = image
        image = whole
    return image if photo.alpha is None else np.dstack([image, photo.alpha])


def _as_painted(chain: Chain, painting: Painting, request: Request, phases: Phases) -> EditResult:
    """The painted picture itself, in the photo's colours, as it's written with the photo's profile."""
    painted = from_painter(painting.pixels)
    levels = from_srgb(to_levels(painting.pixels), painting.part.photo.icc)
    image = np.floor(levels + np.float32(0.5)).astype(np.uint8)
    result = chain.result(image, painted, painting.brief, request, "none", phases)
    return replace(result, window=_region(painting.shown), painted_scale=painting.scale)


def _result(
    chain: Chain, image: Samples, carried: Carried, first: Painting, request: Request, phases: Phases
) -> EditResult:
    painting = carried.painting
    painted = from_painter(painting.pixels)
    result = chain.result(image, painted, first.brief, request, carried.transfer.ran, phases)
    return replace(
        result,
        window=_region(painting.shown),
        region=_region(carried.changed),
        painted_scale=painting.scale,
        closeup=painting is not first,
    )


def _region(box: Box) -> tuple[int, int, int, int]:
    """x, y, width, height of a box."""
    left, top, right, bottom = box
    return left, top, right - left, bottom - top
