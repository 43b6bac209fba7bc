"""Meters on fake trees and fake commands that print real values."""

import ctypes
import sys
import threading
import time
from itertools import count as count_up
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dimrt.errors import ResourceError
from dimrt.measure.meters import energy, ina, jetson, nvml, power, rapl
from dimrt.measure.meters.energy import CounterMeter, Power, Rails, integrate, of_counters, of_gauges

CAPTURES = Path(__file__).parent / "captures"
NO_COMMAND = ("tegrastats-that-is-not-there",)

STANDIN_TEGRASTATS = """
import itertools, sys, time
for line in itertools.cycle(open(sys.argv[1], encoding="utf-8").read().splitlines()):
    print(line, flush=True)
    time.sleep(0.01)
"""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take seconds to start Python."""
    monkeypatch.setattr(jetson, "WAIT", 60.0)


def standin_tegrastats(folder: Path, capture: str) -> tuple[str, ...]:
    """A command that prints a capture over and over, faster than the real one."""
    script = folder / "tegrastats.py"
    script.write_text(STANDIN_TEGRASTATS, encoding="utf-8")
    return sys.executable, str(script), str(CAPTURES / f"{capture}.txt")


def zone(root: Path, name: str, label: str, energy: int, wraps: int = 262143328850) -> Path:
    """A zone of powercap with the kernel's files; the range is the one of Intel's desktop processors."""
    folder = root / name
    folder.mkdir(parents=True)
    for file, text in (("name", label), ("energy_uj", str(energy)), ("max_energy_range_uj", str(wraps))):
        (folder / file).write_text(f"{text}\n", encoding="ascii")
    return folder


def count(zone: Path, microjoules: int) -> None:
    """Let a counter advance; at once, as the kernel's files have no moment without content."""
    new = zone / "new"
    new.write_text(f"{microjoules}\n", encoding="ascii")
    new.replace(zone / "energy_uj")


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    """The zones of an i7-8550U (https://github.com/powercap/powercap/issues/3), and the package's second face."""
    root = tmp_path / "powercap"
    zone(root, "intel-rapl:0", "package-0", 1_000_000)
    zone(root, "intel-rapl:0:0", "core", 400_000)
    zone(root, "intel-rapl:0:1", "uncore", 100_000)
    zone(root, "intel-rapl:0:2", "dram", 200_000)
    zone(root, "intel-rapl:1", "psys", 3_000_000)
    zone(root, "intel-rapl-mmio:0", "package-0", 1_000_000)
    return root


def test_integral_of_a_ramp_and_of_its_parts() -> None:
    samples = [(1.0, 10.0), (3.0, 30.0)]
    assert integrate(samples, 1.0, 3.0) == 40.0
    assert integrate(samples, 1.5, 2.5) == pytest.approx(20.0)
    assert integrate(samples, 0.0, 4.0) == 10.0 + 40.0 + 30.0  # level outside
    assert integrate(samples, 2.0, 2.0) == integrate([], 0.0, 1.0) == 0.0


def test_counters_that_wrap() -> None:
    rails = Rails("m", "s", ("a",), {"a": 100.0})
    seen = of_counters([(50.0, {"a": 90.0}), (51.0, {"a": 95.0}), (53.0, {"a": 15.0})], rails)
    assert (seen.joules, seen.seconds, seen.started) == (25.0, 3.0, 50.0)
    assert seen.watts == ((0.5, 5.0), (2.0, 10.0))
    assert seen.mean_watts == pytest.approx(25 / 3)


def test_energy_between_two_moments() -> None:
    seen = of_gauges([(0.0, {"a": 4.0}), (1.0, {"a": 4.0}), (2.0, {"a": 8.0})], Rails("m", "s", ("a",)))
    assert seen.joules == 4.0 + 6.0
    assert seen.between(0.5, 1.5) == pytest.approx(2.0 + 2.5)


