"""Every item of the reference fixtures, and that a wrong number, weight or setting is noticed."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dimrt.export.parity.__main__ import GROUPS, main
from dimrt.export.parity.items import Arrays, Item, compare, count
from dimrt.export.parity.reference import load_reference


@dataclass
class Run:
    """Items of each group, and the arrays that were read for them by file."""

    folder: Path
    items: dict[str, list[Item]]
    read: dict[str, set[str]]


@pytest.fixture(scope="module")
def run(reference: Path) -> Run:
    """One comparison of everything, with the fixture's arrays watched."""
    read: dict[str, set[str]] = {}
    original = Arrays.__getitem__

    def watched(self: Arrays, key: str) -> Any:
        read.setdefault(self.path.name, set()).add(key)
        return original(self, key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Arrays, "__getitem__", watched)
        loaded = load_reference(reference)
        items = {group: list(compared(loaded)) for group, compared in GROUPS.items()}
    return Run(reference, items, read)


@pytest.mark.parametrize("group", GROUPS)
def test_within_limits(group: str, run: Run) -> None:
    assert run.items[group]
    over = [f"{item.name}: {item.error:.2e} over {item.limit:.0e}" for item in run.items[group] if not item.ok]
    assert not over, "\n".join(over)


def test_every_stored_number_is_compared(run: Run) -> None:
    """No array of the folder is left out, but those of pictures that aren't stored."""
    stored = {path.stem for path in (run.folder / "images").glob("*.png")}
    for path in run.folder.glob("*.npz"):
        keys = set(np.load(path).files)
        if path.stem == "preprocess":
            keys = {key for key in keys if key.split(".")[0] in stored}
        assert keys <= run.read[path.name]


def test_every_painter_and_both_sizes_are_covered(run: Run) -> None:
    """Cases come from the folder; this says which ones these fixtures must have."""
    names = " ".join(item.name for item in run.items["painter"])
    for painter in ("painter_tiny", "painter_t2i_tiny"):
        for case in ("b1_8x8", "b1_6x10", "b2cfg_8x8", "b2cfg_6x10", "b2mix", "b1full"):
            assert f"{painter} {case}" in names
        assert f"{painter} b2mix block2.cross_attn" in names


def nudge(key: str, amount: float) -> Callable[[Path], None]:
    """Change of one value of an array, `file:key`."""

    def change(folder: Path) -> None:
        name, _, array = key.partition(":")
        arrays = dict(np.load(folder / name))
        values = arrays[array].copy()
        values.reshape(-1)[-1] += np.asarray(amount).astype(values.dtype)
        arrays[array] = values
        np.savez(folder / name, **arrays)

    return change


def weight(file: str, name: str) -> Callable[[Path], None]:
    """Change of a weight by 1 %."""

    def change(folder: Path) -> None:
        tensors = load_file(folder / file)
        tensors[name] = tensors[name] * 1.01
        save_file(tensors, folder / file)

    return change


