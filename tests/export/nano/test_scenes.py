from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dimrt.blueprint import Blueprint
from dimrt.export.nano.cases import Mixture, draw_case, generator, scene_case
from dimrt.export.nano.edits import EDIT_TYPES
from dimrt.export.nano.oracle import judge
from dimrt.export.nano.plans import parse_plan
from dimrt.export.nano.references import ONLY_REASONING, REASONING, refer
from dimrt.export.nano.scenes import CELLS, place_name, render, sample_scene
from dimrt.export.nano.shapes import SHAPES, SIDE, TEXTURES

ITEMS = (0.4, 0.35, 0.15, 0.1)


def test_a_case_depends_on_stream_seed_and_index_alone():
    first, again = draw_case("training", 3, 17), draw_case("training", 3, 17)
    assert first.plan == again.plan
    assert np.array_equal(first.source, again.source)
    assert np.array_equal(first.target, again.target)
    others = [draw_case("held-out", 3, 17), draw_case("training", 4, 17), draw_case("training", 3, 18)]
    assert all(other.plan != first.plan or not np.array_equal(other.source, first.source) for other in others)


def test_the_default_mixture_draws_every_edit_type_and_origin():
    cases = [draw_case("training", 0, index) for index in range(150)]
    assert {case.kind for case in cases} == set(EDIT_TYPES)
    assert {case.origin for case in cases} == {"scene", "photo", "texture"}
    assert all(case.source.shape == case.target.shape == (SIDE, SIDE, 3) for case in cases)
    assert all(case.source.dtype == case.target.dtype == np.uint8 for case in cases)


def test_a_mixture_restricts_what_is_drawn():
    mixture = Mixture(photos=0, textures=0, kinds=(("remove", 1.0),), items=(1.0, 0, 0, 0))
    cases = [draw_case("training", 0, index, mixture) for index in range(10)]
    assert {case.kind for case in cases} == {"remove"}
    assert all(case.plan.layout.count(",") == 1 and "," not in case.plan.result for case in cases)


def test_items_of_a_scene_can_be_told_apart_and_seen():
    for index in range(30):
        scene = sample_scene(generator("held-out", 1, index), 4)
        assert len({item.cell for item in scene.items}) == 4
        assert len({(item.colour, item.shape) for item in scene.items}) == 4
        assert [item.cell for item in scene.items] == sorted(item.cell for item in scene.items)
        bare = render(scene.with_items([]))
        picture = render(scene)
        for item in scene.items:
            inside = np.zeros((SIDE, SIDE), bool)
            reach = int(0.09 * SIDE)
            x, y = int(item.x * SIDE), int(item.y * SIDE)
            inside[y - reach : y + reach, x - reach : x + reach] = True
            assert (abs(picture.astype(int) - bare).max(axis=2)[inside] > 20).mean() > 0.15


def test_every_shape_is_drawn_inside_its_square_and_none_looks_like_another():
    axis = np.linspace(-1.5, 1.5, 61, dtype=np.float32)
    columns, rows = np.meshgrid(axis, axis)
    masks = {name: distance(columns, rows) < 0 for name, distance in SHAPES.items()}
    for name, mask in masks.items():
        assert mask.any() and not mask[abs(columns) > 1.3].any() and not mask[abs(rows) > 1.3].any(), name
        assert all((mask != other).mean() > 0.01 for key, other in masks.items() if key != name)


def test_places_have_nine_names():
    assert len({place_name(cell) for cell in CELLS}) == 9
    assert place_name((1, 1)) == "center" and place_name((0, 2)) == "top right"


@pytest.mark.parametrize("kind", EDIT_TYPES)
def test_the_oracle_accepts_targets_and_rejects_sources(kind):
    cases = [scene_case(generator("held-out", 11, index), kind, ITEMS) for index in range(12)]
    assert all(judge(case.source, case.target, case.target).both for case in cases)
    assert not any(judge(case.source, case.target, case.source).done for case in cases)


