"""Options are checked against their limits and completed with the bundle's defaults."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from dimrt.blueprint import Blueprint
from dimrt.bundle import Bundle
from dimrt.errors import InputError
from dimrt.manifest import Distilled, Manifest, Schedule
from dimrt.options import EditOptions
from dimrt.request import resolve


def test_defaults_are_the_bundles(edit_bundle: Bundle) -> None:
    request = resolve(EditOptions(), edit_bundle.manifest)
    assert (request.steps, request.guidance_scale, request.seed) == (30, 7.5, 233)
    assert request.max_new_tokens == edit_bundle.manifest.designer.decoding.max_new_tokens
    assert request.think
    assert request.plan is None


@pytest.mark.parametrize(
    ("option", "value", "limit"),
    [
        ("steps", 0, "1 to 1000"),
        ("steps", 1001, "1 to 1000"),
        ("steps", 2.5, "1 to 1000"),
        ("steps", True, "1 to 1000"),
        ("guidance_scale", -1, "0 to 100"),
        ("guidance_scale", math.nan, "0 to 100"),
        ("guidance_scale", math.inf, "0 to 100"),
        ("guidance_scale", 101.0, "0 to 100"),
        ("seed", -1, "0 to 9223372036854775807"),
        ("seed", 2**63, "0 to 9223372036854775807"),
        ("max_new_tokens", 0, "1 to"),
        ("schedule", "own", "auto, student, teacher"),
        ("plan_view", "wide", "shared, native"),
        ("frame", "square", "whole, crop"),
        ("composite", "blur", "auto, tone, local, painted, none"),
        ("closeup", "near", "auto, never, always"),
        ("region", (1, 2, 3), "x, y, width and height"),
        ("region", (1.5, 2, 3, 4), "whole pixels"),
        ("plan", "  \n", "empty"),
        ("plan", Blueprint(), "empty"),
    ],
)
def test_out_of_range_options_name_themselves_and_their_limit(
    edit_bundle: Bundle, option: str, value: Any, limit: str
) -> None:
    with pytest.raises(InputError, match=option.split("_")[0]) as error:
        resolve(EditOptions(**{option: value}), edit_bundle.manifest)
    assert limit in str(error.value)


def test_the_square_crop_has_no_composite(edit_bundle: Bundle) -> None:
    with pytest.raises(InputError, match="frame"):
        resolve(EditOptions(frame="crop", composite="tone"), edit_bundle.manifest)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (EditOptions(mask=np.ones((2, 2), np.bool_), region=(0, 0, 1, 1)), "give one of them"),
        (EditOptions(region=(0, 0, 1, 1), composite="none"), "a region needs .* composite 'none'"),
        (EditOptions(mask=np.ones((2, 2), np.bool_), frame="crop"), "a mask needs .* frame 'crop'"),
        (EditOptions(closeup="always", frame="crop"), "closeup 'always' needs .* frame 'crop'"),
        (EditOptions(feather=3), "neither is given; give one"),
        (EditOptions(feather=-1, region=(0, 0, 1, 1)), "feather is -1; give 0 to 10000 pixels"),
        (EditOptions(feather=math.nan, region=(0, 0, 1, 1)), "feather is nan"),
        (EditOptions(feather=True, region=(0, 0, 1, 1)), "feather is True"),
    ],
)
def test_what_bounds_an_edit_is_checked(edit_bundle: Bundle, options: EditOptions, said: str) -> None:
    with pytest.raises(InputError, match=said):
        resolve(options, edit_bundle.manifest)


def test_bounds_of_a_request(edit_bundle: Bundle) -> None:
    assert resolve(EditOptions(), edit_bundle.manifest).bounds((40, 30)) is None
    region = resolve(EditOptions(region=(3, 4, 20, 10), feather=2), edit_bundle.manifest).bounds((40, 30))
    assert region is not None and (region.box, region.feather) == ((3, 4, 23, 14), 2)
    mask = resolve(EditOptions(mask=np.ones((30, 40), np.bool_)), edit_bundle.manifest).bounds((40, 30))
    assert mask is not None and mask.box == (0, 0, 40, 30)


def test_plan_text_is_parsed(edit_bundle: Bundle) -> None:
    request = resolve(EditOptions(plan="1. Edit Instruction: paint it red"), edit_bundle.manifest)
    assert request.plan is not None
    assert request.plan.edit_instruction == "paint it red"


@pytest.fixture
def student(edit_bundle: Bundle) -> Manifest:
    few = Distilled(timesteps=((999,), (999, 700)), noise="fresh", teacher_steps=30, guidance_scale=7.5)
    facts = Schedule(steps=2, guidance_scale=1.0, shift=3.0, seed=1, distilled=few)
    return msgspec.structs.replace(edit_bundle.manifest, schedule=facts)


def test_a_students_defaults_and_choices(student: Manifest) -> None:
    default = resolve(EditOptions(), student)
    assert (default.steps, default.guidance_scale, default.schedule) == (2, 1.0, "student")
    one = resolve(EditOptions(steps=1, guidance_scale=1), student)
    assert (one.steps, one.schedule) == (1, "student")
    taught = resolve(EditOptions(schedule="teacher"), student)
    assert (taught.steps, taught.guidance_scale, taught.schedule) == (30, 1.0, "teacher")
    assert resolve(EditOptions(schedule="teacher", steps=7, guidance_scale=2), student).guidance_scale == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (EditOptions(steps=3), "distilled for 1, 2"),
        (EditOptions(guidance_scale=5), "guidance 7.5"),
        (EditOptions(schedule="student", guidance_scale=0), "schedule 'teacher'"),
    ],
)
def test_what_a_student_does_not_do_is_said(student: Manifest, options: EditOptions, said: str) -> None:
    with pytest.raises(InputError, match=said):
        resolve(options, student)


def test_a_painter_that_was_not_distilled_has_no_students_schedule(edit_bundle: Bundle) -> None:
    assert resolve(EditOptions(), edit_bundle.manifest).schedule == "teacher"
    with pytest.raises(InputError, match="not distilled"):
        resolve(EditOptions(schedule="student"), edit_bundle.manifest)
