"""Length and habits of a training run, whatever it trains."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Rate = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class OptimizerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One player's optimizer.

    `rate` is the peak learning rate of AdamW; with "muon" that of what isn't a hidden matrix, and `matrix_rate` that of
    the matrices (an update has root mean square 0.2 * matrix_rate). `weight_decay` is decoupled; Muon applies it to
    the matrices alone.
    """

    name: Literal["adamw", "muon"] = "adamw"
    rate: Rate = 1e-4
    matrix_rate: Rate = 2e-2
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0
    betas: tuple[Share, Share] = (0.9, 0.999)
    epsilon: Rate = 1e-8


class LoopSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How long a run is and what it does on the way.

    `batch` counts the examples of one optimizer step over all processes. It is split into equal parts, `accumulate`
    for each process; results depend on the number of parts alone, not on how many processes share them.

    Rates rise linearly over `warmup` steps, and fall linearly to zero over the last `decay` share of the steps.
    `average` is the decay of the exponential moving average of the first player's parameters; 0 keeps none.
    `optimizer` holds the settings of each player by name; a player not named gets the defaults.
    The `*_every` are in steps; 0 is never. `keep` is how many states stay on disk.
    """

    steps: Positive
    batch: Positive
    accumulate: Positive = 1
    seed: Count = 0
    warmup: Count = 0
    decay: Share = 0.0
    average: Annotated[float, Meta(ge=0, lt=1)] = 0.999
    clip: Rate = 1.0
    precision: Literal["bf16", "fp32"] = "fp32"
    optimizer: dict[str, OptimizerSettings] = field(default_factory=dict)
    log_every: Positive = 10
    save_every: Count = 0
    save_minutes: Annotated[float, Meta(ge=0)] = 10.0
    keep: Positive = 2
    sample_every: Count = 0
    export_every: Count = 0
