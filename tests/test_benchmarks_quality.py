"""The measures behind the quality table: against known values, and the mixing of two bundles' graphs."""

import json
import subprocess
import sys
from pathlib import Path

import metrics
import numpy as np
import onnxruntime as ort
import pytest
import quality
import quality_cases
import quality_table
from mixing import MixedBackend, MixedBundle, mixed_editor

from dimrt import EditOptions, Editor
from dimrt.backends.onnxruntime import OrtBackend
from dimrt.blueprint import Blueprint
from dimrt.bundle import Bundle
from dimrt.export.nano.filters import FILTERS
from dimrt.manifest import GRAPHS

ROOT = Path(__file__).parent.parent
PLAN = Blueprint("paint it", "a dog on grass", "brown fur", "the dog", "a blue dog on grass")


def grey(level, side=32):
    return np.full((side, side, 3), level, np.uint8)


def opened(folder):
    bundle = Bundle.open(folder, verify="layout")
    return bundle, OrtBackend(bundle, threads=1)


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(3).integers(0, 255, (64, 48, 3)).astype(np.uint8)


def test_decibels_of_a_known_error():
    assert metrics.squared_error(grey(100), grey(105)) == 25
    assert metrics.decibels(25) == pytest.approx(34.151404, abs=1e-6)  # 10 log10(255^2 / 25)
    assert metrics.squared_error(grey(0), grey(255)) == 255**2  # no overflow of bytes
    assert metrics.decibels(255**2) == 0


def test_equal_pictures_are_at_no_distance(noise):
    assert metrics.distance(noise, noise.copy()) == metrics.Distance(0.0, 0.0, 1.0)
    assert metrics.flip(noise, noise) == 0
    assert metrics.ssim(noise, noise) == pytest.approx(1)
    assert metrics.decibels(0) == metrics.CAP


def test_ssim_of_flat_pictures_is_its_light_term():
    x, y, c1 = 100.0, 140.0, (0.01 * 255) ** 2
    assert metrics.ssim(grey(100), grey(140)) == pytest.approx((2 * x * y + c1) / (x * x + y * y + c1))


def test_ssim_of_an_inverted_picture_is_negative(noise):
    assert metrics.ssim(255 - noise, noise) < -0.5


def test_flip_grows_with_the_difference(noise):
    near, far = (np.clip(noise.astype(int) + by, 0, 255).astype(np.uint8) for by in (4, 60))
    assert 0 < metrics.flip(near, noise) < metrics.flip(far, noise) < 1
    assert metrics.flip(grey(255), grey(0)) > 0.9


def test_summary_pools_the_errors_of_all_cases():
    distances = [metrics.distance(grey(level), grey(100)) for level in (100, 110, 100, 100)]
    summary = metrics.summary(distances)
    assert summary["cases"] == 4 and summary["equal"] == 3
    assert summary["psnr_db"] == pytest.approx(34.15, abs=0.01)  # mean squared error 100 / 4
    assert summary["psnr_worst_db"] == pytest.approx(28.13, abs=0.01)
    assert summary["psnr_mean_db"] > summary["psnr_db"]
    assert summary["flip_worst"] == pytest.approx(4 * summary["flip_mean"], abs=1e-4)


def test_slots_are_compared_word_for_word():
    other = Blueprint("paint it!", "a dog on grass", "brown fur", "the cat", "a blue dog on grass")
    assert metrics.equal_slots(other, PLAN) == {
        "global_layout": True,
        "local_objects": True,
        "edit_area": False,
        "edited_image": True,
    }
    report = metrics.compare_plans([(other, PLAN), (PLAN, PLAN), (None, None), (None, PLAN)])
    assert report["equal_slots_percent"] == pytest.approx(100 * 11 / 16, abs=0.01)
    assert report["exact_percent"] == 50
    assert report["by_slot_percent"]["edit_area"] == 50


def test_a_copied_instruction_counts_for_the_exact_plan_only():
    other = Blueprint("paint it now", *list(PLAN.sections.values())[1:])
    report = metrics.compare_plans([(other, PLAN)])
    assert (report["equal_slots_percent"], report["exact_percent"]) == (100, 0)


@pytest.fixture(scope="module")
def photo():
    return np.asarray(np.random.default_rng(8).integers(0, 255, (90, 70, 3)), np.uint8)


OPTIONS = EditOptions(steps=2, seed=5, max_new_tokens=6, composite="none")


@pytest.mark.parametrize("taken", [(), ("language",), ("context", "vision"), GRAPHS])
def test_mixing_a_bundle_with_itself_changes_nothing(tiny_fp16_bundle, photo, taken):
    base = opened(tiny_fp16_bundle)
    expected = Editor(*base).edit(photo, "paint it blue", OPTIONS)
    result = mixed_editor(base, opened(tiny_fp16_bundle), taken).edit(photo, "paint it blue", OPTIONS)
    assert np.array_equal(result.painted, expected.painted)
    assert result.blueprint == expected.blueprint


def test_taking_none_or_all_graphs_gives_one_of_the_two(tiny_edit_bundle, tiny_fp16_bundle, photo):
    base, other = opened(tiny_edit_bundle), opened(tiny_fp16_bundle)
    square = photo[:64, :64]
    alone = [Editor(*pair).design(square, "paint it", OPTIONS).condition for pair in (base, other)]
    assert not np.array_equal(*alone)
    for taken, expected in (((), alone[0]), (GRAPHS, alone[1])):
        mixed = mixed_editor(base, other, taken).design(square, "paint it", OPTIONS).condition
        assert np.array_equal(mixed, expected)


