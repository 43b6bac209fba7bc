"""A whole precomputing job: data sets and a checkpoint in, a folder of shards out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from dimrt.errors import InputError, ResourceError
from dimrt.export.pipeline import open_source
from dimrt.export.resources import out_of_memory
from dimrt.export.train.data.formats import open_rows
from dimrt.export.train.data.frozen import Frozen, frozen_digests
from dimrt.export.train.data.online import Online
from dimrt.export.train.data.precompute import PrecomputeEvent, Work, precompute
from dimrt.export.train.data.problems import Problems
from dimrt.export.train.data.rows import Rows
from dimrt.export.train.data.shards import Index, StoredType
from dimrt.export.train.data.spec import DataSpec

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Model:
    """Where the frozen parts come from (see `Checkpoint.open`), and what runs them. On a GPU the designer is bfloat16,
    as in the original; the autoencoder is float32 everywhere.
    """

    checkpoint: str | None = None
    designer: str | None = None
    autoencoder: str | None = None
    offline: bool = False
    device: Device = "auto"


@dataclass(frozen=True)
class Layout:
    """How the data is written (see `Work`)."""

    dtype: StoredType = "float16"
    batch: int = 8
    shard_examples: int | None = None
    share: tuple[int, int] = (0, 1)


def precompute_sets(
    specs: Sequence[DataSpec],
    model: Model,
    folder: Path,
    layout: Layout,
    problems: Problems,
    *,
    restart: bool = False,
    notify: Callable[[PrecomputeEvent], None] = lambda event: None,
) -> Index | None:
    """Compute latents and conditions of some sets into `folder`; see `precompute` for the result.

    Raises:
        InputError: a set, the folder or an option can't be used.
        CheckpointError: the checkpoint can't be read.
        ResourceError: the disk, the memory or the device can't do it.
        CheckFailed: a value is too large for the stored type.
    """
    device = _device(model.device)
    source, _ = open_source(model.checkpoint, model.designer, model.autoencoder, model.offline)
    sets = open_sets(specs, problems, notify)
    notify(PrecomputeEvent(0, 0, len(problems), note="reading designer and autoencoder"))
    digests = frozen_digests(source)
    try:
        half = torch.bfloat16 if device == "cuda" else torch.float32
        frozen = replace(Frozen.load(source, device, half), task="edit" if sets[0][0].edits else "generate")
        online = [Online(rows, frozen, problems, weight) for rows, weight in sets]
        return precompute(Work(online, digests, folder, **vars(layout)), problems, restart=restart, notify=notify)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise ResourceError(
            f"not enough memory for batches of {layout.batch} on {device}; lower --batch. What is finished stays in "
            f"{folder}"
        ) from error


def open_sets(
    specs: Sequence[DataSpec], problems: Problems, notify: Callable[[PrecomputeEvent], None]
) -> list[tuple[Rows, float]]:
    """The usable rows of the sets, with their weights.

    Raises:
        InputError: a set is precomputed already, or some sets have sources and some don't.
    """
    sets = []
    for spec in specs:
        if spec.kind == "precomputed":
            raise InputError(f"{spec.path}: is precomputed already; leave it out here and name it to `dimrt train`")

        def looked(count: int, title: str = spec.title) -> None:
            notify(PrecomputeEvent(0, 0, len(problems), note=f"{title}: looked through {count:,} rows"))

        sets.append((open_rows(spec, problems, looked), spec.weight))
    if len({rows.edits for rows, _ in sets}) > 1:
        raise InputError(
            "some of these sets have source pictures and some don't; precompute the two kinds into folders of their own"
        )
    return sets


def _device(wanted: Device) -> str:
    """The device to compute on. Raises ResourceError when CUDA is asked for and isn't there."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ResourceError("--device cuda: torch finds no CUDA device; use --device cpu, or install torch for CUDA")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"
