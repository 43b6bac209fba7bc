"""Options are checked against their limits and completed with the bundle's defaults."""

import math
from typing import Any

import pytest

from dimrt.blueprint import Blueprint
from dimrt.bundle import Bundle
from dimrt.errors import InputError
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
        ("plan_view", "wide", "shared, native"),
        ("frame", "square", "whole, crop"),
        ("composite", "blur", "auto, tone, local, none"),
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


def test_plan_text_is_parsed(edit_bundle: Bundle) -> None:
    request = resolve(EditOptions(plan="1. Edit Instruction: paint it red"), edit_bundle.manifest)
    assert request.plan is not None
    assert request.plan.edit_instruction == "paint it red"