def test_each_graph_and_its_table_come_from_where_they_were_taken(tiny_edit_bundle, tiny_fp16_bundle):
    base, other = opened(tiny_edit_bundle), opened(tiny_fp16_bundle)
    mixed = MixedBundle(base[0], other[0], {"context"})
    assert mixed.table("null_condition").dtype == np.float16
    assert mixed.table("embeddings").dtype == np.float32
    assert mixed.graph_path("context").is_relative_to(tiny_fp16_bundle)
    assert mixed.graph_path("step").is_relative_to(tiny_edit_bundle)
    assert {name for name in GRAPHS if mixed.manifest.graphs[name].inputs[0].dtype == "float16"} == {"context"}
    backend = MixedBackend(mixed, base[1], other[1], {"context"})
    assert not hasattr(backend.engine("context"), "no_such_thing")


@pytest.mark.parametrize(
    ("taken", "given", "needed"), [({"context"}, "float16", "float32"), ({"step"}, "float32", "float16")]
)
def test_what_crosses_the_border_is_cast_and_nothing_else(
    tiny_edit_bundle, tiny_fp16_bundle, monkeypatch, taken, given, needed
):
    """The context is made in one dtype and read in the other; the latents on the device stay as they are."""
    base, other = opened(tiny_edit_bundle), opened(tiny_fp16_bundle)
    editor = mixed_editor(base, other, taken)
    seen = {}
    owner = (other if "step" in taken else base)[1]
    step = owner.engine("step")
    run = step.run
    monkeypatch.setattr(step, "run", lambda feeds, **rest: seen.update(feeds) or run(feeds, **rest))
    made = {}
    context = (other if "context" in taken else base)[1].engine("context")
    read = context.run
    monkeypatch.setattr(context, "run", lambda feeds, **rest: made.update(read(feeds, **rest)) or made)
    manifest = Bundle.open(tiny_fp16_bundle, verify="layout").manifest
    side = manifest.resolution.side // manifest.resolution.latent_factor
    latent = np.random.default_rng(0).standard_normal((1, manifest.painter.latent_channels, side, side))
    design = quality_design(manifest)
    editor.paint(design, latent.astype(np.float32), OPTIONS)
    values = made["context"].numpy()
    assert values.dtype == given and seen["context"].dtype == needed
    assert np.array_equal(seen["context"], values.astype(needed))
    assert isinstance(seen["latent"], ort.OrtValue)


def quality_design(manifest):
    from dimrt.result import Design

    rows = np.random.default_rng(1).standard_normal((7, manifest.painter.condition_channels))
    return Design(None, rows.astype(np.float32))


def test_cases_are_the_same_for_a_seed_and_held_out_photographs_are_among_them():
    cases = quality_cases.draw_cases(2, 1, 9)
    again = quality_cases.draw_cases(2, 1, 9)
    assert len(cases) == 2 * 9 + len(FILTERS)
    assert all(
        np.array_equal(a.source, b.source) and a.instruction == b.instruction for a, b in zip(cases, again, strict=True)
    )
    part = quality_cases.part_of(cases, 1, 4)
    kinds = [cases[index].kind for index in part]
    assert kinds.count("add") == 1 and kinds.count(quality_cases.PHOTO) == 4
    others = quality_cases.draw_cases(2, 1, 10)
    assert not any(np.array_equal(a.source, b.source) for a, b in zip(cases, others, strict=True))


def test_success_counts_what_was_lost_and_gained():
    cases = quality_cases.draw_cases(1, 0, 4)
    right = [quality_cases.Outcome(case.target, case.target, PLAN) for case in cases]
    wrong = [quality_cases.Outcome(case.source, case.source, PLAN) for case in cases]
    row = quality_cases.success(cases, [wrong[0], *right[1:]], right, quality_cases.image)
    assert (row["scenes"], row["lost"], row["gained"]) == (9, 1, 0)
    assert row["difference_points"] == pytest.approx(-100 / 9, abs=0.01)
    row = quality_cases.success(cases, right, wrong, quality_cases.painted)
    assert (row["percent"], row["fp32_percent"], row["gained"]) == (100, 0, 9)


def test_goals_say_what_was_missed():
    measured = {
        "given_plan": {"painted": {"psnr_db": 29.9}},
        "success": {"difference_points": -0.6},
        "plans": {"equal_slots_percent": 98.0},
    }
    assert [goal["met"] for goal in quality.goals("int8", measured)] == [False, True]
    assert [goal["met"] for goal in quality.goals("int4-cpu", measured)] == [True]
    measured["success"]["difference_points"] = -1.1
    assert [goal["met"] for goal in quality.goals("fp16", measured)] == [False, False]


@pytest.mark.slow
def test_the_quick_form_runs_whole(tmp_path):
    """Exports both bundles and measures: some minutes."""
    command = [sys.executable, str(ROOT / "benchmarks" / "quality.py"), "--quick", "--out", str(tmp_path / "q.json")]
    subprocess.run([*command, "--bundles", str(tmp_path)], check=True, stdout=subprocess.DEVNULL)
    document = json.loads((tmp_path / "q.json").read_text())
    fp16 = document["measured"]["recipes"]["fp16"]
    assert fp16["given_plan"]["painted"]["psnr_db"] > 50
    assert set(fp16["graphs"]) == set(GRAPHS)
    assert all(row["given_plan"]["psnr_db"] > 50 for row in fp16["graphs"].values())
    text = quality_table.table(document["measured"]["recipes"])
    assert "fp16" in text and "met" in text
    again = subprocess.run([*command, "--bundles", str(tmp_path)], check=True, capture_output=True, text=True)
    assert '"benchmark"' not in again.stdout  # nothing measured anew
