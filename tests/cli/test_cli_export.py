"""`dimrt export`: what it refuses, and what it says when it can't. The export itself is tested in tests/export."""

import subprocess
import sys
from pathlib import Path

import pytest
from cli_harness import ROOT, Dimrt, left_in
from safetensors.numpy import load_file, save_file
from tiny import write_tiny_checkpoint


@pytest.fixture
def checkpoint(reference: Path, tmp_path: Path) -> Path:
    """A whole checkpoint that a test may damage."""
    return write_tiny_checkpoint(reference, tmp_path / "checkpoint", "edit")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the bundle is to go."""
    return tmp_path / "bundles" / "tiny"


def test_a_wrong_tensor_is_named_with_what_was_expected(dimrt: Dimrt, checkpoint: Path, out: Path) -> None:
    out.parent.mkdir()
    weights = checkpoint / "model.safetensors"
    tensors = load_file(weights)
    name = next(name for name, tensor in tensors.items() if name.startswith("decoder.model.") and tensor.ndim == 2)
    rows, columns = tensors[name].shape
    save_file({**tensors, name: tensors[name][:-1].copy()}, weights)
    outcome = dimrt("export", "--checkpoint", checkpoint, "--fp32", "-o", out, "--offline")
    assert outcome.code == 2
    for said in (name, str(rows), str(rows - 1), str(columns)):
        assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert left_in(out.parent) == []


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_a_tensor_too_few_or_too_many_is_named(dimrt: Dimrt, checkpoint: Path, out: Path, change: str) -> None:
    out.parent.mkdir()
    weights = checkpoint / "model.safetensors"
    tensors = load_file(weights)
    name = sorted(tensors)[0] if change == "missing" else "decoder.model.surprise.weight"
    if change == "missing":
        del tensors[name]
    else:
        tensors[name] = next(iter(tensors.values()))
    save_file(tensors, weights)
    outcome = dimrt("export", "--checkpoint", checkpoint, "--fp32", "-o", out, "--offline", "--json")
    assert outcome.code == 2
    assert outcome.document["error"]["type"] == "CheckpointError"
    assert name in outcome.document["error"]["message"]
    assert left_in(out.parent) == []


def test_no_such_checkpoint(dimrt: Dimrt, tmp_path: Path) -> None:
    outcome = dimrt("export", "--checkpoint", tmp_path / "gone", "-o", tmp_path / "out", "--offline")
    assert outcome.code == 2
    assert "gone" in outcome.err


def test_offline_with_nothing_cached_says_so(dimrt: Dimrt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    outcome = dimrt("export", "--fp16", "-o", tmp_path / "out", "--offline")
    assert outcome.code == 2
    assert "stdKonjac/DIM-4.6B-Edit" in outcome.err and "--offline" in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_content_needs_force(dimrt: Dimrt, checkpoint: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "letter.txt").write_text("dear")
    outcome = dimrt("export", "--checkpoint", checkpoint, "-o", taken)
    assert outcome.code == 2
    assert "taken" in outcome.err and "--force" in outcome.err
    assert left_in(taken) == ["letter.txt"]


def test_a_missing_parent_folder_is_refused_first(dimrt: Dimrt, tmp_path: Path) -> None:
    outcome = dimrt("export", "--checkpoint", "nowhere", "-o", tmp_path / "a" / "b")
    assert outcome.code == 2
    assert "--out" in outcome.err


def test_without_the_export_extra_it_says_what_to_install(tmp_path: Path) -> None:
    """A fresh interpreter in which torch can't be found, as after a plain `pip install dimrt`."""
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from dimrt.cli.main import run\n"
        f"sys.exit(run(['export', '--checkpoint', 'nano', '-o', {str(tmp_path / 'out')!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 3, done.stderr
    assert 'pip install "dimrt[export]"' in done.stderr
    assert "Traceback" not in done.stderr
    assert left_in(tmp_path) == []
