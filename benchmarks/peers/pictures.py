"""What the painter's and the autoencoder's sides are given: one bundle of their graphs, and the inputs of each run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peers.models import write_bundle
from precision_sides import PaintInputs

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import Bundle
from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.model.random import RandomCheckpoint
from dimrt.export.model.source import Shallow, Source
from dimrt.export.pipeline import NANO
from dimrt.schedule import flow_schedule

GRAPHS = ("step", "encode", "decode")
GUIDANCE = 7.5


@dataclass(frozen=True)
class Painted:
    """Sizes of one comparison.

    Attributes:
        layers: of the painter; None for all.
        latent: side of the latent in the step.
        picture: side of the picture in pixels, for the autoencoder.
        rows: of the condition.
    """

    layers: int | None
    latent: int
    picture: int
    rows: int


PAINTERS = {"nano": Painted(None, 16, 128, 96), "published": Painted(2, 32, 512, 512)}
"""nano as it is; random numbers at DIM-4.6B's widths: two of the painter's twenty layers, the whole autoencoder."""


def painter_source(name: str) -> Source:
    """The tensors of one of `PAINTERS`."""
    if name == "nano":
        return Checkpoint.open(NANO, offline=True)
    layers = PAINTERS[name].layers
    whole = RandomCheckpoint.published("dim-4.6b-edit")
    return whole if layers is None else Shallow(whole, layers)


def write_inputs(source: Source, sizes: Painted, graph: str, folder: Path, threads: int) -> tuple[Path, Path]:
    """The bundle of `graph` (and of `context`, which `step` needs), and a file of arrays by input name.

    `condition` is among the step's arrays too: sides without a `context` graph begin with it.
    """
    graphs = ("context", "step") if graph == "step" else (graph,)
    bundle = write_bundle(source, "fp32", graphs, folder / f"bundle-{graph}")
    path = folder / f"{graph}.npz"
    if graph == "step":
        arrays = _step_inputs(source, sizes, bundle, threads)
    else:
        channels, side = (3, sizes.picture) if graph == "encode" else _latent(source, sizes)
        values = np.random.default_rng(2).standard_normal((1, channels, side, side), np.float32)
        arrays = {"pixels": np.clip(values / 3, -1, 1)} if graph == "encode" else {"latent": values}
    np.savez(path, **arrays)
    return bundle, path


def _latent(source: Source, sizes: Painted) -> tuple[int, int]:
    """Channels and side of the latent of a picture."""
    return source.config.painter.latent_channels, sizes.picture // source.config.resolution.latent_factor


def _step_inputs(source: Source, sizes: Painted, bundle: Path, threads: int) -> dict[str, np.ndarray]:
    schedule = source.config.schedule
    call = flow_schedule(30, schedule.shift)[15]
    inputs = PaintInputs(source, sizes.latent, sizes.rows, call, GUIDANCE)
    engine = OrtBackend(Bundle.open(bundle, verify="layout"), threads=threads).engine("context")
    return {
        "latent": inputs.latent,
        "source": inputs.source,
        "previous": inputs.previous,
        "condition": inputs.condition,
        "context": engine.run({"condition": inputs.condition})["context"],
        "timestep": np.array([call.timestep], np.float32),
        "guidance": np.array([GUIDANCE], np.float32),
        "coefficients": np.array(call.coefficients, np.float32),
    }
