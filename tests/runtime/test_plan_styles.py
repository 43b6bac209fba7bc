"""The style of a plan: the bundle's own names, the request that asks for each, and what is said of a written plan."""

from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from recorder import RecordingBackend

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.blueprint import Blueprint
from dimrt.bundle import Bundle
from dimrt.chain import Chain
from dimrt.editor import Editor
from dimrt.errors import InputError
from dimrt.events import Event, PlanReady
from dimrt.manifest import PlanStyle
from dimrt.options import EditOptions
from dimrt.prompt import Prompts
from dimrt.request import resolve

INSTRUCTION = "make it red"


@pytest.fixture(scope="module")
def styled(edit_bundle: Bundle) -> Bundle:
    """The tiny bundle, whose manifest says that it writes brief plans too."""
    facts = edit_bundle.manifest
    prompt = msgspec.structs.replace(facts.designer.prompt, styles=(PlanStyle("brief", "In brief: {instruction}"),))
    designer = msgspec.structs.replace(facts.designer, prompt=prompt)
    return Bundle(edit_bundle.path, msgspec.structs.replace(facts, designer=designer), edit_bundle.digest)


def test_full_is_the_default_and_all_that_an_older_bundle_knows(edit_bundle: Bundle, styled: Bundle) -> None:
    assert resolve(EditOptions(), styled.manifest).plan_style == "full"
    assert resolve(EditOptions(plan_style="brief"), styled.manifest).plan_style == "brief"
    assert list(edit_bundle.manifest.designer.prompt.requests) == ["full"]
    with pytest.raises(InputError, match=r"plan_style is 'brief'; .* its own: full$"):
        resolve(EditOptions(plan_style="brief"), edit_bundle.manifest)


@pytest.mark.parametrize("style", ["", "Brief", "short", 3])
def test_an_unknown_style_is_told_the_bundles_own(styled: Bundle, style: Any) -> None:
    with pytest.raises(InputError, match=r"own: full, brief$") as told:
        resolve(EditOptions(plan_style=style), styled.manifest)
    assert repr(style) in str(told.value) and styled.manifest.name in str(told.value)


def test_each_style_has_its_request_behind_the_same_picture(styled: Bundle) -> None:
    prompts = Prompts(styled.tokenizer_path, styled.manifest.designer)
    full, brief = (prompts.plan_turn(INSTRUCTION, 6, style) for style in ("full", "brief"))
    assert "In brief: make it red" in prompts.decode(brief.ids) and "In brief" not in prompts.decode(full.ids)
    assert full.shared == brief.shared
    np.testing.assert_array_equal(full.ids[: full.shared], brief.ids[: brief.shared])


def edit(bundle: Bundle, backend: Any, photo: NDArray[np.uint8], **options: Any) -> tuple[Any, list[Event]]:
    events: list[Event] = []
    asked = EditOptions(steps=1, max_new_tokens=4, **options)
    return Editor(bundle, backend).edit(photo, INSTRUCTION, asked, on_event=events.append), events


def test_the_chain_asks_in_the_style_and_says_which(
    styled: Bundle, edit_backend: OrtBackend, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    turn = Prompts.plan_turn

    def spy(self: Prompts, instruction: str, image_tokens: int, style: str = "full") -> Any:
        asked.append(style)
        return turn(self, instruction, image_tokens, style)

    monkeypatch.setattr(Prompts, "plan_turn", spy)
    result, events = edit(styled, edit_backend, photo, plan_style="brief")
    assert asked == ["brief"] and result.plan_style == "brief"
    assert [event.style for event in events if isinstance(event, PlanReady)] == ["brief"]


def test_a_given_plan_and_none_have_no_style(
    styled: Bundle, edit_backend: OrtBackend, photo: NDArray[np.uint8]
) -> None:
    given, events = edit(styled, edit_backend, photo, plan="paint it")
    assert given.plan_style is None
    assert [event.style for event in events if isinstance(event, PlanReady)] == [None]
    bare, _ = edit(styled, edit_backend, photo, think=False)
    assert bare.plan_style is None and bare.blueprint is None


def test_styles_share_the_prefix_of_one_picture(
    styled: Bundle, recording: RecordingBackend, photo: NDArray[np.uint8]
) -> None:
    """A second plan of the same picture in another style reads neither the picture nor the prefix again."""
    editor = Editor(styled, recording)
    editor.edit(photo, INSTRUCTION, EditOptions(steps=1, max_new_tokens=4))
    chain: Chain = editor._chain
    held = chain._briefing._designer._prefix
    editor.edit(photo, INSTRUCTION, EditOptions(steps=1, max_new_tokens=4, plan_style="brief"))
    assert chain._briefing._designer._prefix is held
    assert len(recording.feeds("vision")) == 1


def test_a_brief_plan_is_read_for_what_it_has() -> None:
    text = "3. Local Object Perception: remove the red ring\n4. Edit Area Localization: top left"
    plan = Blueprint.parse(text)
    assert (plan.local_objects, plan.edit_area) == ("remove the red ring", "top left")
    assert plan.text == text
    assert Blueprint(local_objects=plan.local_objects, edit_area=plan.edit_area).render() == text
