"""`--device tensorrt`, `--target` and what `dimrt doctor` says of a GPU, on a stand-in one."""

import sys
from pathlib import Path

import pytest
from cli_harness import Dimrt
from standin_gpu import StandinGpu, write_target

from dimrt.bundle import NANO, Bundle


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandinGpu:
    return StandinGpu(monkeypatch, tmp_path / "machine")


def test_an_edit_on_tensorrt(dimrt: Dimrt, gpu: StandinGpu, photo: Path, tmp_path: Path) -> None:
    target = write_target(tmp_path)
    gpu.fill(Bundle.open(NANO, verify="layout"), target)
    out = tmp_path / "edited.png"
    outcome = dimrt(
        "edit", photo, "warmer", "-o", out, "--device", "tensorrt", "--target", target,
        "--steps", 1, "--no-plan", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert outcome.document["provider"] == "tensorrt-rtx 1.0.standin on Stand-in GPU"
    assert out.is_file()


def test_a_named_device_that_is_not_there(dimrt: Dimrt, gpu: StandinGpu, photo: Path, tmp_path: Path) -> None:
    gpu.cuda.devices = 0
    outcome = dimrt("edit", photo, "warmer", "-o", tmp_path / "x.png", "--device", "tensorrt")
    assert outcome.code == 3
    assert "no NVIDIA driver can be used" in outcome.err


def test_a_target_with_a_typo(dimrt: Dimrt, gpu: StandinGpu, photo: Path, tmp_path: Path) -> None:
    arguments = ("edit", photo, "warmer", "-o", tmp_path / "x.png", "--device", "tensorrt", "--target")
    outcome = dimrt(*arguments, "rtx-406")
    assert (outcome.code, "unknown target 'rtx-406'" in outcome.err) == (2, True)
    outcome = dimrt("edit", photo, "warmer", "-o", tmp_path / "x.png", "--device", "cpu", "--target", "rtx-4060")
    assert (outcome.code, "--target is for TensorRT engines" in outcome.err) == (2, True)


def test_doctor_says_what_would_run_engines(dimrt: Dimrt, gpu: StandinGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    said = next(line for line in dimrt("doctor").out.splitlines() if " gpu " in line)
    assert said.split()[0] == "ok"
    assert "Stand-in GPU (compute capability 8.9, 17.2 GB): tensorrt-rtx 1.0.standin, target rtx-4060" in said
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    lines = dimrt("doctor").out.splitlines()
    place = next(i for i, line in enumerate(lines) if " gpu " in line)
    assert lines[place].split()[0] == "note"
    assert "next: nothing installed builds engines for Stand-in GPU" in lines[place + 1]
    gpu.cuda.devices = 0
    outcome = dimrt("doctor")
    assert outcome.code == 0
    assert "none: no NVIDIA driver found or no GPU" in outcome.out
