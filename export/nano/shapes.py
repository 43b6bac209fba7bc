"""Drawing of the toy scenes: flat shapes with antialiased edges on textured backgrounds, in numpy."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SIDE = 128
"""Side in pixels of the pictures that the model sees; everything can be drawn at others too."""

Floats = NDArray[np.float32]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "orange": (245, 140, 30),
    "yellow": (250, 220, 50),
    "green": (40, 160, 70),
    "blue": (40, 90, 220),
    "purple": (140, 60, 180),
    "pink": (245, 130, 180),
    "brown": (130, 80, 40),
    "black": (30, 30, 34),
    "white": (245, 245, 245),
}
SIZES: dict[str, float] = {"small": 0.085, "medium": 0.125, "large": 0.165}
"""Radius as a share of the picture's side."""

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "sky": (150, 200, 240),
    "mint": (170, 225, 195),
    "cream": (245, 232, 200),
    "lavender": (205, 190, 235),
    "navy": (35, 45, 90),
    "gray": (150, 150, 155),
    "sand": (215, 190, 145),
    "forest": (60, 95, 65),
    "white": (255, 255, 255),
}
TEXTURES = ("plain", "striped", "checkered", "dotted", "gradient", "cloudy")


@lru_cache(maxsize=4)
def _places(side: int) -> tuple[Floats, Floats]:
    """Down and across (0 to 1) of every pixel's centre, both [side, side]."""
    down, across = ((axis + 0.5) / side for axis in np.mgrid[0:side, 0:side].astype(np.float32))
    return down, across


def _circle(x: Floats, y: Floats) -> Floats:
    return np.hypot(x, y) - 1


def _square(x: Floats, y: Floats) -> Floats:
    return np.maximum(abs(x), abs(y)) - 0.86


def _diamond(x: Floats, y: Floats) -> Floats:
    return (abs(x) + abs(y) - 1.15) / np.sqrt(2)


def _ring(x: Floats, y: Floats) -> Floats:
    return abs(np.hypot(x, y) - 0.76) - 0.26


def _cross(x: Floats, y: Floats) -> Floats:
    across, along = abs(x), abs(y)
    return np.maximum(np.minimum(across, along) - 0.32, np.maximum(across, along) - 0.95)


def _triangle(x: Floats, y: Floats) -> Floats:
    return np.maximum(y - 0.72, (abs(x) * 1.9 - (y + 1.0)) / 2.147)


def _star(x: Floats, y: Floats) -> Floats:
    # Fold the plane into one of ten sectors, then measure the distance to the edge from a tip to an inner corner.
    sector = np.pi / 5
    folded = abs((np.arctan2(x, -y) + sector) % (2 * sector) - sector)
    radius = np.hypot(x, y)
    tip, corner_x, corner_y = 1.15, 0.5 * np.cos(sector), 0.5 * np.sin(sector)
    edge_x, edge_y = corner_x - tip, corner_y
    away_x, away_y = radius * np.cos(folded) - tip, radius * np.sin(folded)
    return (away_x * edge_y - away_y * edge_x) / np.hypot(edge_x, edge_y)


def _heart(x: Floats, y: Floats) -> Floats:
    across, up = abs(x), 0.1 - y
    lobe = np.hypot(across - 0.48, up - 0.35) - 0.55
    point = np.maximum(across * 0.8 - (up + 1.0) * 0.6, up - 0.35)
    return np.minimum(lobe, point)


SHAPES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "diamond": _diamond,
    "ring": _ring,
    "cross": _cross,
}
"""Signed distance (negative inside) of each shape at unit size, x to the right and y downwards."""


def draw_shape(picture: Floats, shape: str, colour: str, size: str, x: float, y: float) -> None:
    """Paint one shape over `picture` (float32 [side,side,3], 0 to 255) with its centre at `x`, `y` (0 to 1)."""
    side = picture.shape[0]
    rows, columns = _places(side)
    radius = SIZES[size]
    reach = radius * 1.3
    left, right = max(0, int((x - reach) * side)), min(side, int((x + reach) * side) + 2)
    top, bottom = max(0, int((y - reach) * side)), min(side, int((y + reach) * side) + 2)
    window = np.s_[top:bottom, left:right]
    across, down = (columns[window] - x) / radius, (rows[window] - y) / radius
    cover = np.clip(0.5 - SHAPES[shape](across, down) * radius * side, 0, 1)[..., None]
    light = 1.04 - 0.16 * (down * 0.7 + across * 0.5)[..., None]
    paint = np.clip(np.array(COLOURS[colour], np.float32) * light, 0, 255)
    picture[window] += (paint - picture[window]) * cover


def draw_background(texture: str, colour: str, seed: int, side: int = SIDE) -> Floats:
    """A background, float32 [side,side,3] in 0 to 255. `seed` fixes pitch and noise of the texture."""
    base = np.array(BACKGROUNDS[colour], np.float32)
    dark = base.mean() < 110
    second = base * 1.25 + 12 if dark else base * 0.82
    rng = np.random.default_rng((seed, 11))
    share = _TEXTURE_SHARE[texture](rng, side)[..., None]
    if texture == "gradient":
        second = base * 0.6 + (60 if dark else 0)
    elif texture == "cloudy":
        second = base * 1.45 + 18
    return np.clip(base * (1 - share) + second * share, 0, 255).astype(np.float32)


def _plain(rng: np.random.Generator, side: int) -> Floats:
    return np.zeros((side, side), np.float32)


def _striped(rng: np.random.Generator, side: int) -> Floats:
    row, column = _places(side)
    wave = np.sin((column + row * rng.integers(0, 2)) * 2 * np.pi * rng.integers(5, 8))
    return np.clip(wave * 3 + 0.5, 0, 1)


def _checkered(rng: np.random.Generator, side: int) -> Floats:
    row, column = _places(side)
    turns = 2 * np.pi * rng.integers(3, 5)
    return np.clip(np.sin(column * turns) * np.sin(row * turns) * 12 + 0.5, 0, 1)


def _dotted(rng: np.random.Generator, side: int) -> Floats:
    row, column = _places(side)
    count = rng.integers(7, 10)
    radius = np.hypot((column * count) % 1 - 0.5, (row * count) % 1 - 0.5)
    return np.clip((0.26 - radius) * side / count + 0.5, 0, 1)


def _gradient(rng: np.random.Generator, side: int) -> Floats:
    return _places(side)[0]


def _cloudy(rng: np.random.Generator, side: int) -> Floats:
    return value_noise(rng, side, (3, 6, 12), (1.0, 0.5, 0.25)) - 0.55


_TEXTURE_SHARE: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "plain": _plain,
    "striped": _striped,
    "checkered": _checkered,
    "dotted": _dotted,
    "gradient": _gradient,
    "cloudy": _cloudy,
}


def value_noise(rng: np.random.Generator, side: int, cells: tuple[int, ...], weights: tuple[float, ...]) -> Floats:
    """Smooth noise, float32 [side,side]: the weighted sum of random grids of `cells`, smoothly interpolated."""
    total = np.zeros((side, side), np.float32)
    for count, weight in zip(cells, weights, strict=True):
        grid = rng.random((count + 1, count + 1), dtype=np.float32)
        at = (np.arange(side, dtype=np.float32) + 0.5) / side * count
        low = at.astype(np.int64)
        mix = at - low
        mix = mix * mix * (3 - 2 * mix)
        rows = grid[low] * (1 - mix[:, None]) + grid[low + 1] * mix[:, None]
        total += weight * (rows[:, low] * (1 - mix) + rows[:, low + 1] * mix)
    return total
