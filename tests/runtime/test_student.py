"""A bundle whose painter was distilled: few steps, one row of guidance, and front ends that need no word about it."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from recorder import RecordingBackend

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import Bundle, write_manifest
from dimrt.cli.info import describe
from dimrt.editor import Editor
from dimrt.errors import BundleError, InputError
from dimrt.manifest import Distilled, Schedule
from dimrt.options import EditOptions

FACTS = Distilled(((999,), (999, 780), (999, 850, 600, 300)), "fresh", teacher_steps=6, guidance_scale=7.5)
SCHEDULE = Schedule(steps=2, guidance_scale=1.0, shift=3.0, seed=233, distilled=FACTS)
PLAN = "red"


@pytest.fixture(scope="module")
def bundle(tiny_edit_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny editing bundle under a student's schedule."""
    folder = tmp_path_factory.mktemp("student") / "bundle"
    shutil.copytree(tiny_edit_bundle, folder)
    manifest = Bundle.open(folder, verify="layout").manifest
    (folder / "manifest.json").unlink()
    write_manifest(folder, msgspec.structs.replace(manifest, schedule=SCHEDULE))
    return Bundle.open(folder)


@pytest.fixture(scope="module")
def backend(bundle: Bundle) -> OrtBackend:
    return OrtBackend(bundle, threads=1)


@pytest.mark.parametrize("steps", [None, 1, 2, 4])
def test_an_edit_in_few_steps_without_guidance(
    bundle: Bundle, backend: OrtBackend, photo: NDArray[np.uint8], steps: int | None
) -> None:
    recording = RecordingBackend(backend)
    editor = Editor(bundle, recording)
    options = EditOptions(steps=steps, plan=PLAN, composite="none")
    result = editor.edit(photo, "make it red", options)
    fed = recording.feeds("step")
    assert (result.steps, result.guidance_scale) == (len(fed), 1.0)
    assert [int(feeds["timestep"][0]) for feeds in fed] == list(FACTS.timesteps[(0, 0, 1, None, 2)[len(fed)]])
    assert all(feeds["context"].shape[1] == 1 for feeds in fed)
    again = editor.edit(photo, "make it red", options)
    assert np.array_equal(result.image, again.image)


def test_the_teachers_schedule_runs_when_asked_for(
    bundle: Bundle, backend: OrtBackend, photo: NDArray[np.uint8]
) -> None:
    recording = RecordingBackend(backend)
    options = EditOptions(schedule="teacher", plan=PLAN, composite="none")
    result = Editor(bundle, recording).edit(photo, "make it red", options)
    assert (result.steps, result.guidance_scale) == (6, 1.0)
    assert recording.feeds("step")[1]["coefficients"][3] < 0  # of second order: it looks at the previous data


def test_what_it_does_not_do_is_refused_before_anything_runs(
    bundle: Bundle, backend: OrtBackend, photo: NDArray[np.uint8]
) -> None:
    recording = RecordingBackend(backend)
    with pytest.raises(InputError, match="1, 2, 4"):
        Editor(bundle, recording).edit(photo, "make it red", EditOptions(steps=30))
    with pytest.raises(InputError, match=r"guidance 7.5"):
        Editor(bundle, recording).edit(photo, "make it red", EditOptions(guidance_scale=7.5))
    assert recording.runs == []


def test_info_says_what_it_supports(bundle: Bundle) -> None:
    facts = describe(bundle, "test")
    assert (facts["steps"], facts["guidance_scale"]) == (2, 1.0)
    assert facts["distilled"] == {"steps": [1, 2, 4], "teacher_steps": 6, "teacher_guidance_scale": 7.5}


def test_a_manifest_with_impossible_timesteps_is_no_bundle(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle.path, folder)
    path = folder / "manifest.json"
    text = path.read_text()
    assert "780" in text
    path.write_text(text.replace("780", "1780"))
    with pytest.raises(BundleError, match="timesteps"):
        Bundle.open(folder)
