"""Rotary positions of the designer's text decoder (multimodal rotary embedding of Qwen2.5-VL)."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dimrt.manifest import Language, Tokens


def position_ids(
    ids: NDArray[np.int64], tokens: Tokens, grids: Sequence[tuple[int, int]]
) -> tuple[NDArray[np.int64], int]:
    """Time, row and column position of each token.

    Text counts up by one on all three axes; the tokens of a picture share one time and take their row and column;
    the text after it goes on from the largest position.

    Args:
        ids: token ids [L].
        tokens: the special ids.
        grids: merged tokens (rows, columns) of each picture, in order.

    Returns:
        int64 [3, L], and the delta to add to an index past the end to get its position.
    """
    positions = np.empty((3, len(ids)), np.int64)
    index, position = 0, 0
    remaining = list(grids)
    while index < len(ids):
        if ids[index] == tokens.image_pad:
            rows, columns = remaining.pop(0)
            count = rows * columns
            positions[0, index : index + count] = position
            positions[1:, index : index + count] = position + np.indices((rows, columns)).reshape(2, -1)
            index += count
            position += max(rows, columns)
        else:
            positions[:, index] = position
            index += 1
            position += 1
    return positions, position - len(ids)


def text_positions(start: int, count: int, delta: int) -> NDArray[np.int64]:
    """Positions [3, count] of text at the indices `start`… after everything that `delta` accounts for."""
    return np.arange(start + delta, start + delta + count, dtype=np.int64)[None].repeat(3, axis=0)


def rotary(positions: NDArray[np.int64], language: Language) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines and sines [1, L, head_dim / 2] float32: each section of the frequencies follows its own axis."""
    axis, frequencies = _frequencies(language.head_dim, language.rope_theta, tuple(language.mrope_section))
    angles = positions[axis].T.astype(np.float32) * frequencies
    return np.cos(angles)[None], np.sin(angles)[None]


@lru_cache(maxsize=8)  # asked for with every token
def _frequencies(
    head_dim: int, theta: float, sections: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Of each pair of channels the axis whose position turns it, and how fast."""
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    return np.repeat(np.arange(3), sections), np.float32(1) / np.float32(theta) ** exponents
