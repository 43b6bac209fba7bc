"""Guidance at some noise levels only: which steps run two rows, and bytes that are those of the whole or of none."""

from collections.abc import Generator
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from recorder import RecordingBackend

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import Bundle
from dimrt.editor import Editor
from dimrt.errors import InputError
from dimrt.events import Event, Progress
from dimrt.manifest import Distilled
from dimrt.options import EditOptions
from dimrt.painter import Painter, start_noise
from dimrt.request import resolve
from dimrt.schedule import Interval, flow_schedule, guidance_scales

STEPS = flow_schedule(6, 3.0)
CONDITION = np.random.default_rng(3).standard_normal((9, 192)).astype(np.float32)
NOISE = start_noise(1, (1, 32, 16, 16))


@pytest.fixture
def recording(nano_backend: OrtBackend) -> RecordingBackend:
    return RecordingBackend(nano_backend)


def paint(nano: Bundle, backend: Any, scale: float, interval: Interval | None) -> NDArray[np.float32]:
    """The latent that a plain condition is painted to."""
    work: Generator[Event, None, Any] = Painter(nano, backend).paint(
        CONDITION, NOISE, NOISE, STEPS, scale, 0, interval=interval
    )
    events = []
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            assert events == [Progress("paint", done) for done in range(1, len(STEPS) + 1)]
            return np.array(backend.to_host(end.value))


def test_the_steps_within_the_interval_are_guided_its_ends_included() -> None:
    levels = [call.sigma for call in STEPS]
    assert guidance_scales(STEPS, 7.5) == [7.5] * 6
    assert guidance_scales(STEPS, 7.5, (levels[3], levels[1])) == [1.0, 7.5, 7.5, 7.5, 1.0, 1.0]
    assert guidance_scales(STEPS, 7.5, (0.0, 1.0)) == [7.5] * 6
    assert guidance_scales(STEPS, 7.5, (0.0, 0.0)) == [1.0] * 6


def test_all_levels_are_guided_bytes_and_no_level_unguided_ones(nano: Bundle, nano_backend: OrtBackend) -> None:
    guided, plain = paint(nano, nano_backend, 3.0, None), paint(nano, nano_backend, 1.0, None)
    assert np.array_equal(paint(nano, nano_backend, 3.0, (0.0, 1.0)), guided)
    assert np.array_equal(paint(nano, nano_backend, 3.0, (0.0, 0.0)), plain)
    between = paint(nano, nano_backend, 3.0, (0.3, 0.9))
    assert not np.array_equal(between, guided) and not np.array_equal(between, plain)


def test_outside_the_interval_a_step_runs_one_row_and_a_context_is_made_at_each_change(
    nano: Bundle, recording: RecordingBackend
) -> None:
    levels = [call.sigma for call in STEPS]
    paint(nano, recording, 3.0, (levels[3], levels[2]))
    fed = recording.feeds("step")
    assert [feeds["context"].shape[1] for feeds in fed] == [1, 1, 2, 2, 1, 1]
    assert [float(feeds["guidance"][0]) for feeds in fed] == [1, 1, 3, 3, 1, 1]
    assert [feeds["condition"].shape[0] for feeds in recording.feeds("context")] == [1, 2, 1]


def test_an_edit_hands_the_interval_on_and_tells_it(nano: Bundle, recording: RecordingBackend) -> None:
    options = EditOptions(
        steps=4,
        guidance_scale=3.0,
        guidance_interval=(0.0, 0.8),
        schedule="teacher",
        think=False,
        composite="none",
    )
    result = Editor(nano, recording).edit(np.full((64, 64, 3), 90, np.uint8), "make it red", options)
    assert result.guidance_interval == (0.0, 0.8)
    rows = [feeds["context"].shape[1] for feeds in recording.feeds("step")]
    assert rows == [1 if call.sigma > 0.8 else 2 for call in flow_schedule(4, 3.0)] and set(rows) == {1, 2}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ((0.8, 0.2), "0.8 to 0.2; give two noise levels from 0"),
        ((-0.1, 0.5), "from 0"),
        ((0.5, 1.5), "to 1"),
        ((0.5, float("nan")), "nan"),
        ((0.5,), "the lowest and the highest"),
        (0.5, "the lowest and the highest"),
        (("a", "b"), "the lowest and the highest"),
    ],
)
def test_what_is_no_interval_is_refused(nano: Bundle, value: Any, said: str) -> None:
    with pytest.raises(InputError, match="guidance_interval") as error:
        resolve(EditOptions(guidance_scale=2, guidance_interval=value, schedule="teacher"), nano.manifest)
    assert said in str(error.value)


def test_without_guidance_there_is_no_interval(nano: Bundle) -> None:
    options = EditOptions(guidance_interval=(0.2, 0.8))
    few = Distilled(timesteps=((999,),), noise="fresh", teacher_steps=30, guidance_scale=7.5)
    own = msgspec.structs.replace(nano.manifest.schedule, steps=1, guidance_scale=1.0, distilled=few)
    student = msgspec.structs.replace(nano.manifest, schedule=own)
    with pytest.raises(InputError, match="distilled and takes none; leave it out"):
        resolve(options, student)
    with pytest.raises(InputError, match="guidance_scale is 1; leave it out"):
        resolve(EditOptions(guidance_scale=1, guidance_interval=(0.2, 0.8), schedule="teacher"), student)


@pytest.mark.parametrize(
    ("value", "said"), [(0, "whole number from 64"), (100, "multiple of 8"), (3.5, "whole number"), (True, "whole")]
)
def test_tiles_that_cannot_be_are_refused(nano: Bundle, value: Any, said: str) -> None:
    facts = nano.manifest
    with pytest.raises(InputError, match=r"tile is .* pictures of 128 x 128 and no others"):
        resolve(EditOptions(tile=value), facts)
    decode = facts.graphs["decode"]
    inputs = (msgspec.structs.replace(decode.inputs[0], shape=(1, 32, "height", "width")),)
    free = msgspec.structs.replace(
        facts, graphs={**facts.graphs, "decode": msgspec.structs.replace(decode, inputs=inputs)}
    )
    assert resolve(EditOptions(tile=96), free).tile == 96
    with pytest.raises(InputError, match=said):
        resolve(EditOptions(tile=value), free)
