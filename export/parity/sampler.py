"""Sampler parity: the runtime's schedule and coefficients against the original's trajectories."""

import re
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from dimrt.export.model.painter import Painter
from dimrt.export.parity.items import (
    FINAL_FLOAT64,
    FINAL_LONG,
    FINAL_SHORT,
    GRID,
    SHORT,
    Arrays,
    Item,
    compare,
    count,
)
from dimrt.export.parity.reference import Reference
from dimrt.schedule import TRAIN_STEPS, Step, flow_grid, flow_schedule

Latent = NDArray[np.float32]
RUN = re.compile(r"(?P<task>\w+)\.s(?P<steps>\d+)_cfg(?P<scale>[\d.]+)_shift(?P<shift>[\d.]+)")
TABLE = re.compile(r"schedule\.shift(?P<shift>[\d.]+)\.steps(?P<steps>\d+)")
NOISE = re.compile(r"noise(?P<seed>\d+)_(?P<shape>\d+(x\d+)*)_first(?P<count>\d+)")
TASKS = {"edit": "edit", "t2i": "generate"}


def sampler_items(reference: Reference) -> Iterator[Item]:
    """Schedules, each solver update on its own, and whole trajectories with the painter."""
    arrays = reference.arrays("sampler")
    for table in arrays.cases(".sigmas"):
        yield from _grid_items(arrays, table)
    for run in arrays.cases(".model_out"):
        yield from _update_items(arrays, run)
        yield from _trajectory_items(reference, arrays, run)
    for key in arrays.keys:
        if match := NOISE.fullmatch(key):
            generator = torch.Generator().manual_seed(int(match["seed"]))
            noise = torch.randn([int(size) for size in match["shape"].split("x")], generator=generator)
            yield count(f"sampler {key}", noise.flatten()[: int(match["count"])], arrays[key])


def sample(
    painter: Painter,
    noise: Latent,
    condition: NDArray[np.float32],
    mask: NDArray[np.int64] | None,
    source: Latent | None,
    schedule: tuple[Step, ...],
    scale: float,
) -> Latent:
    """A whole trajectory: torch painter, the runtime's coefficients, guidance on the data prediction, float32.

    noise [1,C,h,w]; condition [N,caption]; mask [1,N] or None; source [1,C,h,w] for an edit; returns [1,C,h,w].
    """
    rows = torch.from_numpy(condition)[None]
    if scale != 1.0:
        rows = torch.cat([painter.null_condition[None, : len(condition)], rows])
    batch = len(rows)
    shared = None if mask is None else torch.from_numpy(mask)
    picture = None if source is None else torch.from_numpy(source)
    latent, previous = noise, np.zeros_like(noise)
    for step in schedule:
        with torch.no_grad():
            data = painter.data(
                torch.from_numpy(latent).expand(batch, -1, -1, -1),
                torch.tensor(step.sigma, dtype=torch.float32),
                torch.tensor(step.timestep, dtype=torch.float32),
                rows,
                shared,
                picture,
            ).numpy()
        data = data[:1] + np.float32(scale) * (data[-1:] - data[:1])
        latent, previous = update(step, latent, data, previous), data
    return latent


def update(step: Step, latent: Latent, data: Latent, previous: Latent) -> Latent:
    """One solver update with the runtime's coefficients, in float32."""
    _, a, b, c = (np.float32(value) for value in step.coefficients)
    return np.asarray(a * latent + b * data + c * previous, np.float32)


def _grid_items(arrays: Arrays, table: str) -> Iterator[Item]:
    match = RUN.fullmatch(table) or TABLE.fullmatch(table)
    if match is None:
        return
    steps, shift = int(match["steps"]), float(match["shift"])
    grid = flow_grid(steps, shift)
    schedule = flow_schedule(steps, shift)
    yield compare(f"sampler {table} sigmas", grid, arrays[f"{table}.sigmas"], GRID)
    yield count(f"sampler {table} integer timesteps", [step.timestep for step in schedule], arrays[f"{table}.t_int"])
    if f"{table}.t_input" in arrays:
        yield compare(f"sampler {table} times", grid[:-1] * TRAIN_STEPS, arrays[f"{table}.t_input"], GRID * TRAIN_STEPS)


def _update_items(arrays: Arrays, run: str) -> Iterator[Item]:
    """Each update from the stored latent and painter output; the line is the worst step's."""
    match = RUN.fullmatch(run)
    if match is None:
        return
    steps, scale = int(match["steps"]), np.float32(match["scale"])
    latents, outputs, after = arrays[f"{run}.x_in"], arrays[f"{run}.model_out"], arrays[f"{run}.x_after"]
    got, previous = [], np.zeros_like(latents[0])
    for step, latent, output in zip(flow_schedule(steps, float(match["shift"])), latents, outputs, strict=True):
        velocity = output[0] + scale * (output[-1] - output[0])
        data = latent - np.float32(step.sigma) * velocity
        got.append(update(step, latent, data, previous))
        previous = data
    yield compare(f"sampler {run} updates", np.stack(got), after, FINAL_SHORT if steps <= SHORT else FINAL_LONG)


def _trajectory_items(reference: Reference, arrays: Arrays, run: str) -> Iterator[Item]:
    match = RUN.fullmatch(run)
    if match is None:
        return
    task, steps = match["task"], int(match["steps"])
    painter = reference.of_task(TASKS[task]).painter
    final = sample(
        painter,
        arrays[f"{task}.noise"],
        arrays[f"{task}.y"][0, 0],
        arrays[f"{task}.mask"],
        arrays[f"{task}.latents_condition"] if painter.config.task == "edit" else None,
        flow_schedule(steps, float(match["shift"])),
        float(match["scale"]),
    )
    limit = FINAL_SHORT if steps <= SHORT else FINAL_LONG
    yield compare(f"sampler {run} final", final, arrays[f"{run}.final"], limit)
    yield compare(f"sampler {run} final against float64", final, arrays[f"{run}.final_f64"], FINAL_FLOAT64)
