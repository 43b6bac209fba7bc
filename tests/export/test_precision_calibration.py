"""Calibration: what is measured is what torch sees, what is run is what was given, and it can be kept."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import write_tiny_checkpoint

from dimrt.bundle import Bundle
from dimrt.errors import InputError
from dimrt.export import facts
from dimrt.export.graphs.cases import Cases
from dimrt.export.model.assembly import DIM
from dimrt.export.model.dim import load_dim
from dimrt.export.precision import load_recipe
from dimrt.export.precision.calibrate import calibrate, measured_by
from dimrt.export.precision.calibration_data import CalibrationData, Item, calibration_data
from dimrt.export.precision.observe import ObservedBackend
from dimrt.export.precision.statistics import KEPT_ROWS, InputStatistics, Statistics, assumed_statistics
from dimrt.prompt import Prompts


@pytest.fixture
def bundle(tiny_edit_bundle: Path, tmp_path: Path) -> Bundle:
    return Bundle.open(shutil.copytree(tiny_edit_bundle, tmp_path / "bundle"))


@contextmanager
def inputs_of(modules: dict[str, torch.nn.Module]) -> Iterator[dict[str, torch.Tensor]]:
    """What entered each module last, channels at the end."""
    seen: dict[str, torch.Tensor] = {}

    def note(name: str) -> object:
        def hook(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
            x = arguments[0].detach()
            seen[name] = x.movedim(1, -1) if isinstance(module, torch.nn.Conv2d) else x

        return hook

    hooks = [module.register_forward_pre_hook(note(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def cases_of(reference: Path, folder: Path) -> tuple[DIM, Cases]:
    checkpoint = write_tiny_checkpoint(reference, folder / "tiny", "edit")
    dim = load_dim(checkpoint)
    designer = facts.designer_facts(dim, checkpoint / "qwen")
    return dim, Cases(dim, designer, Prompts(checkpoint / "qwen" / "tokenizer.json", designer))


def test_statistics_are_what_torch_sees(reference: Path, bundle: Bundle, tmp_path: Path) -> None:
    """The painter's products, against hooks on the library's own modules in the same call."""
    dim, cases = cases_of(reference, tmp_path)
    block = dim.painter.transformer.transformer_blocks[1]
    modules = {
        "blocks.1.query.weight": block.attn1.to_q,
        "blocks.1.out.weight": block.attn1.to_out[0],
        "blocks.1.cross_query.weight": block.attn2.to_q,
        "blocks.1.expand.weight": block.ff.conv_inverted,
        "blocks.1.contract.weight": block.ff.conv_point,
    }
    (tmp_path / "observed").mkdir()
    backend = ObservedBackend(bundle, lambda graph, weight: weight in modules, tmp_path / "observed", threads=1)
    with inputs_of(modules) as seen:
        case = next(cases.of("step"))
    outputs = backend.engine("step").run(case.feeds)
    assert set(outputs) == {"next_latent", "data"}
    for name in modules:
        got, rows = backend.statistics.of("step", name), seen[name].reshape(-1, seen[name].shape[-1]).numpy()
        np.testing.assert_allclose(got.largest, np.abs(rows).max(0), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(got.mean, np.abs(rows).mean(0), rtol=1e-3, atol=1e-5)
        assert got.count == len(rows)
        assert 1 <= len(got.rows) <= 64
        for row in got.rows:
            assert np.abs(rows - row).max(1).min() < 1e-4 * np.abs(rows).max() + 1e-5


def test_products_of_one_input_share_what_is_known(bundle: Bundle, tmp_path: Path) -> None:
    backend = ObservedBackend(bundle, lambda graph, weight: True, tmp_path, threads=1)
    language = backend.statistics.graphs["language"]
    assert language["layers.0.query.weight"] is language["layers.0.value.weight"]
    assert language["layers.0.query.weight"] is not language["layers.1.query.weight"]


def test_the_whole_chain_is_run_and_measured_the_same_each_time(bundle: Bundle) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    data = CalibrationData((Item(pixels, "Make it red."), Item(pixels[::-1], "Add a hat.")), "two made-up pictures")
    told: list[tuple[int, int]] = []
    chosen = measured_by(load_recipe("int4-cpu"))
    runs = [calibrate(bundle, chosen, data, threads=1, on_item=lambda *n: told.append(n)) for _ in range(2)]
    assert told[-1] == (4, 4)
    assert runs[0].source == "two made-up pictures"
    assert set(runs[0].graphs) == {"language", "step"}
    assert "head.weight" not in runs[0].graphs["language"] and "embed.weight" not in runs[0].graphs["step"]
    for graph, inputs in runs[0].graphs.items():
        for name, entry in inputs.items():
            again = runs[1].of(graph, name)
            assert entry.count > 0 and len(entry.rows) > 0 and np.isfinite(entry.largest).all()
            np.testing.assert_array_equal(entry.largest, again.largest)
            np.testing.assert_array_equal(entry.rows, again.rows)
    assert [path.name for path in bundle.path.parent.iterdir()] == [bundle.path.name]


def test_requests_that_the_model_refuses_are_counted(bundle: Bundle) -> None:
    pixels = np.full((64, 64, 3), 90, np.uint8)
    far = "An instruction that is longer than the tiny model reads."
    chosen = measured_by(load_recipe("int4-cpu"))
    data = CalibrationData((Item(pixels, far), Item(pixels, "Make it red.")), "two")
    source = calibrate(bundle, chosen, data, threads=1).source
    assert source.startswith("two; 1 refused: ") and far in source
    with pytest.raises(InputError, match="none of the calibration requests"):
        calibrate(bundle, chosen, CalibrationData(data.items[:1], "one"), threads=1)


def test_runs_add_up() -> None:
    """Ranges and means over several runs are those of all rows together; every row may be kept."""
    random = np.random.default_rng(1)
    runs = [random.standard_normal((count, 5)).astype(np.float32) for count in (7, 3000, 23)]
    entry = InputStatistics.empty(5)
    for run in runs:
        entry.add(np.abs(run).max(0), np.abs(run).mean(0), run, len(run))
    everything = np.concatenate(runs)
    np.testing.assert_allclose(entry.largest, np.abs(everything).max(0))
    np.testing.assert_allclose(entry.mean, np.abs(everything).mean(0), rtol=1e-5)
    assert entry.count == len(everything) and entry.rows.shape == (KEPT_ROWS, 5)
    places = [int(np.flatnonzero((everything == row).all(1))[0]) for row in entry.rows]
    assert len(set(places)) == KEPT_ROWS
    assert min(places) < 100 and max(places) > 2900


def test_statistics_are_kept_and_read_back(tmp_path: Path) -> None:
    entry = InputStatistics.empty(3)
    entry.add(np.ones(3, np.float32), np.full(3, 0.5, np.float32), np.eye(3, dtype=np.float32), 3)
    kept = Statistics({"language": {"a.weight": entry, "b.weight": entry}, "step": {"c.weight": entry}}, "here")
    kept.save(tmp_path / "kept.safetensors")
    again = Statistics.load(tmp_path / "kept.safetensors")
    assert again.source == "here"
    assert again.of("language", "a.weight") is again.of("language", "b.weight")
    np.testing.assert_array_equal(again.of("step", "c.weight").rows, entry.rows)
    assert again.of("step", "c.weight").count == 3
    with pytest.raises(InputError, match=r"d\.weight.*step"):
        again.of("step", "d.weight")


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"other\.safetensors"):
        Statistics.load(path)


def test_assumed_statistics_say_so() -> None:
    assumed = assumed_statistics({"step": {"blocks.0.out.weight": 64}})
    assert "assumed" in assumed.source
    assert assumed.of("step", "blocks.0.out.weight").largest.shape == (64,)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A person's folder: two pictures, and a file that only looks like one."""
    place = tmp_path / "mine"
    place.mkdir()
    for name in ("a.png", "b.jpg"):
        Image.new("RGB", (40, 30), (200, 10, 10)).save(place / name)
    (place / "c.png").write_bytes(b"no picture")
    (place / "notes.md").write_text("not a picture either")
    return place


