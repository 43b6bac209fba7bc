"""The device card on trees of real values, and on this machine."""

import getpass
import json
import platform
import socket
from pathlib import Path

import pytest

from dimrt.measure import board, clocks
from dimrt.measure.card import device_card

ORIN_CPUINFO = "processor\t: 0\nFeatures\t: fp asimd aes asimdhp asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n"
RTX = "NVIDIA GeForce RTX 4090, 550.54.14, 2520, 3105, 10501, 450.00, 45, {reasons}"


def write(root: Path, files: dict[str, str]) -> Path:
    """A tree of the system's files."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def orin(tmp_path: Path) -> Path:
    """A Jetson Orin Nano with JetPack 6."""
    cpu = "sys/devices/system/cpu"
    return write(
        tmp_path,
        {
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
            "proc/cpuinfo": ORIN_CPUINFO * 6,
            "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
            "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
            **{f"{cpu}/cpu{i}/cpufreq/scaling_governor": "schedutil\n" for i in range(6)},
            **{f"{cpu}/cpu{i}/cpufreq/scaling_cur_freq": f"{729600 + i}\n" for i in range(6)},
            **{f"{cpu}/cpu{i}/cpufreq/cpuinfo_max_freq": "1728000\n" for i in range(6)},
            **{f"{cpu}/cpu{i}/topology/thread_siblings_list": f"{i}\n" for i in range(6)},
            "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
            "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "48718\n",
            "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
            "sys/class/thermal/thermal_zone1/temp": "47093\n",
            "sys/class/hwmon/hwmon2/oc1_event_cnt": "3\n",
            "sys/class/hwmon/hwmon2/oc3_event_cnt": "0\n",
        },
    )


@pytest.mark.skipif(platform.system() != "Linux", reason="reads Linux' files")
def test_a_jetson_is_named_by_its_device_tree(orin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "ask", lambda *_: "NV Power Mode: MAXN_SUPER\n2")
    card = device_card("tensorrt 10.3 on Orin", None, orin)
    assert card["board"] == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert card["processor"] == "Cortex-A78AE"
    assert card["features"] == ["asimddp", "asimdhp"]
    assert card["cores"]["physical"] == 6
    assert card["power_mode"] == "nvpmodel MAXN_SUPER (mode 2)"
    assert card["clocks"] == {"cpu_mhz": 730, "cpu_max_mhz": 1728, "gpu_mhz": 306, "gpu_max_mhz": 1020}
    assert card["state"]["temperatures"] == {"cpu-thermal": 48.7, "gpu-thermal": 47.1}
    assert card["state"]["throttle_events"] == 3
    assert "L4T 36.4.3" in card["system"] and "Ubuntu 22.04.5 LTS" in card["system"]


@pytest.mark.skipif(platform.system() != "Linux", reason="reads Linux' files")
def test_without_nvpmodel_the_governor_is_told(orin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "ask", lambda *_: None)
    assert clocks.power_mode(orin) == "governor schedutil"


@pytest.mark.skipif(platform.system() != "Linux", reason="reads Linux' files")
def test_a_pc_is_named_by_its_maker(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "sys/devices/virtual/dmi/id/sys_vendor": "LENOVO\n",
            "sys/devices/virtual/dmi/id/product_name": "21D6CTO1WW\n",
            "sys/devices/virtual/dmi/id/product_serial": "PF3XXXXX\n",
            "proc/cpuinfo": "model name\t: 12th Gen Intel(R)  Core(TM) i7-12800H\nflags\t\t: fpu avx2 avx_vnni\n",
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
            "sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "0-1\n",
            "sys/devices/system/cpu/cpu1/topology/thread_siblings_list": "0-1\n",
            "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "7\n",
            "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "5\n",
        },
    )
    card = device_card("onnxruntime CPUExecutionProvider", 4, root)
    assert card["board"] == "LENOVO 21D6CTO1WW"
    assert card["processor"] == "12th Gen Intel(R) Core(TM) i7-12800H"
    assert card["features"] == ["avx2", "avx_vnni"]
    assert (card["cores"]["physical"], card["cores"]["quota"]) == (1, 1.5)
    assert card["state"]["throttle_events"] == 12
    assert "PF3XXXXX" not in json.dumps(card)


def test_a_machine_that_tells_nothing_has_a_card_all_the_same(tmp_path: Path) -> None:
    card = device_card("onnxruntime CPUExecutionProvider", None, tmp_path)
    assert card["provider"] == "onnxruntime CPUExecutionProvider"
    assert card["power_mode"] is None or platform.system() != "Linux"
    assert json.loads(json.dumps(card)) == card


def test_this_machine_tells_no_secrets() -> None:
    told = json.dumps(device_card("onnxruntime CPUExecutionProvider", None)).lower()
    secrets = {socket.gethostname(), str(Path.home())} | ({getpass.getuser()} - {"root"})
    assert [secret for secret in secrets if len(secret) > 3 and secret.lower() in told] == []


def test_versions_name_python_and_the_runtime() -> None:
    versions = device_card("x", None)["versions"]
    assert versions["python"] == platform.python_version()
    assert {"dimrt", "onnxruntime"} <= versions.keys()


@pytest.mark.parametrize(
    ("said", "mode"),
    [
        ("NV Power Mode: 15W\n0\n", "15W (mode 0)"),
        ("NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_30W_ALL\n3", "MODE_30W_ALL (mode 3)"),
        ("NV Power Mode: MAXN", "MAXN"),
        ("no permission", None),
    ],
)
def test_nvpmodels_answers(said: str, mode: str | None) -> None:
    assert clocks.parse_nvpmodel(said) == mode


@pytest.mark.parametrize(
    ("reasons", "throttled"),
    [("0x0000000000000000", False), ("0x0000000000000001", False), ("0x0000000000000004", True), ("0x21", True)],
)
def test_an_rtx_says_whether_it_is_slowed(reasons: str, throttled: bool) -> None:
    found = clocks.parse_gpu(RTX.format(reasons=reasons))
    assert found is not None
    assert found["name"] == "NVIDIA GeForce RTX 4090"
    assert (found["clocks_sm"], found["clocks_max_sm"], found["power_limit"]) == (2520.0, 3105.0, 450.0)
    assert found["throttled"] is throttled


def test_what_a_card_does_not_tell_is_left_out() -> None:
    found = clocks.parse_gpu("Orin (nvgpu), 540.4.0, [N/A], [N/A], [Not Supported], [N/A], N/A, [N/A]")
    assert found == {"name": "Orin (nvgpu)", "driver_version": "540.4.0"}
    assert clocks.parse_gpu("no devices were found") is None


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"throttle_events": 5}, {"throttle_events": 5}, False),
        ({"throttle_events": 5}, {"throttle_events": 6}, True),
        ({"throttle_events": None}, {"throttle_events": None}, None),
        ({"gpu": {"throttled": False}}, {"gpu": {"throttled": True}}, True),
        ({"throttle_events": 1, "gpu": {}}, {"throttle_events": 1, "gpu": {}}, False),
    ],
)
def test_throttling_between_two_states(before: dict, after: dict, expected: bool | None) -> None:  # type: ignore[type-arg]
    assert clocks.throttled(before, after) is expected


def test_a_program_that_is_not_there_says_nothing() -> None:
    assert board.ask("dimrt-no-such-program") is None
