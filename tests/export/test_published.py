"""The published model's requests for plans, full and brief."""

import pytest

from dimrt.blueprint import TITLES, Blueprint
from dimrt.export.model.published import published_config

HEADINGS = [f"{number}. {title}:" for number, title in enumerate(TITLES.values(), 1)]


@pytest.mark.parametrize("task", ["edit", "generate"])
def test_the_manifest_offers_the_full_plan_and_a_brief_one(task):
    assert list(published_config(task).prompt.requests) == ["full", "brief"]


@pytest.mark.parametrize(("style", "asked"), [("full", (0, 1, 2, 3, 4)), ("brief", (2, 3))])
def test_a_request_names_the_sections_of_its_style_alone(style, asked):
    request = published_config("edit").prompt.requests[style]
    assert request.count("{instruction}") == 1 and request.endswith("Edit instruction: {instruction}")
    lines = request.splitlines()
    assert [any(line.startswith(heading) for line in lines) for heading in HEADINGS] == [
        index in asked for index in range(5)
    ]


def test_an_answer_to_the_brief_request_is_read_by_its_headings():
    answer = "3. Local Object Perception: the red ring is removed\n4. Edit Area Localization: top left"
    plan = Blueprint.parse(answer)
    assert plan.missing == tuple(TITLES[field] for field in ("edit_instruction", "global_layout", "edited_image"))
    assert plan.text == answer
