"""What a caller may ask of one edit. `None` means the bundle's own default."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dimrt.blueprint import Blueprint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dimrt.photo.mask import Mask


@dataclass(frozen=True)
class EditOptions:
    """Options of one request, validated by the editor against the bundle it runs on.

    Args:
        steps: painter steps, at least 1 (the original runs 30).
        guidance_scale: classifier-free guidance scale; 1 evaluates the conditional row only (the original: 7.5).
        guidance_interval: lowest and highest noise level (0 clean, 1 pure noise) of the steps that are guided; the
            others evaluate the conditional row only, which takes half the time. None guides all steps, as the original
            does. Where there is no guidance there is no interval either.
        schedule: whose steps a distilled painter takes: "student" is its own few, without guidance; "teacher" is the
            solver of the painter it was distilled from. "auto" is the student's where there is one. A painter that was
            not distilled knows the teacher's alone.
        seed: seed of the start noise, 0 to 2**63 - 1.
        plan: a ready plan (parsed or as text) in place of the designer's own.
        plan_style: style of the designer's plan, one that the bundle knows ("full"; "brief": only the sections that the
            painter needs, which is sooner written); None is the full plan.
        think: whether the designer writes a plan; without it and without `plan` the bare instruction is painted.
        max_new_tokens: limit of the plan's length in tokens.
        plan_view: picture the designer sees while planning: "shared" (the condition's resolution, so that both turns
            share one prefix) or "native" (the photo's own size, as the original does).
        frame: "whole" paints the whole photo, "crop" paints the original's centre square crop and returns that square.
        composite: how the painted change reaches the full-size photo: "tone" (one map of colours), "local" (changed
            region blended in), "painted" (the painted picture enlarged), "none" (the painted picture itself at model
            resolution); "auto" picks one of the first three.
        mask: what the edit may change: from `dimrt.photo.mask.read_mask`, or an array [H, W] of the photo's size (bool,
            or uint8 where 255 is fully and 0 not at all). What is marked and its surroundings are what designer and
            painter see; outside the mask every pixel stays exactly the photo's.
        region: the same as a rectangle of the upright photo: x, y, width, height in pixels. A mask or a region, not
            both.
        feather: pixels at full size over which the edit fades in from the mask's or region's edge inwards; None
            chooses, 0 is a hard edge.
        closeup: whether what changed in one place is painted once more, after the same plan, on a crop around it, at
            the resolution that the crop gives: "always" does where there is such a crop, and keeps it where it shows
            the same as the first painting; it takes twice the time. "never" and "auto" don't: what is known so far
            (benchmarks/closeup.py) is that the crop shows more, and that nano doesn't paint it better.
        tile: side in pixels of the overlapping tiles in which the autoencoder takes a larger picture, so that its
            memory is that of one tile: a multiple of its factor, 8 times that at least. None takes the picture whole
            where there is room, and else in the largest tiles that fit; `EditResult.tile` says which it was.
        previews: whether a `Preview` event follows each painter step (edits only).
    """

    steps: int | None = None
    guidance_scale: float | None = None
    guidance_interval: tuple[float, float] | None = None
    schedule: Literal["auto", "student", "teacher"] = "auto"
    seed: int | None = None
    plan: Blueprint | str | None = None
    plan_style: str | None = None
    think: bool = True
    max_new_tokens: int | None = None
    plan_view: Literal["shared", "native"] = "shared"
    frame: Literal["whole", "crop"] = "whole"
    composite: Literal["auto", "tone", "local", "painted", "none"] = "auto"
    mask: "Mask | NDArray[Any] | None" = None
    region: tuple[int, int, int, int] | None = None
    feather: float | None = None
    closeup: Literal["auto", "never", "always"] = "auto"
    tile: int | None = None
    previews: bool = False
