"""One edit of a photo around a painter that does as it is told: windows, close-ups, what is said of the result.

The stand-in's painting is a function of the picture that it is shown, through no autoencoder; what is tested is which
part it is shown and how its painting comes back.
"""

from collections.abc import Callable, Generator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_files import gamma_curve, matrix_profile
from numpy.typing import NDArray

from dimrt import editing
from dimrt.blueprint import Blueprint
from dimrt.bundle import Bundle
from dimrt.chain import Chain
from dimrt.errors import InputError
from dimrt.events import Event, PhaseFinished, PhaseStarted, PlanReady, Preview, Progress
from dimrt.manifest import Resolution
from dimrt.options import EditOptions
from dimrt.phases import Phases, drain
from dimrt.photo.colour import from_srgb, to_eight, to_srgb
from dimrt.photo.fit import painter_frame, to_levels, to_painter
from dimrt.photo.mask import Mask
from dimrt.photo.photo import Photo
from dimrt.photo.window import context_window
from dimrt.request import resolve
from dimrt.result import EditResult
from dimrt.subject import Subject

RESOLUTION = Resolution(side=128, multiple=16, latent_factor=8, aspect="square")
PLAN = Blueprint.parse("make the dot blue")
SIZE = 640, 480
Paint = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def recolour(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """What is red becomes blue; [1, 3, h, w] in [-1, 1]."""
    red = np.clip(pixels[:, 0] - np.maximum(pixels[:, 1], pixels[:, 2]) - 0.1, 0, 1)
    return np.clip(pixels + np.stack([-red, 0 * red, red], axis=1), -1, 1).astype(np.float32)


def darken(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return (pixels * 0.5 - 0.5).astype(np.float32)


class StandIn:
    """What `dimrt.editing` asks of a chain. `paints` are taken in turn, the last one again and again."""

    resolution = RESOLUTION

    def __init__(self, *paints: Paint) -> None:
        self.paints = list(paints)
        self.seen: list[tuple[int, int]] = []
        self.plans: list[Blueprint | None] = []

    def frame(self, part: Subject, request: Any) -> Any:
        self.seen.append(part.photo.size)
        return painter_frame(part.photo.size, RESOLUTION, request.frame)

    def design(self, part: Subject, text: str, request: Any, phases: Phases) -> Generator[Event, None, Any]:
        self.plans.append(request.plan)
        if request.plan is not None or request.think:
            yield PlanReady(request.plan or PLAN)
        yield from phases.once("condition", lambda: None)
        return SimpleNamespace(blueprint=request.plan or (PLAN if request.think else None))

    def enter(self, role: str, phases: Phases, but: Any = ()) -> Generator[Event, None, None]:
        yield from ()

    def has_latent(self, part: Subject, frame: Any) -> bool:
        return False

    def queue(self, part: Subject, frame: Any, *, back: bool) -> None:
        return None

    def encode(self, part: Subject, frame: Any, queued: None = None) -> NDArray[np.float32]:
        return to_painter(part.photo, frame)

    def shape(self, tensor: NDArray[np.float32]) -> tuple[int, ...]:
        return 1, 8, 4, 4

    def to_host(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        return tensor[:, :, ::8, ::8]

    def decoded_source(self, part: Subject, frame: Any) -> NDArray[np.float32]:
        return to_levels(to_painter(part.photo, frame))

    def paint(
        self, brief: Any, source: NDArray[np.float32], noise: Any, request: Any, phases: Phases, show: Any = None
    ) -> Generator[Event, None, NDArray[np.float32]]:
        paint = self.paints.pop(0) if len(self.paints) > 1 else self.paints[0]

        def work() -> Generator[Event, None, NDArray[np.float32]]:
            yield Progress("paint", 1)
            if show is not None:
                yield Preview(1, show(self.to_host(source)))
            return paint(source)

        return (yield from phases.stream("paint", 1, work()))

    def decode(self, latent: NDArray[np.float32]) -> NDArray[np.float32]:
        return latent

    def result(self, image: Any, painted: Any, brief: Any, request: Any, mode: str, phases: Phases) -> EditResult:
        return EditResult(image, painted, brief.blueprint, None, 0, 1, 1.0, mode, phases.seconds, "stand-in", "none")


def dot(x: int = 420, y: int = 150, radius: int = 40, deep: bool = False) -> Photo:
    """A shaded ground with fine grain and a red dot."""
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    ground = np.stack([100 + columns / 20, 140 + rows / 10, 130 + 0 * rows], -1)
    cover = np.clip(radius - np.hypot(columns - x, rows - y) + 0.5, 0, 1)[..., None]
    grain = np.random.default_rng(0).integers(-4, 5, (*ground.shape[:2], 1))
    pixels = np.clip(ground * (1 - cover) + np.array([220, 40, 40]) * cover + grain, 0, 255)
    return Photo((pixels * 257).astype(np.uint16) if deep else pixels.astype(np.uint8))


@pytest.fixture(scope="module")
def manifest(edit_bundle: Bundle) -> Any:
    return edit_bundle.manifest


def run(chain: StandIn, photo: Photo, options: EditOptions, manifest: Any) -> tuple[EditResult, list[Event]]:
    events: list[Event] = []
    request = resolve(options, manifest)
    work = editing.edit(chain, Subject(photo), "make the dot blue", request, Phases())  # type: ignore[arg-type]
    return drain(work, events.append, None), events


def outside(region: tuple[int, int, int, int] | None) -> NDArray[np.bool_]:
    x, y, width, height = region or (0, 0, 0, 0)
    kept = np.ones((SIZE[1], SIZE[0]), np.bool_)
    kept[y : y + height, x : x + width] = False
    return kept


def test_the_stand_in_has_what_a_chain_has() -> None:
    for name in ("frame", "design", "encode", "shape", "to_host", "decoded_source", "paint", "decode", "result"):
        assert callable(getattr(Chain, name)) and callable(getattr(StandIn, name))
    assert hasattr(Chain, "resolution")


def test_without_a_place_the_whole_photo_is_painted_once(manifest: Any) -> None:
    chain, photo = StandIn(recolour), dot()
    result, events = run(chain, photo, EditOptions(), manifest)
    assert chain.seen == [SIZE]
    assert (result.composite, result.window, result.closeup) == ("local", (0, 0, *SIZE), False)
    assert result.painted_scale == pytest.approx((128 * 128 / (640 * 480)) ** 0.5, abs=1e-4)
    np.testing.assert_array_equal(result.image[outside(result.region)], photo.pixels[outside(result.region)])
    assert result.region is not None and result.region[2] * result.region[3] < 0.2 * 640 * 480
    assert result.image[150, 420, 2] > 150 > result.image[150, 420, 0]
    phases = [event.phase for event in events if isinstance(event, PhaseStarted)]
    assert phases == ["condition", "encode", "paint", "decode", "composite"]


@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
def test_in_a_region_its_window_is_seen_and_painted(manifest: Any, deep: bool) -> None:
    chain, photo = StandIn(darken), dot(deep=deep)
    region = (380, 110, 80, 80)
    result, _ = run(chain, photo, EditOptions(region=region), manifest)
    left, top, right, bottom = context_window(SIZE, (380, 110, 460, 190), RESOLUTION)
    assert result.window == (left, top, right - left, bottom - top)
    assert chain.seen == [(right - left, bottom - top)]
    assert result.painted_scale == pytest.approx(128 / (right - left), abs=1e-3)
    assert result.region == region and result.image.dtype == photo.pixels.dtype
    np.testing.assert_array_equal(result.image[outside(region)], photo.pixels[outside(region)])
    middle = np.s_[140:160, 410:430]
    assert result.image[middle].mean() < 0.6 * photo.pixels[middle].mean()


@pytest.mark.parametrize("composite", ["auto", "tone", "local", "painted"])
def test_outside_a_mask_every_pixel_stays_in_every_mode(manifest: Any, composite: Any) -> None:
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    marked = np.hypot(columns - 420, rows - 150) < 60
    photo = dot()
    for mask in (marked, Mask(marked.astype(np.uint8) * np.uint8(255))):
        options = EditOptions(mask=mask, composite=composite, feather=10)
        result, _ = run(StandIn(darken), photo, options, manifest)
        np.testing.assert_array_equal(result.image[~marked], photo.pixels[~marked])
        assert result.composite == ("tone" if composite == "auto" else composite)
        assert result.image[150, 420].mean() < 0.7 * photo.pixels[150, 420].mean()


def test_alpha_stays(manifest: Any) -> None:
    alpha = np.arange(640 * 480, dtype=np.uint32).astype(np.uint8).reshape(480, 640)
    photo = replace(dot(), alpha=alpha)
    result, _ = run(StandIn(darken), photo, EditOptions(region=(380, 110, 80, 80)), manifest)
    np.testing.assert_array_equal(result.image[..., 3], alpha)
    np.testing.assert_array_equal(result.image[outside(result.region)][:, :3], photo.pixels[outside(result.region)])


def test_nothing_painted_is_the_photo_in_an_array_of_its_own(manifest: Any) -> None:
    photo = dot()
    for options in (EditOptions(), EditOptions(region=(380, 110, 80, 80)), EditOptions(closeup="always")):
        result, _ = run(StandIn(lambda pixels: pixels), photo, options, manifest)
        assert result.composite == "unchanged" and result.region == (0, 0, 0, 0)
        np.testing.assert_array_equal(result.image, photo.pixels)
        assert not np.shares_memory(result.image, photo.pixels)


def test_ten_masked_edits_in_a_row_leave_the_rest_exact(manifest: Any) -> None:
    photo = first = dot(deep=True)
    marked = np.zeros((SIZE[1], SIZE[0]), np.bool_)
    marked[100:200, 370:470] = True
    for turn in range(10):
        paint = darken if turn % 2 == 0 else (lambda pixels: np.clip(pixels + 0.4, -1, 1))
        result, _ = run(StandIn(paint), photo, EditOptions(mask=marked), manifest)
        assert result.composite != "unchanged"
        photo = Photo(result.image)
    np.testing.assert_array_equal(photo.pixels[~marked], first.pixels[~marked])
    assert (photo.pixels[marked] != first.pixels[marked]).mean() > 0.9


P3 = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0010, 0.0419, 0.7841]])
"""Display P3's primaries under D50."""


