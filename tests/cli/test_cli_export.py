"""`dimrt export`: what it refuses, and what it says when it can't. The export itself is tested in tests/export."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_harness import ROOT, Dimrt, left_in, start
from safetensors.numpy import load_file, save_file
from tiny import write_tiny_checkpoint

from dimrt.cli.console import Console
from dimrt.cli.exporting import ExportView
from dimrt.export.pipeline import ExportEvent
from dimrt.manifest import Measured


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--random-weights", "dim-7b"), "dim-4.6b-edit, dim-4.6b-t2i"),
        (("--checkpoint", "nano", "--recipe", "int3"), "int3"),
        (("--checkpoint", "nano", "--int8", "--calibration", "nowhere"), "nowhere"),
        (("--checkpoint", "nano", "--target", "rtx-40600"), "rtx-4060"),
        (("--checkpoint", "nano", "--random-weights", "dim-4.6b-edit"), "exclude each other"),
        (("--checkpoint", "nano", "--seed", "3"), "--random-weights"),
        (("--checkpoint", "nano", "--analyze", "--budget", "0"), "--budget"),
        (("--checkpoint", "nano", "--budget", "0.1"), "--analyze"),
        (("--checkpoint", "nano", "--int4", "--recipe", "fp16"), "--int4 and --recipe exclude each other"),
    ],
)
def test_a_wrong_choice_is_named_before_anything_is_made(
    dimrt: Dimrt, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    outcome = dimrt("export", *words, "-o", tmp_path / "out", "--offline")
    assert outcome.code == 2
    assert said in outcome.err and "Traceback" not in outcome.err
    assert left_in(tmp_path) == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Programs started here notice SIGINT, also where the tests run in the background and were told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to one process there")
def test_an_interrupted_export_says_how_to_go_on(checkpoint: Path, out: Path) -> None:
    """Ctrl-C when the first graph is there: exit code 130, what is finished stays, the same command goes on."""
    out.parent.mkdir()
    words = ("export", "--checkpoint", checkpoint, "--fp32", "-o", out, "--offline")
    process = start(*words, stderr=subprocess.PIPE, text=True)
    said = ""
    for line in process.stderr:
        said += line
        if "language" in line:
            process.send_signal(signal.SIGINT)
            break
    said += process.stderr.read()
    assert process.wait() == 130
    assert "the same command again" in said and "--restart" in said and "Traceback" not in said
    assert left_in(out.parent) == [".tiny.dimrt-export"]
    process = start(*words, stderr=subprocess.PIPE, text=True)
    assert "going on" in next(line for line in process.stderr if "note" in line)
    process.send_signal(signal.SIGINT)
    process.stderr.read()
    process.wait()


def test_progress_without_a_terminal_is_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """A phase once when it starts and once when it's done, and a line about bytes now and then."""
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr("dimrt.cli.bar.time.monotonic", lambda: float(next(clock)))
    measured = Measured(max_abs=0.1, relative=2e-4, limit=1e-2, cases=2, layers=2)
    events = [
        ExportEvent("step", 3, 10),
        *(ExportEvent("step", 3, 10, written=n * 10**9, size=4 * 10**9, left=65.0) for n in (1, 2, 3, 4)),
        ExportEvent("step", 4, 10, measured, written=4 * 10**9, size=4 * 10**9),
    ]
    with ExportView(Console(quiet=False, as_json=False)) as view:
        for event in events:
            view.on_event(event)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "[3/10] step"
    assert lines[-1] == "[4/10] step: differs from torch by 2.0e-04 on its first 2 layers (limit 1.0e-02)"
    assert "step       2.00 of 4.00 GB, about 1 min 05 s left" in lines
    assert len(lines) < 6
    assert view.graphs["step"]["layers"] == 2


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
