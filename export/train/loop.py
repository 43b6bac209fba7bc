"""The training loop: turns of an objective's players, on one process or many, with exact resume.

A batch and its noise depend on (seed, step, part) alone, never on what ran before: a resumed run takes the same batches
and reaches the same losses as one that was never stopped.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dimrt.export.train.objective import Objective
from dimrt.export.train.settings import LoopSettings

if TYPE_CHECKING:
    from dimrt.export.train.data.batch import Examples


@dataclass(frozen=True)
class TrainEvent:
    """Progress: `step` of `steps` are done. `figures` are means over the steps since the last event; `left` is about
    how many seconds the rest takes, when that is known; `note` says what a person should know.
    """

    step: int
    steps: int
    figures: dict[str, float] = field(default_factory=dict)
    seconds_per_step: float = 0.0
    left: float | None = None
    note: str | None = None


def train(
    objective: Objective,
    examples: "Examples",
    settings: LoopSettings,
    folder: Path,
    *,
    on_event: Callable[[TrainEvent], None] = lambda event: None,
    sample: Callable[[int, Path], None] | None = None,
    export: Callable[[Path], None] | None = None,
    until: int | None = None,
) -> None:
    """Train `objective` in place to the last step, or go on with what `folder` holds.

    Writes into `folder`: `state/`, `log.jsonl`, `tensorboard/`, `samples/` and `checkpoint/`. At the end the objective
    holds the averaged parameters of its first player.

    Args:
        sample: `sample(step, path)` paints held-out examples and writes the picture `path` in process 0; called in
            every process, in evaluation mode, while the objective holds the averaged parameters.
        export: `export(folder)` writes a checkpoint from the objective; called in process 0 likewise, with whole
            parameters on the CPU.
        until: stop after this step (the schedule stays that of all steps).

    Raises:
        CheckFailed: a loss or gradient isn't finite; the message names step and examples, the state is kept.
        Cancelled: interrupted; the state is saved.
        InputError: settings that don't fit the processes or the data, or a folder of another run.
    """
    raise NotImplementedError
