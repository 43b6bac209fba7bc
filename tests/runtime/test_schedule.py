"""The schedule against the original's grids and against its recorded trajectories."""

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from dimrt.manifest import Distilled, Schedule
from dimrt.schedule import few_steps, flow_grid, flow_schedule, painter_schedule

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


ROWS = ((999,), (999, 700), (999, 900, 700, 400))


def student(noise: str = "fresh", rows: tuple[tuple[int, ...], ...] = ROWS) -> Distilled:
    return Distilled(timesteps=rows, noise=noise, teacher_steps=30, guidance_scale=7.5)


def test_a_straight_flow_is_followed_exactly_in_any_number_of_steps() -> None:
    """With the true data prediction every kept-noise step lands on (1 - s) data + s noise, of the same noise."""
    rng = np.random.default_rng(0)
    data, noise = rng.normal(size=(2, 64))
    for steps in (1, 2, 4):
        calls = few_steps(student("kept"), steps)
        latent = (1 - calls[0].sigma) * data + calls[0].sigma * noise
        for call, following in zip(calls, (*calls[1:], None), strict=True):
            assert call.timestep == pytest.approx(1000 * call.sigma)
            assert not call.fresh
            _, a, b, c = call.coefficients
            latent = a * latent + b * data + c * noise
            level = following.sigma if following else 0.0
            assert np.abs(latent - (1 - level) * data - level * noise).max() < 1e-12


def test_fresh_noise_replaces_the_latent() -> None:
    first, last = few_steps(student(), 2)
    assert first.fresh
    assert first.coefficients == (0.999, 0.0, pytest.approx(0.3), 0.7)
    assert not last.fresh
    assert last.coefficients == (0.7, 0.0, 1.0, 0.0)


def test_whose_schedule_runs() -> None:
    facts = Schedule(steps=2, guidance_scale=1.0, shift=3.0, seed=0, distilled=student())
    assert [call.timestep for call in painter_schedule(facts, 2, "student")] == [999, 700]
    assert painter_schedule(facts, 30, "teacher") == flow_schedule(30, 3.0)
    plain = Schedule(steps=30, guidance_scale=7.5, shift=3.0, seed=0)
    assert painter_schedule(plain, 4, "teacher") == flow_schedule(4, 3.0)
    guided = msgspec.structs.replace(facts, distilled=student(rows=()))
    assert painter_schedule(guided, 7, "student") == flow_schedule(7, 3.0)
    with pytest.raises(ValueError, match=r"takes 1, 2, 4"):
        few_steps(student(), 3)


@pytest.mark.parametrize("rows", [((),), ((700, 900),), ((900, 900),), ((1001,),), ((5, 0),), ((9,), (8,))])
def test_facts_that_no_flow_can_follow_are_refused(rows: tuple[tuple[int, ...], ...]) -> None:
    raw = {"steps": 1, "guidance_scale": 1.0, "shift": 3.0, "seed": 0}
    raw["distilled"] = {"timesteps": rows, "noise": "kept", "teacher_steps": 30, "guidance_scale": 7.5}
    with pytest.raises(msgspec.ValidationError, match="timesteps"):
        msgspec.convert(raw, Schedule)


@pytest.mark.parametrize(("steps", "guidance"), [(3, 1.0), (2, 7.5)])
def test_a_students_defaults_are_its_own(steps: int, guidance: float) -> None:
    with pytest.raises(ValueError, match="own defaults"):
        Schedule(steps=steps, guidance_scale=guidance, shift=3.0, seed=0, distilled=student())


def test_manifests_from_before_students_are_read() -> None:
    old = b'{"steps": 30, "guidance_scale": 7.5, "shift": 3.0, "seed": 233}'
    assert msgspec.json.decode(old, type=Schedule).distilled is None
