"""A colour change as one smooth map of colours, fitted on the small pictures and applied to the large one.

The map is a global affine transform plus a table of deviations over the colour cube, smooth where few colours were
seen. It is fitted robustly, so that what a few places do differently doesn't pull it, and values that the edit clipped
at black or white only say "at least this far" (a censored fit): clipping happens after the map, at full size.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from dimrt.photo.lookup import interpolate
from dimrt.photo.photo import Samples

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

NODES = 9
"""Table nodes along each colour axis, placed evenly in value ** WARP, so that they are denser in the darks."""
WARP = 0.6
COUPLED = 2 * NODES**2
"""Rows of two layers of the table, the furthest that its equations reach."""
OFFSETS = np.array([(red * NODES + green) * NODES + blue for red in (0, 1) for green in (0, 1) for blue in (0, 1)])
"""Where the eight corners of a cell of the table lie, from its first."""
SMOOTHNESS = 3e-4
"""Weight of the squared second differences of the table against the mean squared error."""
RIDGE = 3e-6
"""Weight of the squared table itself: colours never seen follow the affine transform."""
SAMPLES = 65_536
"""Colours used for the fit at most; larger pictures are averaged down."""
ROUNDS = 3
CLIPPED = 2.5 / 255
"""Values of the edit nearer than this to black or white count as clipped."""
LOOKUP = 65
"""Nodes along an axis of the table that is applied; the most that Pillow takes."""
IDLE = (0.75 / 255, 2.5 / 255)
"""Changes below the first are none, above the second they are full: colours the edit leaves alone stay exactly."""


@dataclass(frozen=True)
class _Group:
    """Colours that lie between the same nodes of the table: their rows, and the eight nodes."""

    rows: slice
    nodes: NDArray[np.int64]


@dataclass(frozen=True)
class Tone:
    """A fitted map of colours.

    Attributes:
        table: float32 [LOOKUP, LOOKUP, LOOKUP, 3], the new colour by red, green and blue, in [0, 1] before clipping.
    """

    table: Floats

    def apply(self, pixels: Samples) -> Samples:
        """The map on uint8 or uint16 [H, W, 3], by trilinear interpolation, to the same type.

        Give a large photo in strips: both ways take several times the memory of what they work on.
        """
        if pixels.dtype == np.uint16:
            return interpolate(self.table, pixels)
        return np.asarray(Image.fromarray(pixels).filter(self._filter))

    @cached_property
    def _filter(self) -> ImageFilter.Color3DLUT:
        ordered = np.ascontiguousarray(self.table.transpose(2, 1, 0, 3)).reshape(-1)
        return ImageFilter.Color3DLUT(LOOKUP, ordered, channels=3, target_mode="RGB")

    def predict(self, picture: Floats) -> Floats:
        """The map on float levels [h, w, 3], rounded before and after."""
        levels = np.floor(np.clip(picture, 0, 255) + np.float32(0.5)).astype(np.uint8)
        return self.apply(levels).astype(np.float32)


def fit_tone(source: Floats, edit: Floats, inside: NDArray[np.bool_] | None = None) -> Tone:
    """Fit the map that takes the colours of `source` to those of `edit`.

    Args:
        source, edit: float32 [h, w, 3], 0 to 255, of the same size.
        inside: [h, w], where to look; None for everywhere.
    """
    before, after = _samples(source), _samples(edit)
    if inside is not None:
        looked_at = _samples(inside[..., None] * np.float32(255))[:, 0] > 0.5
        if looked_at.any():
            before, after = before[looked_at], after[looked_at]
    weights = np.ones(len(before))
    affine = _fit_affine(before, after, weights)
    base = _with_one(before) @ affine
    cells, shares = _cells(before)
    order = np.argsort(cells, kind="stable")
    after, base, shares = after[order], base[order], shares[order]
    groups = _groups(cells[order])
    penalty = _penalty()
    deviation = np.zeros((NODES**3, 3))
    for _ in range(ROUNDS):
        predicted = base.copy()
        for group in groups:
            predicted[group.rows] += shares[group.rows] @ deviation[group.nodes]
        error = _censored(after, predicted)
        weights = _huber(error)
        normal, right = _normal_equations(groups, shares, weights, predicted + error - base)
        deviation = _solve(normal + weights.sum() * penalty, right)
    return Tone(_lookup(affine, deviation))


def _samples(picture: Floats) -> Doubles:
    """Colours of the picture in [0, 1], [N, c], averaged over blocks when there are more than `SAMPLES`."""
    height, width = picture.shape[:2]
    block = int(np.ceil(np.sqrt(height * width / SAMPLES)))
    if block > 1:
        height, width = height // block * block, width // block * block
        blocks = picture[:height, :width].reshape(height // block, block, width // block, block, -1)
        picture = blocks.mean(axis=(1, 3))
    return picture.reshape(-1, picture.shape[2]).astype(np.float64) / 255


def _with_one(colours: Doubles) -> Doubles:
    return np.concatenate([colours, np.ones((len(colours), 1))], axis=1)


def _fit_affine(before: Doubles, after: Doubles, weights: Doubles) -> Doubles:
    """Robust affine transform [4, 3], drawn to the identity where the picture has too few colours to tell."""
    extended = _with_one(before)
    affine = np.eye(4, 3)
    draw = 1e-5 * len(before) * np.eye(4)
    for _ in range(ROUNDS):
        error = _censored(after, extended @ affine)
        weights = _huber(error)
        gram = extended.T @ (extended * weights[:, None]) + draw
        affine += np.linalg.solve(gram, extended.T @ (error * weights[:, None]) + draw @ (np.eye(4, 3) - affine))
    return affine


def _censored(after: Doubles, predicted: Doubles) -> Doubles:
    """`after - predicted`, zero where the edit is clipped and the prediction lies beyond the clipping."""
    error: Doubles = after - predicted
    beyond: NDArray[np.bool_] = ((after > 1 - CLIPPED) & (error < 0)) | ((after < CLIPPED) & (error > 0))
    kept: Doubles = np.where(beyond, 0.0, error)
    return kept


def _huber(error: Doubles) -> Doubles:
    """Weights [N] of the Huber loss at 1.5 robust standard deviations (at least one level)."""
    size = np.sqrt(np.einsum("nc,nc->n", error, error) / error.shape[1])
    scale = max(1.5 * 1.4826 * float(np.median(size)), 1 / 255)
    weights: Doubles = np.minimum(1, scale / np.maximum(size, 1e-12))
    return weights


def _cells(colours: Doubles) -> tuple[NDArray[np.int64], Doubles]:
    """The first of the eight table nodes around each colour [N], and the trilinear shares of all eight [N, 8]."""
    place = np.clip(colours, 0, 1) ** WARP * (NODES - 1)
    lower = np.minimum(place.astype(np.int64), NODES - 2)
    upper_share = place - lower
    first = (lower[:, 0] * NODES + lower[:, 1]) * NODES + lower[:, 2]
    sides = np.stack([1 - upper_share, upper_share], axis=-1)
    shares = sides[:, 0, :, None, None] * sides[:, 1, None, :, None] * sides[:, 2, None, None, :]
    return first, shares.reshape(-1, 8)


def _groups(cells: NDArray[np.int64]) -> list[_Group]:
    """Of colours in the order of their cells [N], those of each cell."""
    used, starts = np.unique(cells, return_index=True)
    ends = [*starts[1:], len(cells)]
    return [_Group(slice(a, b), cell + OFFSETS) for cell, a, b in zip(used, starts, ends, strict=True)]


def _normal_equations(
    groups: list[_Group], shares: Doubles, weights: Doubles, target: Doubles
) -> tuple[Doubles, Doubles]:
    """Least squares of the table's interpolation: matrix [K, K] and right-hand side [K, 3]."""
    count = NODES**3
    matrix, right = np.zeros((count, count)), np.zeros((count, 3))
    weighted = shares * weights[:, None]
    for group in groups:
        mine = weighted[group.rows].T
        matrix[group.nodes[:, None], group.nodes] += mine @ shares[group.rows]
        right[group.nodes] += mine @ target[group.rows]
    return matrix, right