@pytest.mark.parametrize("kind", ["add", "adjust", "remove", "replace", "action"])
def test_the_oracle_sees_a_spoiled_rest_and_a_half_done_edit(kind):
    for index in range(6):
        case = scene_case(generator("held-out", 12, index), kind, ITEMS)
        half = ((case.source.astype(np.uint16) + case.target) // 2).astype(np.uint8)
        assert not judge(case.source, case.target, half).done
        other = scene_case(generator("held-out", 13, index), "background", ITEMS)
        assert not judge(case.source, case.target, other.target).preserved


@pytest.mark.parametrize("kind", EDIT_TYPES)
def test_plans_have_the_five_sections_and_the_verbatim_instruction(kind):
    for index in range(8):
        case = scene_case(generator("held-out", 21, index), kind, ITEMS)
        text = case.plan.text()
        assert parse_plan(text) == case.plan
        assert text.startswith(f"1. Edit Instruction: {case.instruction}\n2. Global Layout Perception: ")
        assert "\n" not in case.instruction


def test_a_plan_with_a_section_missing_or_out_of_order_is_none():
    text = scene_case(generator("held-out", 21, 0), "add", ITEMS).plan.text()
    lines = text.split("\n")
    assert parse_plan("\n".join(lines[:4])) is None
    assert parse_plan("\n".join([lines[1], lines[0], *lines[2:]])) is None
    assert parse_plan(f"\n{text} \n") is not None


def test_plans_agree_with_the_runtimes_reading_of_them():
    from dimrt.blueprint import Blueprint

    plan = scene_case(generator("held-out", 22, 0), "replace", ITEMS).plan
    read = Blueprint.parse(plan.text())
    assert not read.missing
    assert (read.edit_instruction, read.global_layout, read.local_objects) == (plan.instruction, plan.layout, plan.edit)
    assert (read.edit_area, read.edited_image) == (plan.area, plan.result)
    assert read.render() == plan.text()


def test_the_layout_of_the_result_follows_the_edit():
    for index in range(10):
        removed = scene_case(generator("held-out", 31, index), "remove", ITEMS).plan
        name = removed.edit.removeprefix(f"at {removed.area} remove ")
        assert name.endswith(removed.area) and name in removed.layout and name not in removed.result
        added = scene_case(generator("held-out", 32, index), "add", ITEMS).plan
        name = added.edit.removeprefix(f"at {added.area} add ")
        assert name.endswith(added.area) and name in added.result and name not in added.layout


def test_shorter_styles_keep_their_sections_alone():
    plan = scene_case(generator("held-out", 7, 0), "remove", ITEMS).plan
    brief = parse_plan(plan.text("brief"), "brief")
    assert brief is not None and (brief.edit, brief.area) == (plan.edit, plan.area)
    assert brief.instruction == brief.layout == brief.result == ""
    short = parse_plan(plan.text("short"), "short")
    assert short is not None and short.layout == plan.layout and short.result == ""
    assert parse_plan(plan.text("full"), "brief") is None and parse_plan(plan.text("brief")) is None
    assert Blueprint.parse(plan.text("brief")).local_objects == plan.edit


@pytest.mark.parametrize("kind", REASONING)
def test_references_single_out_their_item(kind):
    """Words drawn for one item of a scene are never drawn for another one of it."""
    owners = 0
    for index in range(60):
        rng = generator("training", 21, index)
        scene = sample_scene(rng, 2 + index % 3)
        owner: dict[str, object] = {}
        for item in scene.items:
            for _ in range(8):
                words = refer(rng, scene, item, ((kind, 1.0),))
                if words is not None:
                    assert owner.setdefault(words, item) == item, (words, scene.layout())
        owners += len(owner)
    assert owners > 5


@pytest.mark.parametrize("kind", ["add", "adjust", "extract", "replace", "remove", "action"])
def test_reasoning_cases_name_neither_the_items_place_nor_all_it_is(kind):
    for index in range(10):
        case = scene_case(generator("held-out", 8, index), kind, (0, 0.3, 0.4, 0.3), ONLY_REASONING)
        assert case.plan.area not in case.instruction or kind == "action"
        item = case.plan.edit.split(maxsplit=1)[1]
        assert item not in case.instruction or kind == "add"


def test_many_edits_touch_one_place_each():
    counts = set()
    for index in range(25):
        case = scene_case(generator("training", 9, index), "many", (0.2, 0.2, 0.2, 0.2, 0.1, 0.1))
        edits, areas = case.plan.edit.split(" then "), case.plan.area.split(" and ")
        assert len(set(areas)) == len(edits)
        assert all(area in edit for edit, area in zip(edits, areas, strict=True))
        counts.add(len(edits))
    assert counts == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("texture", TEXTURES)
def test_a_scene_is_the_same_at_every_size(texture: str) -> None:
    rng = np.random.default_rng(3)
    scene = sample_scene(rng, 4)
    scene = replace(scene, background=replace(scene.background, texture=texture))
    large = Image.fromarray(render(scene, 512)).resize((128, 128), Image.Resampling.BOX)
    difference = np.abs(np.asarray(large).astype(int) - render(scene))
    assert difference.mean() < 1.5 and render(scene, 64).shape == (64, 64, 3)
