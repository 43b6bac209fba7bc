"""Toy scenes: named shapes on a named background, sampled, rendered and put into words."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dimrt.export.nano.shapes import (
    BACKGROUNDS,
    COLOURS,
    SHAPES,
    SIDE,
    SIZES,
    TEXTURES,
    draw_background,
    draw_shape,
)

ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "center", "right")
CELLS = tuple((row, column) for row in range(3) for column in range(3))

Rng = np.random.Generator
Cell = tuple[int, int]


@dataclass(frozen=True)
class Item:
    """One shape. `x` and `y` are its centre (0 to 1), `cell` its place on the 3 x 3 grid (row, column)."""

    shape: str
    colour: str
    size: str
    cell: Cell
    x: float
    y: float

    @property
    def name(self) -> str:
        return f"{self.size} {self.colour} {self.shape}"

    @property
    def place(self) -> str:
        return place_name(self.cell)

    @property
    def placed_name(self) -> str:
        return f"{self.name} {self.place}"


@dataclass(frozen=True)
class Background:
    """A textured background. `seed` fixes the texture's pitch and noise."""

    texture: str
    colour: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.texture} {self.colour}"


@dataclass(frozen=True)
class Scene:
    """What a picture shows. Items keep the reading order of their cells."""

    background: Background
    items: tuple[Item, ...]

    def layout(self) -> str:
        """The scene in words, e.g. `striped navy background, large red circle top left`."""
        parts = [f"{self.background.name} background", *(item.placed_name for item in self.items)]
        return ", ".join(parts)

    def with_items(self, items: list[Item]) -> "Scene":
        return replace(self, items=tuple(sorted(items, key=lambda item: item.cell)))


def place_name(cell: Cell) -> str:
    """`top left`, `middle right`, …, and `center` for the middle cell."""
    return "center" if cell == (1, 1) else f"{ROWS[cell[0]]} {COLUMNS[cell[1]]}"


def pick(rng: Rng, options: "list[str] | tuple[str, ...] | dict") -> str:
    """One of the options, all alike likely."""
    options = list(options)
    return options[int(rng.integers(len(options)))]


def stands_out(colour: str, background: Background) -> bool:
    """Whether a shape of this colour can be seen on the background."""
    difference = np.subtract(COLOURS[colour], BACKGROUNDS[background.colour])
    return bool(abs(difference).max() > 60)


def centred(cell: Cell) -> tuple[float, float]:
    """`x` and `y` of a cell's middle."""
    return (cell[1] + 0.5) / 3, (cell[0] + 0.5) / 3


def sample_background(rng: Rng) -> Background:
    colours = [colour for colour in BACKGROUNDS if colour != "white"]
    return Background(pick(rng, TEXTURES), pick(rng, colours), int(rng.integers(1_000_000)))


def sample_item(
    rng: Rng, cell: Cell, background: Background, others: tuple[Item, ...], given: dict[str, str] | None = None
) -> Item:
    """A shape at `cell` that can be seen and shares colour and shape with no other item; `given` fixes properties."""
    taken = {(item.colour, item.shape) for item in others}
    given = given or {}
    while True:
        shape = given.get("shape") or pick(rng, SHAPES)
        colour = given.get("colour") or pick(rng, COLOURS)
        size = given.get("size") or pick(rng, SIZES)
        if stands_out(colour, background) and (colour, shape) not in taken:
            break
    x, y = centred(cell)
    return Item(shape, colour, size, cell, x + float(rng.uniform(-0.02, 0.02)), y + float(rng.uniform(-0.02, 0.02)))


def sample_scene(rng: Rng, count: int) -> Scene:
    """A scene of `count` items, at most nine, no two of them with the same colour and shape.

    In three of ten scenes all items but the first share their colour, shape or size, so that one can be the odd one.
    """
    background = sample_background(rng)
    items: list[Item] = []
    shared = pick(rng, ("colour", "shape", "size")) if rng.random() < 0.3 else None
    for index in rng.permutation(len(CELLS))[:count]:
        like = getattr(items[1], shared) if shared and len(items) > 1 else None
        items.append(sample_item(rng, CELLS[index], background, tuple(items), like and {shared: like}))
    return Scene(background, ()).with_items(items)


def render(scene: Scene, side: int = SIDE) -> NDArray[np.uint8]:
    """The scene as uint8 [side,side,3]."""
    background = scene.background
    picture = draw_background(background.texture, background.colour, background.seed, side)
    for item in scene.items:
        draw_shape(picture, item.shape, item.colour, item.size, item.x, item.y)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)