def _solve(matrix: Doubles, right: Doubles) -> Doubles:
    """Solve a symmetric positive definite system [K, K] for a right-hand side [K, 3], by blocks of `COUPLED` rows.

    No node is in an equation with one further than two layers away, so the matrix is block tridiagonal. Besides taking
    less than half of the arithmetic, blocks of this size are too small for the threads of a BLAS, which wait for each
    other many times in one large factorization: on a busy machine that takes a hundred times as long.
    """
    starts = range(0, len(matrix), COUPLED)
    rows = [slice(start, start + COUPLED) for start in starts]
    inner, outer = matrix[rows[0], rows[0]], right[rows[0]]
    reduced = []
    for this, after in pairwise(rows):
        beside = matrix[this, after]
        found = np.linalg.solve(inner, np.concatenate([beside, outer], axis=1))
        passed, constant = found[:, : beside.shape[1]], found[:, beside.shape[1] :]
        reduced.append((passed, constant))
        inner, outer = matrix[after, after] - beside.T @ passed, right[after] - beside.T @ constant
    solved = [np.linalg.solve(inner, outer)]
    for passed, constant in reversed(reduced):
        solved.append(constant - passed @ solved[-1])
    return np.concatenate(solved[::-1])


@cache
def _penalty() -> Doubles:
    """Quadratic form [K, K] of all second differences (pure and mixed) of the table, plus the ridge."""
    unit = np.eye(NODES)
    first, second = np.diff(unit, axis=0), np.diff(unit, n=2, axis=0)
    pure, mixed = second.T @ second, first.T @ first
    total = np.zeros((NODES**3, NODES**3))
    for axis in range(3):
        total += _product([pure if index == axis else unit for index in range(3)])
        total += _product([unit if index == axis else mixed for index in range(3)])
    return SMOOTHNESS * total + RIDGE * np.eye(NODES**3)


def _product(factors: list[Doubles]) -> Doubles:
    return np.kron(np.kron(factors[0], factors[1]), factors[2])


def _lookup(affine: Doubles, deviation: Doubles) -> Floats:
    """The whole map on an even grid over the colour cube; colours it hardly changes stay exactly."""
    axis = np.linspace(0, 1, LOOKUP)
    place = axis**WARP * (NODES - 1)
    hats = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(NODES))).astype(np.float32)
    table = deviation.reshape(NODES, NODES, NODES, 3).astype(np.float32)
    for _ in range(3):
        table = np.moveaxis(np.tensordot(hats, table, axes=(1, 0)), 0, 2)
    cube = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).astype(np.float32)
    change = cube @ (affine[:3] - np.eye(3)).astype(np.float32)
    change += table
    change += affine[3].astype(np.float32)
    red, green, blue = np.moveaxis(np.abs(change), -1, 0)
    size = np.maximum(np.maximum(red, green), blue)[..., None]  # along so short an axis, max takes ten times as long
    step = np.clip((size - np.float32(IDLE[0])) / np.float32(IDLE[1] - IDLE[0]), 0, 1)
    change *= step * step * (3 - 2 * step)
    cube += change
    return cube
