"""A process of its own: what its first edit tells, how it fails, and that none is left behind."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from measuring import CASE

from dimrt.bundle import NANO
from dimrt.errors import ResourceError
from dimrt.manifest import GRAPHS
from dimrt.measure import cold


def files() -> list[Path]:
    return [path for path in NANO.rglob("*") if path.is_file()]


def test_the_first_edit_of_a_process() -> None:
    found = cold.first_edit(CASE.as_json(), files(), drop=False)
    assert found["page_cache"] == "warm"
    assert set(found["graphs"]) == set(GRAPHS)
    assert all(graph["load_s"] > 0 and graph["first_run_s"] > 0 for graph in found["graphs"].values())
    assert {"plan", "paint", "decode"} <= found["phases"].keys()
    parts = ("start_s", "import_s", "open_s", "edit_s")
    assert all(found[part] > 0 for part in parts)
    assert found["seconds"] == pytest.approx(sum(found[part] for part in parts))
    assert found["seconds"] > found["edit_s"] >= sum(found["phases"].values()) * 0.99
    if found["peak_rss_bytes"] is not None:
        assert 50e6 < found["peak_rss_bytes"] < 2e9


def test_the_words_of_a_process_that_fails(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="is not a bundle"):
        cold.first_edit(replace(CASE, bundle=str(tmp_path)).as_json(), [], drop=False)


def test_an_interrupted_process_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen):  # type: ignore[type-arg]
        def communicate(self, *_args: Any, **_settings: Any) -> Any:
            started.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        cold.first_edit(CASE.as_json(), [], drop=False)
    assert started[0].returncode is not None
    assert all(stream is None or stream.closed for stream in (started[0].stdin, started[0].stdout, started[0].stderr))


def test_a_process_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold, "SECONDS", 0.01)
    with pytest.raises(ResourceError, match="took over"):
        cold.first_edit(CASE.as_json(), [], drop=False)


@pytest.mark.parametrize(
    ("asked", "read", "said"),
    [
        (False, 0, "warm"),
        (True, None, "dropped, not confirmed"),
        (True, 100, "cold"),
        (True, 10, "warm, it could not be dropped"),
    ],
)
def test_what_is_said_of_the_page_cache(asked: bool, read: int | None, said: str) -> None:
    assert cold._page_cache(asked, read, 120) == said


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system can't be asked")
def test_dropped_files_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"7" * 100_000)
    assert cold.drop_from_cache([path])
    assert path.read_bytes() == b"7" * 100_000


def test_a_system_that_can_not_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    assert not cold.drop_from_cache([tmp_path])
