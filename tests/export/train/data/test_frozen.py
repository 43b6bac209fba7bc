"""What the frozen parts make of rows, against the library and against the runtime on an exported bundle."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from training_sets import cases

import dimrt
from dimrt.backends.choose import open_backend
from dimrt.bundle import Bundle
from dimrt.designer import Designer
from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.model.source import load_part
from dimrt.export.pipeline import open_source
from dimrt.export.train.data import frozen as frozen_parts
from dimrt.export.train.data.crops import cut
from dimrt.export.train.data.frozen import Frozen, frozen_digests
from dimrt.export.train.data.problems import RowProblem
from dimrt.export.train.data.vision import embed
from dimrt.photo.read import Photo
from dimrt.vision import condition_size, fit_size, prepare, window_order

SHIPPED = Path(dimrt.__file__).parent / "bundles" / "nano"
TEXTS = ["Make it red.", "Remove", "x"]
"""Short: the tiny painter takes 40 rows, and a picture has 27 of them."""


def photos() -> list[Photo]:
    """Pictures of different sizes, one with alpha."""
    found = [Photo(np.ascontiguousarray(case.source[: 128 - 20 * i])) for i, case in enumerate(cases(3))]
    alpha = np.tile(np.arange(128, dtype=np.uint8), (found[1].pixels.shape[0], 1))
    return [found[0], Photo(found[1].pixels, alpha), found[2]]


def test_conditions_are_what_the_runtimes_designer_gives() -> None:
    """The shipped bundle against the checkpoint that it was made of. The runtime's condition has passed the connector,
    so the connector is put behind the rows here.
    """
    source, _ = open_source("nano", None, None, offline=True)
    frozen, connector = Frozen.load(source), load_part(source, "connector")
    text = cases(1)[0].plan.text()
    rows = frozen.conditions(
        [frozen.turn(text, picture=True), frozen.turn("bare", picture=True)],
        [frozen.view(photo) for photo in photos()[:2]],
    )
    bundle = Bundle.open(SHIPPED)
    designer = Designer(bundle, open_backend(bundle, "cpu", threads=1))
    size = condition_size(bundle.manifest.designer.vision)
    for own, said, photo in zip(rows, (text, "bare"), photos(), strict=False):
        view = designer.view(prepare(photo.pixels, bundle.manifest.designer.vision, size, photo.alpha))
        turn = designer.prompts.condition_turn(said, view.grid[0] * view.grid[1])
        expected = np.asarray(designer.condition(turn, view))[0].astype(np.float32)
        with torch.no_grad():
            found = connector(own).numpy()
        assert np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)


def test_conditions_without_a_picture(tiny_generate: Frozen) -> None:
    turns = [tiny_generate.turn(text, picture=False) for text in TEXTS]
    together = tiny_generate.conditions(turns, None)
    assert [len(rows) for rows in together] == [len(tiny_generate.prompts.encode(text)) for text in TEXTS]
    for text, rows in zip(TEXTS, together, strict=True):
        turn = tiny_generate.turn(text, picture=False)
        ids = torch.from_numpy(turn.ids)[None]
        with torch.no_grad():
            out = tiny_generate.designer(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
        torch.testing.assert_close(rows, out[turn.condition], atol=1e-4, rtol=0)


def test_a_batch_reads_each_row_as_alone(tiny: Frozen) -> None:
    turns = [tiny.turn(text, picture=True) for text in TEXTS]
    together = tiny.conditions(turns, [tiny.view(photo) for photo in photos()])
    for turn, photo, rows in zip(turns, photos(), together, strict=True):
        torch.testing.assert_close(tiny.conditions([turn], [tiny.view(photo)])[0], rows, atol=1e-5, rtol=0)


def test_large_batches_go_through_in_parts(tiny: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    turns, views = [tiny.turn(text, picture=True) for text in TEXTS], [tiny.view(photo) for photo in photos()]
    pixels = torch.from_numpy(np.stack([cut(photo, (96, 64)) for photo in photos()]))
    whole, latents = tiny.conditions(turns, views), tiny.encode(pixels)
    pictures = tiny.decode(latents)
    monkeypatch.setattr(frozen_parts, "TOKENS_AT_ONCE", 2 * max(len(turn.ids) for turn in turns))
    monkeypatch.setattr(frozen_parts, "PIXELS_AT_ONCE", 2 * 96 * 64)
    for one, other in zip(whole, tiny.conditions(turns, views), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    torch.testing.assert_close(tiny.encode(pixels), latents, atol=1e-4, rtol=0)
    torch.testing.assert_close(tiny.decode(latents), pictures, atol=1e-4, rtol=0)


def test_a_designer_in_half_precision_reads_nearly_the_same(tiny: Frozen, tiny_checkpoint: Path) -> None:
    half = Frozen.load(Checkpoint.open(tiny_checkpoint, offline=True), "cpu", torch.bfloat16)
    assert half.designer.dtype == torch.bfloat16 and half.autoencoder.dtype == torch.float32
    turns, views = [tiny.turn(text, picture=True) for text in TEXTS], [tiny.view(photo) for photo in photos()]
    for one, other in zip(tiny.conditions(turns, views), half.conditions(turns, views), strict=True):
        assert other.dtype == torch.float32
        assert (one - other).norm() < 0.05 * one.norm()


@pytest.mark.parametrize("size", [(140, 140), (112, 112), (84, 196), (28, 28)])
def test_batched_pictures_equal_the_librarys_vision_tower(tiny: Frozen, size: tuple[int, int]) -> None:
    """With windows that are full, and with windows that are padded."""
    vision = tiny.facts.vision
    views = [prepare(photo.pixels, vision, fit_size(*size, vision)) for photo in photos()]
    source, _ = window_order(views[0].grid, vision)
    patches = torch.from_numpy(np.stack([view.patches for view in views]))[:, torch.from_numpy(source >= 0)]
    raster = torch.empty_like(patches)
    raster[:, torch.from_numpy(source[source >= 0])] = patches
    grids = torch.tensor([[1, *views[0].grid]] * len(views))
    with torch.no_grad():
        expected = tiny.designer.model.visual(raster.flatten(0, 1), grid_thw=grids).pooler_output
        found = embed(tiny.designer, views)
    torch.testing.assert_close(found, expected.view_as(found), atol=1e-5, rtol=1e-4)


def test_latents_are_the_librarys_scaled(tiny: Frozen) -> None:
    pixels = torch.from_numpy(np.stack([cut(photo, (160, 96)) for photo in photos()]))
    latents = tiny.encode(pixels)
    assert latents.shape == (3, 8, 3, 5) and latents.dtype == torch.float32
    with torch.no_grad():
        expected = tiny.autoencoder.encode(pixels[1:2]).latent * 0.41407
    torch.testing.assert_close(latents[1:2], expected, atol=1e-5, rtol=1e-5)
    assert tiny.decode(latents).shape == pixels.shape


def test_a_text_that_the_runtime_would_refuse_is_a_problem(tiny: Frozen) -> None:
    room = tiny.max_condition - tiny.image_tokens - 2
    assert room > 0
    tiny.turn("x" * room, picture=True)
    with pytest.raises(RowProblem, match=f"at most {tiny.max_condition}") as raised:
        tiny.turn("x" * (room + 1), picture=True)
    assert raised.value.kind == "long text"


def test_digests_tell_of_other_weights_tokens_and_settings(tiny_checkpoint: Path, tmp_path: Path) -> None:
    same = frozen_digests(Checkpoint.open(tiny_checkpoint, offline=True))
    copy = tmp_path / "copy"
    shutil.copytree(tiny_checkpoint, copy)
    assert frozen_digests(Checkpoint.open(copy, offline=True)) == same
    tensors = load_file(copy / "model.safetensors")
    tensors["decoder.model.x_embedder.proj.bias"] += 1
    save_file(tensors, copy / "model.safetensors")
    assert frozen_digests(Checkpoint.open(copy, offline=True)) == same
    tensors["mllm.model.norm.weight"] = tensors["mllm.model.norm.weight"] * 1.001
    save_file(tensors, copy / "model.safetensors")
    other = frozen_digests(Checkpoint.open(copy, offline=True))
    assert other["designer"] != same["designer"] and other["autoencoder"] == same["autoencoder"]
    facts = json.loads((copy / "dim.json").read_text())
    facts["prompt"]["system"] = "You do not help."
    (copy / "dim.json").write_text(json.dumps(facts))
    assert frozen_digests(Checkpoint.open(copy, offline=True))["designer"] != other["designer"]