@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
def test_a_wide_gamut_photo_gets_the_painted_colours_in_its_own(manifest: Any, deep: bool) -> None:
    """Painted in sRGB, carried in the photo's space: as if the whole photo had gone there and back."""
    photo = replace(dot(deep=deep), icc=matrix_profile(P3, gamma_curve(2.2)))
    result, _ = run(StandIn(darken), photo, EditOptions(), manifest)
    assert result.composite == "tone" and result.image.dtype == photo.pixels.dtype
    painted = to_srgb(to_eight(photo.pixels), photo.icc).astype(np.float32) / 2
    truth = from_srgb(painted, photo.icc)
    assert np.abs(result.image / (257 if deep else 1) - truth).mean() < 1
    assert np.abs(painted - truth).mean() > 1
    place, _ = run(StandIn(darken), photo, EditOptions(region=(380, 110, 80, 80)), manifest)
    np.testing.assert_array_equal(place.image[outside(place.region)], photo.pixels[outside(place.region)])


# Close-ups


def test_a_closeup_paints_what_changed_again_after_the_same_plan(manifest: Any) -> None:
    chain, photo = StandIn(recolour), dot(radius=24)
    once, _ = run(StandIn(recolour), photo, EditOptions(closeup="never"), manifest)
    result, events = run(chain, photo, EditOptions(closeup="always", previews=True), manifest)
    assert result.closeup and result.composite == "local"
    assert len(chain.seen) == 2 and chain.seen[0] == SIZE
    assert chain.seen[1] == result.window[2:] and result.painted_scale > 1.25 * once.painted_scale
    assert chain.plans == [None, PLAN]
    assert len([event for event in events if isinstance(event, PlanReady)]) == 1
    assert len([event for event in events if isinstance(event, Preview)]) == 1
    x, y, width, height = result.region or (0, 0, 0, 0)
    across, down, wide, high = once.region or (0, 0, 0, 0)
    assert across <= x and down <= y and x + width <= across + wide and y + height <= down + high
    np.testing.assert_array_equal(result.image[outside(once.region)], photo.pixels[outside(once.region)])
    assert result.image[150, 420, 2] > 150 > result.image[150, 420, 0]
    finished = [event for event in events if isinstance(event, PhaseFinished) and event.phase == "paint"]
    assert result.timings["paint"] == pytest.approx(sum(event.seconds for event in finished))


