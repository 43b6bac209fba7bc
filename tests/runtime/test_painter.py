"""The painter's host side: noise, the null condition, guidance, and the original's trajectories through the graphs."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorder import RecordingBackend

from dimrt.bundle import Bundle
from dimrt.events import Progress
from dimrt.manifest import Distilled
from dimrt.painter import Painter, further_noise, start_noise
from dimrt.schedule import few_steps, flow_schedule

FIRST = [-0.435101181268692, 0.06635500490665436, 1.2763713598251343]


def finish(work: Generator[Any, None, Any]) -> tuple[list[Any], Any]:
    seen = []
    while True:
        try:
            seen.append(next(work))
        except StopIteration as end:
            return seen, end.value


@pytest.mark.parametrize(
    ("run", "steps", "guidance", "limit"),
    [("s8_cfg4.5_shift3", 8, 4.5, 2e-3), ("s4_cfg7.5_shift3", 4, 7.5, 2e-3), ("s8_cfg1_shift3", 8, 1.0, 2e-3)],
)
def test_trajectories(
    edit_bundle: Bundle,
    recording: RecordingBackend,
    reference: Path,
    run: str,
    steps: int,
    guidance: float,
    limit: float,
) -> None:
    with np.load(reference / "sampler.npz") as recorded:
        condition = recorded["edit.y"][0, 0][: int(recorded["edit.mask"].sum())]
        source, noise = recorded["edit.latents_condition"], recorded["edit.noise"]
        expected = recorded[f"edit.{run}.final"]
    painter = Painter(edit_bundle, recording)
    events, latent = finish(painter.paint(condition, source, noise, flow_schedule(steps, 3.0), guidance, 0))
    assert events == [Progress("paint", done) for done in range(1, steps + 1)]
    assert np.abs(recording.to_host(latent) - expected).max() < limit


def test_null_condition_has_as_many_rows_as_the_condition(edit_bundle: Bundle, recording: RecordingBackend) -> None:
    condition = np.ones((7, edit_bundle.manifest.painter.condition_channels), np.float32)
    noise = start_noise(1, (1, 8, 4, 4))
    finish(Painter(edit_bundle, recording).paint(condition, noise, noise, flow_schedule(2, 3.0), 7.5, 0))
    (fed,) = recording.feeds("context")
    assert fed["condition"].shape == (2, 7, 48)
    assert np.array_equal(fed["condition"][0], edit_bundle.table("null_condition")[:7])
    assert np.array_equal(fed["condition"][1], condition)
    assert len(recording.feeds("step")) == 2


def test_guidance_one_runs_the_condition_alone(edit_bundle: Bundle, recording: RecordingBackend) -> None:
    condition = np.ones((7, edit_bundle.manifest.painter.condition_channels), np.float32)
    noise = start_noise(1, (1, 8, 4, 4))
    finish(Painter(edit_bundle, recording).paint(condition, noise, noise, flow_schedule(2, 3.0), 1.0, 0))
    assert recording.feeds("context")[0]["condition"].shape[0] == 1
    assert recording.feeds("step")[0]["context"].shape[1] == 1


def test_noise_is_frozen() -> None:
    """The same seed gives these numbers for ever, on every machine."""
    noise = start_noise(233, (1, 2, 2, 2))
    assert noise.dtype == np.float32
    assert np.array_equal(noise, start_noise(233, (1, 2, 2, 2)))
    assert not np.array_equal(noise, start_noise(234, (1, 2, 2, 2)))
    assert np.allclose(noise.reshape(-1)[:3], FIRST, atol=1e-7)
    assert abs(start_noise(2**63 - 1, (100_000,)).std() - 1) < 0.01


def test_fresh_noise_goes_in_between_the_steps_of_a_consistency_model(
    edit_bundle: Bundle, recording: RecordingBackend
) -> None:
    """The graph's own update adds it: what the next step is fed is (1 - s) data + s noise, from the seed's stream."""
    facts = Distilled(timesteps=((999, 900, 600),), noise="fresh", teacher_steps=30, guidance_scale=7.5)
    condition = np.ones((7, edit_bundle.manifest.painter.condition_channels), np.float32)
    noise = start_noise(5, (1, 8, 4, 4))
    painter = Painter(edit_bundle, recording)
    _, latent = finish(painter.paint(condition, noise, noise, few_steps(facts, 3), 1.0, 5))
    fed = recording.feeds("step")
    assert [int(feeds["timestep"][0]) for feeds in fed] == [999, 900, 600]
    assert recording.feeds("context")[0]["condition"].shape[0] == 1
    fresh = further_noise(5, noise.shape)
    for feeds, following, sigma in zip(fed[:-1], fed[1:], (0.9, 0.6), strict=True):
        drawn = next(fresh)
        assert np.array_equal(feeds["previous"], drawn)
        data = (following["latent"] - np.float32(sigma) * drawn) / np.float32(1 - sigma)
        alone = feeds | {"previous": 0 * drawn, "coefficients": np.float32([feeds["coefficients"][0], 0, 1, 0])}
        expected = recording.engine("step").run(alone)["next_latent"]
        assert np.abs(data - expected).max() < 1e-5  # divided by 1 - sigma, 0.1 at least
    last = recording.engine("step").run(fed[-1])
    assert np.array_equal(recording.to_host(latent), last["data"])


def test_further_noise_is_the_streams_next() -> None:
    """Start noise and fresh noise are one stream: nothing is drawn twice."""
    whole = start_noise(9, (3, 2, 2, 2))
    fresh = further_noise(9, (1, 2, 2, 2))
    assert np.array_equal(start_noise(9, (1, 2, 2, 2)), whole[:1])
    assert np.array_equal(next(fresh), whole[1:2])
    assert np.array_equal(next(fresh), whole[2:3])
