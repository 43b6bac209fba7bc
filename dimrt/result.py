"""What an edit returns, whole or step by step."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dimrt.blueprint import Blueprint
from dimrt.photo.photo import Samples


@dataclass(frozen=True)
class Design:
    """What the designer hands to the painter.

    Attributes:
        blueprint: the plan, or None when the bare instruction was used.
        condition: float32 [N, condition_channels].
    """

    blueprint: Blueprint | None
    condition: NDArray[np.float32]


@dataclass(frozen=True)
class Writing:
    """What writing a plan took: its tokens, and the runs of the language graph for them.

    Fewer runs than tokens: some were guessed and only confirmed (`dimrt.drafts`).
    """

    tokens: int
    passes: int


@dataclass(frozen=True)
class EditResult:
    """A finished picture and how it came to be.

    Attributes:
        image: of the photo's type (uint8 or uint16) and size, [H, W, 3], or [H, W, 4] when it has alpha. For frame
            "crop", for composite "none" and for generate it is `painted` itself.
        painted: uint8 [h, w, 3], the painter's picture at model resolution.
        blueprint: the plan, or None when the bare instruction was painted.
        plan_style: the style in which the designer wrote the plan; None when it wrote none.
        writing: what the designer's plan took; None when it wrote none.
        seed, steps, guidance_scale: what really ran.
        composite: how the change reached the photo: "tone", "local", "painted", "none", or "unchanged" when the
            painter changed nothing beyond noise and `image` is the photo itself.
        timings: seconds of each phase.
        bundle: name of the bundle.
        provider: backend and provider that really ran.
        window: x, y, width, height: the part of the photo that was painted, in its pixels; None without a photo.
        region: x, y, width, height outside of which every pixel is the photo's; 0 wide where nothing changed, None
            where `image` isn't the photo at its own size.
        painted_scale: painted pixels for each pixel of the window, along a side: below 1, what was newly drawn is
            that much coarser than the photo.
        tile: side in pixels of the tiles that the autoencoder took the picture in; None when it took it whole.
        guidance_interval: noise levels that were guided; None for all of them.
        loading: seconds that loading each graph took which was not there yet; together they are the phase "load".
        closeup: whether what changed was painted once more, on a crop around it (`window`).
    """

    image: Samples
    painted: NDArray[np.uint8]
    blueprint: Blueprint | None
    plan_style: str | None
    seed: int
    steps: int
    guidance_scale: float
    composite: str
    timings: dict[str, float]
    bundle: str
    provider: str
    window: tuple[int, int, int, int] | None = None
    region: tuple[int, int, int, int] | None = None
    painted_scale: float = 1.0
    closeup: bool = False
    writing: Writing | None = None
    guidance_interval: tuple[float, float] | None = None
    tile: int | None = None
    loading: dict[str, float] = field(default_factory=dict)