def test_rapl_adds_packages_and_memory(laptop: Path) -> None:
    found, reason = rapl.find(laptop)
    assert found is not None and reason == ""
    assert found.rails.whole == ("package-0", "package-0/dram")
    assert found.read() == pytest.approx(
        {"package-0": 1.0, "package-0/core": 0.4, "package-0/uncore": 0.1, "package-0/dram": 0.2, "psys": 3.0}
    )
    assert found.rails.wraps["package-0"] == pytest.approx(262143.32885)


def test_rapl_of_two_sockets(tmp_path: Path) -> None:
    for socket in (0, 1):
        zone(tmp_path, f"intel-rapl:{socket}", f"package-{socket}", 10**6)
        zone(tmp_path, f"intel-rapl:{socket}:0", "dram", 10**6)
    found, _ = rapl.find(tmp_path)
    assert found is not None
    assert found.rails.whole == ("package-0", "package-0/dram", "package-1", "package-1/dram")


def test_rapl_measures(laptop: Path) -> None:
    found, _ = rapl.find(laptop)
    assert found is not None
    meter = CounterMeter(found, interval=0.005)
    meter.start()
    count(laptop / "intel-rapl:0", 2_500_000)
    count(laptop / "intel-rapl:0:2", 700_000)
    time.sleep(0.03)
    seen = meter.stop()
    assert seen.joules == pytest.approx(2.0)
    assert seen.rails["package-0"] * seen.seconds == pytest.approx(1.5)
    assert seen.watts and all(0 <= at <= seen.seconds for at, _ in seen.watts)
    meter.start()  # again, and nothing of before is left
    assert meter.stop().joules == 0.0


def test_rapl_that_may_not_be_read(laptop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.read_text

    def refused(path: Path, *args: Any, **kwargs: Any) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", refused)
    found, reason = rapl.find(laptop)
    assert found is None
    assert "chmod" in reason and str(laptop) in reason


def test_a_counter_that_goes_away_is_told_at_the_end(laptop: Path) -> None:
    found, _ = rapl.find(laptop)
    assert found is not None
    meter = CounterMeter(found, interval=0.005)
    meter.start()
    (laptop / "intel-rapl:0" / "energy_uj").unlink()
    with pytest.raises(ResourceError, match="stopped answering"):
        meter.stop()
    with pytest.raises(ResourceError, match="can't be read"):
        meter.start()


@pytest.mark.parametrize(
    ("capture", "name", "watts"),
    [
        ("nano-jetpack4", "tegrastats POM_5V_IN", 1.043),
        ("agx-xavier-jetpack4", "tegrastats GPU + CPU + SOC + CV + VDDRQ + SYS5V", 3.346),
        ("orin-nano-jetpack6", "tegrastats VDD_IN", 4.824),
        ("agx-orin-jetpack6", "tegrastats VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0", 8.69),
    ],
)
def test_tegrastats_measures(tmp_path: Path, capture: str, name: str, watts: float) -> None:
    meter = power.find_meter(command=standin_tegrastats(tmp_path, capture), root=tmp_path)
    assert meter is not None and meter.name == name
    meter.start()
    time.sleep(0.2)
    seen = meter.stop()
    assert seen.mean_watts == pytest.approx(watts, rel=0.05)
    assert seen.joules == pytest.approx(watts * seen.seconds, rel=0.05)
    assert seen.watts[0][0] == 0.0 and seen.watts[-1][0] == pytest.approx(seen.seconds)
    assert [at for at, _ in seen.watts] == sorted(at for at, _ in seen.watts)
    assert isinstance(meter, jetson.TegrastatsMeter) and meter.readings[0][1].memory


def test_tegrastats_can_measure_twice_and_leaves_no_thread(tmp_path: Path) -> None:
    meter, _ = jetson.find(standin_tegrastats(tmp_path, "orin-nano-jetpack6"))
    assert meter is not None
    for _ in range(2):
        meter.start()
        assert meter.stop().mean_watts == pytest.approx(4.824)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dimrt-")]


def test_a_board_without_power(tmp_path: Path) -> None:
    meter, reason = jetson.find(standin_tegrastats(tmp_path, "tx1-l4t-28"))
    assert meter is None and "root" in reason and "no monitor" in reason


def test_a_board_with_unknown_rails(tmp_path: Path) -> None:
    unknown = tmp_path / "unknown.txt"
    unknown.write_text("RAM 1/2MB (lfb 1x1MB) VDD_FUTURE 100mW/100mW\n", encoding="utf-8")
    command = (*standin_tegrastats(tmp_path, "nano-jetpack4")[:2], str(unknown))
    meter, reason = jetson.find(command)
    assert meter is None and "VDD_FUTURE" in reason


def test_a_tegrastats_that_ends_is_told(tmp_path: Path) -> None:
    meter, reason = jetson.find((sys.executable, "-c", "print('ERROR: failed to load')"))
    assert meter is None and "run it" in reason
    gone = jetson.TegrastatsMeter(("VDD_IN",), "all", (sys.executable, "-c", "pass"))
    with pytest.raises(ResourceError, match="no power"):
        gone.start()


class StandinNvml:
    """What the driver's library answers: the calls that are made, and no more."""

    def __init__(self, *, counts: bool = True, cards: int = 1) -> None:
        self._counts, self._cards = counts, cards
        self.millijoules, self.milliwatts = 123_456, 60_000
        self.nvmlErrorString = lambda code: b"Not Supported" if code == 3 else b"Unknown Error"

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetCount_v2(self, out: Any) -> int:
        ctypes.cast(out, ctypes.POINTER(ctypes.c_uint))[0] = self._cards
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, out: Any) -> int:
        return 0

    def nvmlDeviceGetName(self, card: Any, buffer: Any, size: int) -> int:
        buffer.value = b"NVIDIA GeForce RTX 4060"
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, card: Any, out: Any) -> int:
        if not self._counts:
            return 3
        ctypes.cast(out, ctypes.POINTER(ctypes.c_ulonglong))[0] = self.millijoules
        return 0

    def nvmlDeviceGetPowerUsage(self, card: Any, out: Any) -> int:
        ctypes.cast(out, ctypes.POINTER(ctypes.c_uint))[0] = self.milliwatts
        return 0


