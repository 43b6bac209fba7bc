"""What the machine has left, on every system that tells."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dimrt import host
from dimrt.host import available_memory, free_disk, total_memory


def test_what_the_machine_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = available_memory()
    assert left is None or left > 10_000_000
    assert free_disk(tmp_path / "not" / "there" / "yet") == free_disk(tmp_path)
    if sys.platform == "linux":
        monkeypatch.setattr("dimrt.host.CGROUP", tmp_path)
        (tmp_path / "memory.max").write_text("5000000\n")
        (tmp_path / "memory.current").write_text("2000000\n")
        assert available_memory() == 3_000_000
        (tmp_path / "memory.max").write_text("max\n")
        assert available_memory() != 3_000_000


def test_no_more_is_left_than_there_is() -> None:
    left, total = available_memory(), total_memory()
    assert total is None or left is None or 0 < left <= total


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux'")
def test_pages_of_files_that_were_read_are_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("4900000\n")
    (tmp_path / "memory.stat").write_text("anon 100000\ninactive_file 4000000\nactive_file 7\n")
    assert available_memory() == 4_100_000
    (tmp_path / "memory.stat").write_text("anon 100000\n")
    assert available_memory() == 100_000


VM_STAT = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               10000.
Pages active:                            300000.
Pages inactive:                          200000.
Pages speculative:                         5000.
Pages wired down:                         90000.
"Translation faults":                 123456789.
"""


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (VM_STAT, 16384 * 215_000),
        (VM_STAT.replace("16384", "4096"), 4096 * 215_000),
        (VM_STAT.replace("Pages inactive", "Pages idle"), None),
        (VM_STAT.replace("(page size of 16384 bytes)", ""), None),
        ("", None),
    ],
)
def test_a_mac_counts_pages(monkeypatch: pytest.MonkeyPatch, said: str, left: int | None) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "run", lambda words, **_: subprocess.CompletedProcess(words, 0, stdout=said))
    assert available_memory() == left


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.TimeoutExpired("vm_stat", 5)])
def test_a_mac_that_does_not_answer_is_unknown(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "run", fail)
    assert available_memory() is None


def test_a_system_without_the_numbers_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(host, "MEMINFO", tmp_path / "absent")
    assert available_memory() is None
