"""Which target fits a GPU, and what is said without one."""

import sys
from pathlib import Path

import pytest

from dimrt.engines import device as devices
from dimrt.engines.device import detect, target_for
from dimrt.engines.record import Device
from dimrt.errors import ResourceError

GIB = 1 << 30


@pytest.mark.parametrize(
    ("device", "name"),
    [
        (Device("NVIDIA GeForce RTX 4060", "8.9", "1", 8 * GIB), "rtx-4060"),
        (Device("NVIDIA GeForce RTX 4090", "8.9", "1", 24 * GIB), "rtx-4090"),
        (Device("NVIDIA GeForce RTX 4070", "8.9", "1", 12 * GIB), "rtx-4060"),
        (Device("NVIDIA GeForce RTX 3060", "8.6", "1", 12 * GIB), "rtx-3060"),
        (Device("NVIDIA GeForce RTX 5090", "12.0", "1", 32 * GIB), "rtx-5090"),
        (Device("NVIDIA GeForce RTX 3050", "8.6", "1", 6 * GIB), "rtx-3060"),
    ],
)
def test_the_nearest_target_that_fits(rtx: None, device: Device, name: str) -> None:
    target = target_for(device)
    assert target.name == name and target.flavour == "tensorrt-rtx"
    assert target.compute_capability == device.capability
    assert target.memory_bytes <= device.memory_bytes


@pytest.mark.parametrize(
    ("name", "memory", "target"),
    [
        ("NVIDIA Jetson Orin Nano Developer Kit", 8, "orin-nano-8gb"),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", 8, "orin-nano-super-8gb"),
        ("NVIDIA Jetson Orin NX", 16, "orin-nx-16gb"),
        ("NVIDIA Jetson AGX Orin Developer Kit", 64, "orin-agx-64gb"),
    ],
)
def test_a_jetson_is_told_by_memory_and_name(
    monkeypatch: pytest.MonkeyPatch, name: str, memory: int, target: str
) -> None:
    module = type(sys)("tensorrt")
    module.__version__ = "10.3.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    found = target_for(Device(name, "8.7", "12060", memory * 10**9 - 400_000_000))
    assert (found.name, found.flavour) == (target, "tensorrt")


def test_a_gpu_that_no_installed_flavour_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ResourceError, match=r"NVIDIA H200.*9\.0.*dimrt\[tensorrt\]"):
        target_for(Device("NVIDIA H200", "9.0", "1", 141 * 10**9))


def test_a_jetson_says_what_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = tmp_path / "model"
    monkeypatch.setattr(devices, "JETSON_MODEL", model)
    assert devices.jetson_model() is None
    model.write_bytes(b"NVIDIA Jetson Orin Nano Super\0")
    assert devices.jetson_model() == "NVIDIA Jetson Orin Nano Super"
    model.write_bytes(b"Raspberry Pi\0")
    assert devices.jetson_model() is None


def test_detecting_finds_a_gpu_or_says_why_not() -> None:
    try:
        device = detect()
    except ResourceError as error:
        assert "driver" in str(error) or "cuda-bindings" in str(error)
    else:
        assert device.memory_bytes > 0 and "." in device.capability


def test_without_the_bindings_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(ResourceError, match=r'pip install "dimrt\[rtx\]"'):
        detect()