def test_pictures_and_lines_are_dealt_out(folder: Path, bundle: Bundle) -> None:
    (folder / "instructions.txt").write_text("Make it blue.\n\nAdd a moon.\nRemove the cat.\nSharpen it.\n")
    data = calibration_data(folder, bundle.manifest)
    assert [(item.picture.name, item.instruction) for item in data.items] == [
        ("a.png", "Make it blue."),
        ("b.jpg", "Add a moon."),
        ("a.png", "Sharpen it."),
    ]
    assert len(data.broken) == 1 and "c.png" in data.broken[0]
    assert data.description.startswith("3 requests from mine; 1 broken") and "c.png" in data.description


def test_listed_requests_and_what_is_wrong_with_some(folder: Path, bundle: Bundle) -> None:
    lines = [
        json.dumps({"image": "b.jpg", "instruction": "Make it blue."}),
        "{broken",
        json.dumps({"image": "b.jpg"}),
        json.dumps({"instruction": "No picture."}),
        json.dumps({"image": "absent.png", "instruction": "Where?"}),
        json.dumps(["a.png", "as a list"]),
        json.dumps({"image": "a.png", "instruction": "Last."}),
    ]
    (folder / "instructions.jsonl").write_text("\n".join(lines))
    data = calibration_data(folder, bundle.manifest)
    assert [item.instruction for item in data.items] == ["Make it blue.", "Last."]
    assert len(data.broken) == 5
    for said in ("line 2: not JSON", 'line 3: needs "instruction"', 'line 4: needs "image"', "absent.png", "line 6"):
        assert said in data.description


@pytest.mark.parametrize("what", ["absent", "empty", "all broken"])
def test_a_folder_of_no_use_is_refused(tmp_path: Path, bundle: Bundle, what: str) -> None:
    place = tmp_path / "mine"
    if what != "absent":
        place.mkdir()
    if what == "all broken":
        (place / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="--calibration"):
        calibration_data(place, bundle.manifest)


def test_what_the_package_brings(bundle: Bundle, tiny_generate_bundle: Path) -> None:
    edit = calibration_data(None, bundle.manifest)
    assert len(edit.items) >= 8 and all(isinstance(item.picture, Path) for item in edit.items)
    prompts = calibration_data(None, Bundle.open(tiny_generate_bundle).manifest)
    assert len(prompts.items) >= 8 and all(item.picture is None for item in prompts.items)
