"""The number of threads for a processor: 2 to 32 cores, hyper-threads, big and little cores, containers."""

from pathlib import Path

import pytest

from dimrt.backends.cores import Core, Cores, Threads, choose_threads, read_cores, usable_cores


def plain(count: int, hyper: int = 1, speed: float | None = None) -> tuple[Core, ...]:
    """`count` physical cores of `hyper` logical ones."""
    return tuple(Core(f"{core}", speed) for core in range(count) for _ in range(hyper))


@pytest.mark.parametrize("count", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("hyper", [1, 2])
def test_one_thread_a_physical_core(count: int, hyper: int) -> None:
    assert choose_threads(Cores(plain(count, hyper))) == Threads(count, spin=True)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        (0.25, Threads(1, spin=False)),
        (1.0, Threads(1)),
        (1.5, Threads(2, spin=False)),
        (3.0, Threads(3)),
        (8.0, Threads(8)),
        (12.0, Threads(8)),
        (None, Threads(8)),
    ],
)
def test_a_control_groups_time_is_kept(quota: float | None, expected: Threads) -> None:
    assert choose_threads(Cores(plain(8), quota)) == expected


def test_little_cores_are_left_out_and_efficient_ones_are_not() -> None:
    little = tuple(Core(f"little {i}", 250.0) for i in range(4))
    efficient = tuple(Core(f"efficient {i}", 3_900_000.0) for i in range(8))
    assert choose_threads(Cores((*plain(4, speed=1024.0), *little))) == Threads(4)
    assert choose_threads(Cores((*plain(6, hyper=2, speed=5_200_000.0), *efficient))) == Threads(14)
    assert choose_threads(Cores(little)) == Threads(4)


def test_who_is_told_nothing_leaves_the_choice_to_onnx_runtime() -> None:
    assert choose_threads(Cores()) == Threads(None)


def machine(root: Path, cores: int, hyper: int, files: dict[str, str]) -> Path:
    """The files of a Linux machine; siblings are numbered as Linux does, the second ones after all first ones."""
    for number in range(cores * hyper):
        siblings = ",".join(str(number % cores + cores * turn) for turn in range(hyper))
        files[f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list"] = f"{siblings}\n"
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def test_hyper_threads_are_told_by_their_siblings(tmp_path: Path) -> None:
    root = machine(tmp_path, 4, 2, {})
    assert choose_threads(read_cores(range(8), root)) == Threads(4)
    assert choose_threads(read_cores({0, 4, 1}, root)) == Threads(2)


def test_speeds_are_read_from_capacity_or_frequency(tmp_path: Path) -> None:
    files = {f"sys/devices/system/cpu/cpu{i}/cpu_capacity": "1024\n" if i < 2 else "300\n" for i in range(4)}
    assert choose_threads(read_cores(range(4), machine(tmp_path / "arm", 4, 1, files))) == Threads(2)
    files = {f"sys/devices/system/cpu/cpu{i}/cpufreq/cpuinfo_max_freq": "4000000\n" for i in range(4)}
    assert choose_threads(read_cores(range(4), machine(tmp_path / "x86", 4, 1, files))) == Threads(4)


@pytest.mark.parametrize(
    "files",
    [
        {"sys/fs/cgroup/cpu.max": "150000 100000\n"},
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
        },
        {"proc/self/cgroup": "0::/not/seen/here\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"},
        {
            "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/x\n",
            "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "75000\n",
            "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "50000\n",
        },
    ],
)
def test_a_quota_is_found_in_any_layout(tmp_path: Path, files: dict[str, str]) -> None:
    assert read_cores(range(4), machine(tmp_path, 4, 1, files)).quota == 1.5


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"sys/fs/cgroup/cpu.max": "max 100000\n"},
        {
            "proc/self/cgroup": "3:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    ],
)
def test_no_limit_is_no_quota(tmp_path: Path, files: dict[str, str]) -> None:
    assert read_cores(range(4), machine(tmp_path, 4, 1, files)).quota is None


def test_this_machine_is_read() -> None:
    chosen = choose_threads(usable_cores())
    assert chosen.count is None or chosen.count >= 1
