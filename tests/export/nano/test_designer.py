import json

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from transformers import Qwen2_5_VLForConditionalGeneration

from dimrt.export.nano.cases import draw_case, generator, scene_case
from dimrt.export.nano.designer import (
    build_designer,
    embed_pictures,
    load_prompts,
    run_text,
    save_designer,
    view_pictures,
)
from dimrt.export.nano.designer_training import (
    PlanLesson,
    Recipe,
    train_designer,
)
from dimrt.export.nano.readers import RECALLED, TextReader, scene_labels
from dimrt.export.nano.scenes import sample_scene
from dimrt.export.nano.turns import FORMS, IGNORED, Turns, encode_turn, turn_batch
from dimrt.export.nano.writing import write_plans
from dimrt.vision import window_order

TINY = Recipe(look_steps=2, look_batch=4, steps=3, hard_steps=2, batch=4, warmup=1, save_every=1)


@pytest.fixture(scope="module")
def setting(tokenizer_path):
    prompts, facts = load_prompts(tokenizer_path)
    return build_designer(tokenizer_path).eval(), prompts, facts


@pytest.fixture(scope="module")
def cases():
    return [scene_case(generator("held-out", 3, index), "remove", (0, 1.0)) for index in range(3)]


def library_inputs(views, facts):
    """Patches of the batch in the library's own order, and its grids."""
    order = np.argsort(window_order((8, 8), facts.vision)[0])
    patches = views.patches[:, order]
    return patches.reshape(-1, patches.shape[-1]), torch.tensor([[1, 8, 8]] * len(patches))


@torch.no_grad()
def test_batched_pictures_equal_the_librarys_vision_tower(setting, cases):
    model, _, facts = setting
    views = view_pictures([case.source for case in cases], facts.vision)
    patches, grids = library_inputs(views, facts)
    expected = model.model.visual(patches, grid_thw=grids).pooler_output.view(len(cases), 16, -1)
    torch.testing.assert_close(embed_pictures(model, views), expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_batched_text_equals_the_librarys_model(setting, cases):
    model, prompts, facts = setting
    batch = turn_batch(cases, ["write full", "read brief", "bare"], prompts, facts)
    hidden = run_text(model, batch.ids, embed_pictures(model, batch.views), batch.positions)
    patches, grids = library_inputs(batch.views, facts)
    kinds = (batch.ids == facts.tokens.image_pad).int()
    expected = model.model(
        input_ids=batch.ids, pixel_values=patches, image_grid_thw=grids, mm_token_type_ids=kinds
    ).last_hidden_state
    torch.testing.assert_close(hidden, expected, atol=1e-4, rtol=1e-3)


def test_a_plan_turn_learns_the_plan_and_its_end(setting, cases):
    _, prompts, facts = setting
    ids, start = encode_turn(cases[0], "write full", prompts, facts)
    assert prompts.decode(ids[start:]) == cases[0].plan.text()
    assert ids[-1] == facts.tokens.im_end
    ids, start = encode_turn(cases[0], "bare", prompts, facts)
    assert prompts.decode(ids[start:]) == cases[0].instruction


def test_batches_pad_at_the_end_and_learn_no_padding(setting, cases):
    _, prompts, facts = setting
    batch = turn_batch(cases, ["write full"] * 3, prompts, facts)
    assert batch.ids.shape == batch.targets.shape and batch.ids.shape[1] % 16 == 0
    for row, case in enumerate(cases):
        learned = batch.targets[row][batch.targets[row] != IGNORED]
        assert prompts.decode(learned.numpy()) == case.plan.text()
        assert (batch.ids[row, -1] == facts.tokens.stop[1]) or batch.ids.shape[1] % 16 == 0


def test_turns_are_drawn_by_their_numbers_and_grouped_by_form(setting):
    _, prompts, facts = setting
    turns = Turns(60, 0, prompts, facts)
    brief = [index for index, size in enumerate(turns.sizes()) if FORMS[size[0]] == "read brief"][:3]
    first = turns.batch(brief)
    turns.batch([1, 5])
    assert torch.equal(first.ids, turns.batch(brief).ids)
    assert first.read.any() and all(key.startswith("read brief") for key in first.keys)
    many = [index for index, size in enumerate(turns.sizes()) if FORMS[size[0]] == "many"]
    assert "3. Local" in prompts.decode(turns.batch(many[:1]).ids[0].numpy())


def test_scene_labels_name_every_slot():
    scene = sample_scene(generator("training", 0, 0), 3)
    labels = scene_labels(scene)
    assert len(labels) == 9 * 3 + 2
    assert sum(label > 0 for label in labels[:27]) == 9 and min(labels[27:]) > 0
    assert scene_labels(None) == [0] * 29


def test_conditions_mark_their_text_as_read(setting, cases):
    _, prompts, facts = setting
    batch = turn_batch(cases, ["write full", "read brief", "bare"], prompts, facts)
    assert not batch.read[0].any()
    assert prompts.decode(batch.ids[1][batch.read[1]].numpy()) == cases[1].plan.text("brief")
    assert prompts.decode(batch.ids[2][batch.read[2]].numpy()) == cases[2].instruction


def test_the_text_reader_asks_for_the_words_before_and_none_outside():
    """States that hold their own and the earlier words' embeddings side by side are read without error."""
    reader, length = TextReader(), 9
    embedding = torch.eye(length, 192) * 20
    ids = torch.arange(length)[None]
    read = torch.zeros(1, length, dtype=torch.bool)
    read[:, 2:7] = True
    hidden = torch.zeros(1, length, 192)
    with torch.no_grad():
        reader.maps.weight.zero_()
        reader.maps.bias.zero_()
        for back in range(RECALLED):
            for place in range(2 + back, 7):
                hidden[0, place, back * length + place - back] = 1
            for word in range(length):
                reader.maps.weight[back * 192 + word, back * length + word] = 1
        _, right = reader.loss(hidden, ids, read, embedding)
        _, wrong = reader.loss(torch.zeros_like(hidden), ids, read, embedding)
    assert right == 1 and wrong < 0.5


@torch.no_grad()
def test_batched_writing_equals_the_librarys_greedy_generation(setting, cases):
    model, prompts, facts = setting
    few = replace_limit(facts, 12)
    written = write_plans(model, [case.source for case in cases], [case.instruction for case in cases], prompts, few)
    for case, text in zip(cases, written, strict=True):
        ids = torch.from_numpy(prompts.plan_turn(case.instruction, 16).ids)[None]
        patches, grids = library_inputs(view_pictures([case.source], facts.vision), facts)
        kinds = (ids == facts.tokens.image_pad).int()
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=patches,
            image_grid_thw=grids,
            mm_token_type_ids=kinds,
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=list(facts.tokens.stop),
        )
        assert prompts.decode(out[0, ids.shape[1] :].numpy()) == text


