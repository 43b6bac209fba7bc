"""What a training run tells of its progress, and what it does beside training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True)
class TrainEvent:
    """Progress: `step` of `steps` are done. `figures` are means over the steps since the last event that had some;
    `left` is about how many seconds the rest takes, when that is known; `note` says what a person should know.
    """

    step: int
    steps: int
    figures: dict[str, float] = field(default_factory=dict)
    seconds_per_step: float = 0.0
    left: float | None = None
    note: str | None = None


@dataclass(frozen=True)
class Hooks:
    """What a run does beside training.

    Attributes:
        on_event: called in process 0.
        sample: `sample(step, path)` paints held-out examples with the objective's modules and writes the picture `path`
            if it is process 0; called in every process, in evaluation mode, while the objective holds the averages.
        export: `export(folder, parameters)` writes a checkpoint folder of whole averaged parameters on the CPU, under
            the objective's names; called in process 0.
    """

    on_event: Callable[[TrainEvent], None] = lambda event: None
    sample: Callable[[int, Path], None] | None = None
    export: Callable[[Path, Mapping[str, Tensor]], None] | None = None