def test_a_closeup_that_shows_something_else_is_dropped(manifest: Any) -> None:
    photo = dot(radius=24)
    once, _ = run(StandIn(recolour), photo, EditOptions(closeup="never"), manifest)
    for other in (lambda pixels: pixels, lambda pixels: -pixels):
        result, _ = run(StandIn(recolour, other), photo, EditOptions(closeup="always"), manifest)
        assert not result.closeup and result.window == (0, 0, *SIZE)
        np.testing.assert_array_equal(result.image, once.image)


def test_a_change_of_everything_has_no_closeup(manifest: Any) -> None:
    chain = StandIn(darken)
    result, _ = run(chain, dot(), EditOptions(closeup="always"), manifest)
    assert len(chain.seen) == 1 and result.composite == "tone" and not result.closeup
    assert result.region == (0, 0, *SIZE)


def test_a_closeup_in_a_mask_stays_in_it(manifest: Any) -> None:
    photo = dot(x=200, radius=20)
    marked = np.zeros((SIZE[1], SIZE[0]), np.bool_)
    marked[20:460, 20:620] = True
    marked[:, 195:] = False
    result, _ = run(StandIn(recolour), photo, EditOptions(mask=marked, closeup="always"), manifest)
    assert result.closeup
    np.testing.assert_array_equal(result.image[~marked], photo.pixels[~marked])
    assert (result.image[140:160, 185:192] != photo.pixels[140:160, 185:192]).any()


