"""The schedule against the original's grids and against its recorded trajectories."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dimrt.schedule import flow_grid, flow_schedule

GRID = re.compile(
    r"(?:schedule\.shift(?P<shift>\d)\.steps(?P<steps>\d+)|\w+\.s(?P<s>\d+)_cfg[\d.]+_shift(?P<h>\d))\.sigmas"
)


def cases(arrays: dict[str, NDArray[np.float32]]) -> list[tuple[str, int, float]]:
    found = [(key, GRID.fullmatch(key)) for key in arrays]
    return [(k.removesuffix(".sigmas"), int(m["steps"] or m["s"]), float(m["shift"] or m["h"])) for k, m in found if m]


@pytest.fixture(scope="module")
def sampler(reference: Path) -> dict[str, NDArray[np.float32]]:
    with np.load(reference / "sampler.npz") as file:
        return {name: file[name] for name in file.files}


def test_grids_and_timesteps_are_the_originals_to_the_bit(sampler: dict[str, NDArray[np.float32]]) -> None:
    found = cases(sampler)
    assert len(found) == 22
    for key, steps, shift in found:
        assert np.array_equal(flow_grid(steps, shift), sampler[f"{key}.sigmas"]), key
        assert [call.timestep for call in flow_schedule(steps, shift)] == sampler[f"{key}.t_int"].tolist(), key


def test_coefficients_reproduce_every_trajectory(sampler: dict[str, NDArray[np.float32]]) -> None:
    """The recorded network outputs through our update; the data prediction is x - sigma v, not the original's
    cancelling form, hence its limits: 2e-3 up to 8 steps, 5e-4 above."""
    for key, steps, shift in (case for case in cases(sampler) if not case[0].startswith("schedule")):
        guidance = np.float32(re.search(r"cfg([\d.]+)_", key)[1])
        limit = 2e-3 if steps <= 8 else 5e-4
        latent = sampler[f"{key.split('.')[0]}.noise"]
        previous = np.zeros_like(latent)
        for index, call in enumerate(flow_schedule(steps, shift)):
            sigma, a, b, c = np.float32(call.coefficients)
            data = latent - sigma * sampler[f"{key}.model_out"][index]
            data = data[:1] + guidance * (data[-1:] - data[:1])
            latent, previous = a * latent + b * data + c * previous, data
            assert np.abs(latent[0] - sampler[f"{key}.x_after"][index]).max() < limit, (key, index)
        assert np.abs(latent - sampler[f"{key}.final"]).max() < limit


def test_first_and_last_steps_are_of_first_order() -> None:
    calls = flow_schedule(6, 3.0)
    assert calls[0].coefficients[3] == 0
    assert all(call.coefficients[3] < 0 for call in calls[1:-1])
    assert calls[-1].coefficients[1:] == (0.0, 1.0, 0.0)


def test_one_step_is_its_data_prediction() -> None:
    (call,) = flow_schedule(1, 3.0)
    assert call.timestep == 999
    assert call.coefficients[1:] == (0.0, 1.0, 0.0)


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        flow_schedule(0, 3.0)
