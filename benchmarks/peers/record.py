"""One comparison: what is asked of its sides, and what goes into the results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from peers.driver import Start, Turns
from peers.protocol import Json
from peers.ratios import same_tensors, same_tokens, table

STUDENT = "dimrt, 1 step"
"""The distilled student as it is used: it paints another picture than thirty guided steps do."""
SHOWN = ("read", "write", "run", "edit")
"""Times that are printed; the phases of an edit are in the record alone."""


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        name: in the record.
        starts, tasks: by side.
        left_out: sides that aren't tried, and why.
        settings: what the record says of it.
    """

    name: str
    starts: Mapping[str, Start]
    tasks: Mapping[str, Json]
    left_out: Mapping[str, str]
    settings: Json


def without_compiled(case: Case) -> Case:
    """The comparison without the sides that are compiled first."""
    names = {name for name in case.starts if name.endswith(" compiled")}
    starts = {name: start for name, start in case.starts.items() if name not in names}
    return replace(case, starts=starts, left_out={**case.left_out, **dict.fromkeys(names, "--no-compile")})


def record(case: Case, turns: Turns) -> Json:
    """What goes into the results."""
    tensors = {name: np.load(path) for name, path in turns.kept.items()}
    same = same_tensors(tensors)
    runs = {name: done for name, done in turns.runs.items() if done}
    tokens = same_tokens(runs)
    student = {"student_times_as_fast_as": table(runs, STUDENT)["times_as_fast_as"]} if STUDENT in runs else {}
    return {
        "settings": case.settings,
        **table(runs),
        **student,
        "same_result": {name: tokens.get(name, {}) | same.get(name, {}) for name in {**tokens, **same}},
        "failed": turns.failed,
        "left_out": dict(case.left_out),
        "facts": turns.facts,
    }


def without_folders(value: Any, folders: Sequence[Path]) -> Any:
    """The same document, where errors don't tell where things lie on this machine."""
    if isinstance(value, dict):
        return {name: without_folders(held, folders) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(held, folders) for held in value]
    if isinstance(value, str):
        for folder in folders:
            value = value.replace(str(folder.resolve()), folder.name).replace(str(folder), folder.name)
    return value


def lines(row: Mapping[str, Any]) -> str:
    """The medians and ratios of one case as text."""
    text = []
    for side, parts in row["sides"].items():
        times = "  ".join(f"{part} {s['median_s']:.4f} s" for part, s in parts.items() if part in SHOWN)
        ratios = row["times_as_fast_as"].get(side, {})
        against = "  ".join(f"{part} x{r['median']}" for part, r in ratios.items() if part in SHOWN)
        text.append(f"  {side:<20}{times}   {against}   {row['same_result'].get(side, '')}")
    text += [f"  {side:<20}failed: {reason}" for side, reason in row["failed"].items()]
    return "\n".join(text)