# Previews, and what doesn't go together


def test_previews_of_a_window_show_it_in_its_place(manifest: Any) -> None:
    photo = dot()
    _, events = run(StandIn(recolour), photo, EditOptions(region=(380, 110, 80, 80), previews=True), manifest)
    (preview,) = [event for event in events if isinstance(event, Preview)]
    assert preview.image.shape == (192, 256, 3)
    corner = preview.image[150:190, 5:60].astype(int)
    assert np.abs(corner.mean((0, 1)) - photo.pixels[375:475, 12:150].mean((0, 1))).max() < 3


def test_a_mask_of_another_size_is_refused_before_anything_is_painted(manifest: Any) -> None:
    chain = StandIn(recolour)
    with pytest.raises(InputError, match="the mask is 100 x 100 and the photo is 640 x 480"):
        run(chain, dot(), EditOptions(mask=np.ones((100, 100), np.bool_)), manifest)
    with pytest.raises(InputError, match="leaves the photo, which is 640 x 480"):
        run(chain, dot(), EditOptions(region=(600, 0, 50, 50)), manifest)
    with pytest.raises(InputError, match="marks nothing"):
        run(chain, dot(), EditOptions(mask=np.zeros((480, 640), np.bool_)), manifest)
    assert chain.seen == []


def test_the_painted_picture_itself(manifest: Any) -> None:
    result, _ = run(StandIn(recolour), dot(), EditOptions(composite="none"), manifest)
    assert result.image.shape == (128, 128, 3) and result.region is None and result.window == (0, 0, *SIZE)
    square, _ = run(StandIn(recolour), dot(), EditOptions(frame="crop"), manifest)
    assert square.image.shape == (128, 128, 3) and square.window is not None and square.window[2:] == (482, 480)
    assert square.painted_scale == pytest.approx(128 / 481, abs=1e-3)
