"""The plan parser on the forms that models write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimrt.blueprint import TITLES, Blueprint

PLAIN = """1. Edit Instruction: Make the kite green.
2. Global Layout Perception: A kite at the upper left, a beach below.
3. Local Object Perception: The kite is red: a diamond with a tail.
4. Edit Area Localization: The kite at the upper left.
5. Edited Image Imagination: A green kite over the same beach."""

SPACED = """
1. **Edit Instruction:** Make the kite green.

2. **Global Layout Perception:** A kite at the upper left, a beach below.

3. **Local Object Perception**:
   - **Kite**: red, a diamond with a tail.
   - **Beach**: pale sand.

4. **Edit Area Localization:**
The kite at the upper left.

5. **Edited Image Imagination:** A green kite over the same beach.
"""


def test_plain_plan() -> None:
    plan = Blueprint.parse(PLAIN)
    assert plan.edit_instruction == "Make the kite green."
    assert plan.local_objects == "The kite is red: a diamond with a tail."
    assert plan.edited_image == "A green kite over the same beach."
    assert plan.missing == ()
    assert plan.render() == PLAIN
    assert plan.raw == plan.text == PLAIN


def test_bold_titles_blank_lines_and_lists() -> None:
    plan = Blueprint.parse(SPACED)
    assert plan.edit_instruction == "Make the kite green."
    assert plan.local_objects == "- **Kite**: red, a diamond with a tail.\n   - **Beach**: pale sand."
    assert plan.edit_area == "The kite at the upper left."
    assert plan.missing == ()
    assert plan.text == SPACED.strip()
    assert Blueprint.parse(plan.render()).sections == plan.sections


@pytest.mark.parametrize(
    "form", ["{n}) {t}: x{n}", "### {n}. {t}: x{n}", "**{n}. {t}**: x{n}", "{t} : x{n}", "- {t}: x{n}"]
)
def test_other_numberings(form: str) -> None:
    text = "\n".join(form.format(n=n, t=title) for n, title in enumerate(TITLES.values(), 1))
    assert list(Blueprint.parse(text).sections.values()) == ["x1", "x2", "x3", "x4", "x5"]


def test_cut_off_plan_keeps_what_is_there() -> None:
    plan = Blueprint.parse(PLAIN[: PLAIN.index("4.") + 30])
    assert plan.global_layout.startswith("A kite")
    assert plan.missing == ("Edited Image Imagination",) or "Edit Area Localization" in plan.missing


def test_free_text_has_no_sections_and_stays_whole() -> None:
    plan = Blueprint.parse("  just make it greener ")
    assert len(plan.missing) == 5
    assert plan.text == "just make it greener"


def test_title_inside_a_sentence_is_no_heading() -> None:
    plan = Blueprint.parse("1. Edit Instruction: write 'Edit Area Localization: here'\n4. Edit Area Localization: sky")
    assert plan.edit_instruction == "write 'Edit Area Localization: here'"
    assert plan.edit_area == "sky"


def test_plan_by_hand_renders_its_sections() -> None:
    assert Blueprint(edit_instruction="a", edit_area="b").text == "1. Edit Instruction: a\n4. Edit Area Localization: b"


@given(st.text())
def test_any_text_is_parsed_and_kept(text: str) -> None:
    assert Blueprint.parse(text).raw == text


words = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=20)


@given(st.fixed_dictionaries(dict.fromkeys(TITLES, words)))
def test_render_and_parse_are_inverse(sections: dict[str, str]) -> None:
    plan = Blueprint(**sections)
    assert Blueprint.parse(plan.render()).sections == plan.sections


@pytest.mark.parametrize(
    ("area", "everything"),
    [
        ("whole picture", True),
        ("The edit covers the **entire image**.", True),
        ("Everywhere in the frame", True),
        ("the entire sky", False),
        ("top left and the whole bench", False),
        ("The entire photo except the person in front", False),
        ("the whole scene, but not the lamp", False),
        ("", False),
    ],
)
def test_whether_a_plan_edits_everything(area: str, everything: bool) -> None:
    assert Blueprint(edit_area=area).edits_everything is everything