def setting(file: str, **values: Any) -> Callable[[Path], None]:
    """Change of entries in a JSON file."""

    def change(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


NUMBERS = {
    "painter": {
        "painter_tiny.npz:b2cfg_6x10.out": (1e-3, "painter_tiny b2cfg_6x10"),
        "painter_t2i_tiny.npz:b2mix.act.block1.mlp": (1e-3, "painter_t2i_tiny b2mix block1.mlp"),
        "painter_tiny.npz:b1_8x8.timestep": (1.0, "painter_tiny b1_8x8 t_embedder"),
    },
    "sampler": {
        "sampler.npz:schedule.shift1.steps30.t_int": (1, "schedule.shift1.steps30 integer timesteps"),
        "sampler.npz:edit.s20_cfg4.5_shift3.x_after": (1e-2, "edit.s20_cfg4.5_shift3 updates"),
        "sampler.npz:t2i.s30_cfg7.5_shift3.final_f64": (1e-3, "t2i.s30_cfg7.5_shift3 final against float64"),
    },
    "designer": {
        "designer_tiny.npz:image_b.greedy_tokens_rp1.05": (1, "image_b greedy tokens, repetition penalty 1.05"),
        "designer_tiny.npz:text.position_ids": (1, "text positions"),
        "designer_tiny.npz:image_a.window_index": (1, "image_a window index"),
    },
    "autoencoder": {"autoencoder_tiny.npz:b.act.dec.up0": (1e-2, "b dec.up0")},
    "pictures": {
        "preprocess.npz:syn_rgba_201x120.painter64": (1e-2, "syn_rgba_201x120.painter64"),
        "preprocess.npz:syn_77x300.forced1024.rowmean_every37": (1e-2, "syn_77x300.forced1024.rowmean_every37"),
    },
    "chain": {
        "pipeline_tiny.npz:edit_long.image": (1e-1, "edit_long picture"),
        "pipeline_tiny.npz:t2i.emb_masks": (1, "t2i condition mask"),
    },
}
"""One value of an array changed by so much, and the item that must notice."""


@pytest.mark.parametrize("group", NUMBERS)
def test_a_wrong_number_is_noticed(
    group: str, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(reference, tmp_path / "folder"))
    for key, (amount, _) in NUMBERS[group].items():
        nudge(key, amount)(folder)
    assert main([str(folder), "--only", group]) == 1
    over = [line for line in capsys.readouterr().out.splitlines() if line.startswith("OVER")]
    for _, name in NUMBERS[group].values():
        assert any(name in line for line in over), name


MODELS = {
    "painter weight": ("painter", weight("painter_tiny.safetensors", "blocks.1.cross_attn.kv_linear.weight")),
    "painter heads": ("painter", setting("painter_tiny.json", num_heads=8)),
    "connector weight": ("connector", weight("projector_tiny.safetensors", "0.weight")),
    "designer weight": ("designer", weight("designer_tiny/model.safetensors", "visual.merger.mlp.2.weight")),
    "picture mean": ("pictures", setting("designer_tiny/preprocessor_config.json", image_mean=[0.5, 0.5, 0.5])),
    "autoencoder scale": ("autoencoder", setting("autoencoder_tiny/config.json", scaling_factor=0.42)),
}


@pytest.mark.parametrize("case", MODELS)
def test_a_wrong_model_is_noticed(case: str, reference: Path, tmp_path: Path) -> None:
    group, change = MODELS[case]
    folder = Path(shutil.copytree(reference, tmp_path / "folder"))
    change(folder)
    assert main([str(folder), "--only", group]) == 1


def test_a_wrong_span_is_noticed(reference: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(reference, tmp_path / "folder"))
    path = folder / "user_spans.json"
    facts = json.loads(path.read_text())
    for name, wrong in (
        ("t2i_text_only", {"selected": [14, 15]}),
        ("missing_im_end", {"error": None, "selected": [1]}),
    ):
        case = {**facts["cases"][name], **wrong}
        changed = {key: value for key, value in case.items() if value is not None}
        path.write_text(json.dumps(facts | {"cases": facts["cases"] | {name: changed}}))
        assert main([str(folder), "--only", "spans"]) == 1


def test_lines_and_json(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(reference), "--only", "connector"]) == 0
    assert "1 items, 0 over their limit" in capsys.readouterr().out
    assert main([str(reference), "--only", "connector", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["over"] == 0
    assert document["items"][0]["limit"] == 1e-5


@pytest.mark.parametrize(
    "lost", ["designer_tiny.npz", "projector_tiny.safetensors", "painter_tiny.json", "user_spans.json"]
)
def test_an_incomplete_folder_is_named(
    lost: str, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(reference, tmp_path / "folder"))
    (folder / lost).unlink()
    group = {"designer_tiny.npz": "designer", "user_spans.json": "spans"}.get(lost, "connector")
    assert main([str(folder), "--only", group]) == 2
    assert lost in capsys.readouterr().err


def test_a_weight_of_another_shape_is_named(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(reference, tmp_path / "folder"))
    tensors = load_file(folder / "projector_tiny.safetensors")
    save_file(tensors | {"2.bias": torch.zeros(47)}, folder / "projector_tiny.safetensors")
    assert main([str(folder)]) == 2
    assert "projector.2.bias: shape [47]" in capsys.readouterr().err


def test_no_such_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_comparisons() -> None:
    assert compare("x", [1.0, 2.0], np.array([1.0, 2.5]), 0.5) == Item("x", 0.5, 0.5)
    assert not compare("x", [float("nan")], np.array([1.0]), 1e9).ok
    assert not compare("x", [1.0], np.array([1.0, 1.0]), 1e9).ok
    assert count("x", [1, 2, 3], [1, 0, 0]).error == 2
    assert not count("x", [1], [1, 2]).ok