def replace_limit(facts, limit):
    return replace(facts, decoding=replace(facts.decoding, max_new_tokens=limit))


def test_training_moves_every_matrix_and_saves_the_result(tmp_path, tokenizer_path):
    (tmp_path / "tokenizer.json").write_bytes(tokenizer_path.read_bytes())
    trained = train_designer(tmp_path, TINY)
    assert (tmp_path / "plan" / "state" / "step-00000003").is_dir()
    assert (tmp_path / "qwen" / "model.safetensors").exists()
    fresh = dict(build_designer(tokenizer_path).named_parameters())
    for name, value in trained.named_parameters():
        assert torch.isfinite(value).all()
        assert value.ndim == 1 or not torch.equal(value, fresh[name]), name


def test_a_resumed_run_repeats_an_unbroken_one(tmp_path, tokenizer_path, monkeypatch):
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer.json").write_bytes(tokenizer_path.read_bytes())
    whole = train_designer(tmp_path / "whole", TINY)
    step, original = 0, PlanLesson.loss

    def power_cut(*arguments):
        nonlocal step
        step += 1
        if step == 2:
            raise RuntimeError("power cut")
        return original(*arguments)

    monkeypatch.setattr(PlanLesson, "loss", power_cut)
    with pytest.raises(RuntimeError, match="power cut"):
        train_designer(tmp_path / "broken", TINY)
    resumed = train_designer(tmp_path / "broken", TINY)
    for (name, value), other in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(value, other), name


@torch.no_grad()
def test_a_saved_designer_loads_as_a_qwen_folder(setting, tmp_path, tokenizer_path):
    model, _, facts = setting
    save_designer(model, tokenizer_path, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"}
    loaded = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path)
    for (name, value), other in zip(model.named_parameters(), loaded.parameters(), strict=True):
        assert torch.equal(value, other), name
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    assert generation["eos_token_id"] == list(facts.tokens.stop)


def test_the_designer_is_as_small_as_planned(setting):
    model, _, _ = setting
    assert sum(value.numel() for value in model.parameters()) < 3.8e6


def test_held_out_cases_are_not_among_the_training_turns():
    training = {draw_case("training", 0, index).plan.text() for index in range(50)}
    held_out = [draw_case("held-out", 0, index).plan.text() for index in range(50)]
    assert len(set(held_out) - training) > 45
