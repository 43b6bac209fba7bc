"""Arithmetic of a comparison: medians, ratios of the same round, and whether the sides did the same work."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

OURS = "dimrt"
SAME_TENSOR = 1e-3
"""Norm of the difference over the norm: what another order of summing in float32 does not reach."""


def table(runs: Mapping[str, Sequence[Mapping[str, Any]]], base: str = OURS) -> dict[str, Any]:
    """Per side and timed part: median, least and all rounds; and how many times as fast `base` is.

    A ratio is of two times of one round: the other side's seconds by the base's, over 1 where the base is faster.
    """
    seconds = {side: _parts(rounds) for side, rounds in runs.items()}
    sides = {
        side: {
            part: {
                "median_s": _short(statistics.median(s)),
                "min_s": _short(min(s)),
                "rounds_s": [_short(x) for x in s],
            }
            for part, s in parts.items()
        }
        for side, parts in seconds.items()
    }
    ours = seconds.get(base, {})
    ratios = {
        side: {part: _spread(s, ours[part]) for part, s in parts.items() if part in ours}
        for side, parts in seconds.items()
        if side != base and ours
    }
    return {"sides": sides, "times_as_fast_as": ratios}


def same_tokens(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """How many of the first tokens of each side's last run are dimrt's, of how many."""
    written = {side: list(rounds[-1]["tokens"]) for side, rounds in runs.items() if "tokens" in rounds[-1]}
    ours = written.get(OURS)
    if ours is None:
        return {}
    return {
        side: {"equal": tokens == ours, "first_equal": _common(tokens, ours), "of": len(ours)}
        for side, tokens in written.items()
        if side != OURS
    }


def same_tensors(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Norm of each side's difference from dimrt's tensor over that one's norm; another shape is no peer."""
    ours = tensors.get(OURS)
    if ours is None:
        return {}
    rows: dict[str, Any] = {}
    for side, tensor in tensors.items():
        if side == OURS:
            continue
        if tensor.shape != ours.shape:
            rows[side] = {"equal": False, "shape": list(tensor.shape), "expected": list(ours.shape)}
            continue
        far = float(np.linalg.norm(tensor.astype(np.float64) - ours) / np.linalg.norm(ours.astype(np.float64)))
        rows[side] = {"equal": far <= SAME_TENSOR, "relative_difference": float(f"{far:.2e}")}
    return rows


def _parts(rounds: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    return {part: [float(run["seconds"][part]) for run in rounds] for part in rounds[0]["seconds"]}


def _spread(peer: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    ratios = [theirs / own for theirs, own in zip(peer, ours, strict=False)]
    return {
        "median": round(statistics.median(ratios), 2),
        "least": round(min(ratios), 2),
        "most": round(max(ratios), 2),
    }


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    count = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        count += 1
    return count


def _short(seconds: float) -> float:
    return float(f"{seconds:.4g}")