def test_nvml_counts_energy() -> None:
    library = StandinNvml()
    card = nvml.Nvml(library)
    assert card.rails.name == "NVML energy of NVIDIA GeForce RTX 4060"
    meter = CounterMeter(card, interval=0.005)
    meter.start()
    library.millijoules += 5_000
    assert meter.stop().joules == pytest.approx(5.0)


def test_nvml_without_a_counter_adds_power_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 11.0, 13.0])
    library = StandinNvml(counts=False)
    monkeypatch.setattr(nvml, "_open", lambda: library)
    monkeypatch.setattr(energy, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    card, _ = nvml.find()
    assert card is not None and card.rails.name == "NVML power of NVIDIA GeForce RTX 4060"
    before = card.read()["NVIDIA GeForce RTX 4060"]
    library.milliwatts = 100_000
    assert (before, card.read()["NVIDIA GeForce RTX 4060"]) == pytest.approx((60.0, 60 + (60 + 100) / 2 * 2))


def test_nvml_says_which_card_of_several_and_refuses_one_that_is_not_there() -> None:
    assert "card 1 of 2" in nvml.Nvml(StandinNvml(cards=2), 1).rails.name
    with pytest.raises(OSError, match="none with the number 2"):
        nvml.Nvml(StandinNvml(cards=2), 2)


def test_card_and_processor_are_added(laptop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = StandinNvml()
    monkeypatch.setattr(nvml, "find", lambda card: (nvml.Nvml(library, card), ""))
    meter = power.find_meter(command=NO_COMMAND, root=laptop.parent)
    assert meter is not None and meter.scope == "the graphics card and the processor and its memory"
    meter.start()
    library.millijoules += 3_000
    count(laptop / "intel-rapl:0", 2_000_000)
    seen = meter.stop()
    assert seen.joules == pytest.approx(4.0)
    assert power.find_meter(None, command=NO_COMMAND, root=laptop.parent).name.startswith("RAPL")  # type: ignore[union-attr]


def test_no_meter_at_all_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "_open", lambda: None)
    assert power.find_meter(command=NO_COMMAND, root=tmp_path) is None
    reason = power.why_none(command=NO_COMMAND, root=tmp_path)
    assert reason is not None
    assert all(part in reason for part in ("tegrastats", "INA3221", "NVML", "RAPL"))


def test_a_meter_has_no_reason(laptop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "_open", lambda: None)
    assert power.why_none(command=NO_COMMAND, root=laptop.parent) is None


def monitor(root: Path, number: int, *channels: tuple[str, int, int]) -> None:
    """An INA3221 as Linux' driver shows it: labels, millivolts, milliamperes, and the sum that has no rail."""
    chip = root / "hwmon" / f"hwmon{number}"
    chip.mkdir(parents=True)
    files = {"name": "ina3221", "in7_label": "sum of shunt voltages", "in7_input": "12"}
    for i, (label, volts, amperes) in enumerate(channels, 1):
        files |= {f"in{i}_label": label, f"in{i}_input": str(volts), f"curr{i}_input": str(amperes)}
    for name, text in files.items():
        (chip / name).write_text(f"{text}\n", encoding="ascii")


@pytest.fixture
def container(tmp_path: Path) -> Path:
    """An AGX Orin's monitors and a fan; the rails' sizes are those of captures/agx-orin-jetpack5.txt."""
    monitor(tmp_path, 3, ("VDD_GPU_SOC", 18_992, 252), ("VDD_CPU_CV", 18_992, 42), ("VIN_SYS_5V0", 5_024, 765))
    monitor(tmp_path, 4, ("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 5_024, 141), ("NC", 0, 0))
    (tmp_path / "hwmon" / "hwmon0").mkdir()
    (tmp_path / "hwmon" / "hwmon0" / "name").write_text("pwmfan\n", encoding="ascii")
    return tmp_path


def test_monitors_are_read_where_there_is_no_tegrastats(container: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count_up()
    monkeypatch.setattr(energy, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    meter = power.find_meter(command=NO_COMMAND, root=container)
    assert meter is not None
    assert meter.name == "INA3221 VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"
    assert meter.scope == "the module without its carrier board"
    meter.start()
    seen = meter.stop()
    assert seen.mean_watts == pytest.approx(4.786 + 0.798 + 3.843, abs=0.002)
    assert set(seen.rails) == {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"}


def test_the_input_of_thors_carrier_board(tmp_path: Path) -> None:
    monitor(tmp_path, 1, ("VDD_GPU", 12_000, 500), ("VDD_CPU_SOC_MSS", 12_000, 600), ("VIN_SYS_5V0", 5_000, 1_360))
    chip = tmp_path / "hwmon" / "hwmon2"
    chip.mkdir()
    for name, text in (("name", "ina238"), ("power1_input", "25530000")):
        (chip / name).write_text(f"{text}\n", encoding="ascii")
    found, _ = ina.find(tmp_path / "hwmon")
    assert found is not None and found.rails.whole == ("VIN",)
    assert ina.read(tmp_path / "hwmon")["VIN"] == 25.53


def test_monitors_that_say_nothing_useful(tmp_path: Path) -> None:
    assert "no power monitor" in ina.find(tmp_path)[1]
    monitor(tmp_path, 1, ("VDD_FUTURE", 5_000, 100))
    assert "VDD_FUTURE" in ina.find(tmp_path / "hwmon")[1]
    (tmp_path / "hwmon" / "hwmon1" / "curr1_input").write_text("", encoding="ascii")
    assert "can't be read" in ina.find(tmp_path / "hwmon")[1]


def test_nothing_measured_is_nothing() -> None:
    assert Power("m", "s", 0.0, 0.0, (), {}, 0.0).mean_watts == 0.0
