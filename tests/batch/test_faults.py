"""A full disk, a process that dies in the middle, a photo that kills it, a report torn by the crash."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dimrt.batch import Report, work
from dimrt.batch.record import RECORD, read_history
from dimrt.errors import ResourceError
from dimrt.photo.read import read_photo

Edit = Callable[..., Report]

CHILD = """
import sys, time
from pathlib import Path
from typing import Any

sys.path.insert(0, {tests!r})
from conftest import WORDS, Negative
from dimrt.batch import Job, run

folder, out, log = (Path(word) for word in sys.argv[1:4])
pause, deadly = float(sys.argv[4]), sys.argv[5]

class Logged(Negative):
    def edit(self, photo: Any, *args: Any, **settings: Any) -> Any:
        with log.open("a") as file:
            file.write(photo.path.name + "\\n")
        time.sleep(pause)
        if photo.path.name == deadly:
            import os
            os._exit(9)
        return super().edit(photo, *args, **settings)

report = run(Job(folder, WORDS, out), Logged())
sys.exit(report.count("failed"))
"""


def child(folder: Path, out: Path, log: Path, pause: float = 0.0, deadly: str = "-") -> "subprocess.Popen[bytes]":
    """A batch in a process of its own, which writes the name of each photo into `log` when it begins with it."""
    code = CHILD.format(tests=str(Path(__file__).parent))
    words = [sys.executable, "-c", code, str(folder), str(out), str(log), str(pause), deadly]
    root = Path(__file__).parents[2]
    return subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"})


def names(log: Path) -> list[str]:
    """What was begun."""
    return log.read_text().split()


def test_a_killed_batch_goes_on_and_does_nothing_twice_but_the_one_in_flight(
    folder: Path, out: Path, tmp_path: Path, picture: Callable[..., None]
) -> None:
    for number in range(12):
        picture(folder / f"n{number:02}.png", number)
    log = tmp_path / "log"
    process = child(folder, out, log, pause=0.05)
    while sum(entry.status == "done" for entry in read_history(out).last.values()) < 5:
        assert process.poll() is None, "the batch ended before it could be killed"
        time.sleep(0.01)
    process.kill()
    process.wait()
    begun = names(log)
    assert 5 <= len(begun) < 16
    finished = [name for name, entry in read_history(out).last.items() if entry.status == "done"]
    assert len(begun) - len(finished) <= 1
    assert child(folder, out, log).wait() == 0
    again = names(log)
    assert len(again) - len(begun) == 16 - len(finished)
    whole = [path for path in out.rglob("*") if path.suffix in (".png", ".jpg", ".webp")]
    assert len(whole) == 16
    for path in whole:
        read_photo(path)


def test_a_photo_that_kills_the_process_comes_last_and_is_given_up(
    folder: Path, out: Path, tmp_path: Path, statuses: Any
) -> None:
    log = tmp_path / "log"
    assert child(folder, out, log, deadly="b.jpg").wait() == 9
    assert names(log) == ["a.png", "b.jpg"]
    assert child(folder, out, log, deadly="b.jpg").wait() == 9
    assert names(log)[2:] == ["a.png", "c.webp", "b.jpg"]
    assert child(folder, out, log, deadly="b.jpg").wait() == 1
    assert names(log)[5:] == []
    assert statuses() == {"a.png": "done", "b.jpg": "failed", "trip/a.png": "done", "trip/day two/c.webp": "done"}
    assert child(folder, out, log).wait() == 0, "the next run tries it again"
    assert names(log)[5:] == ["b.jpg"]


def test_a_full_disk_stops_the_run(edit: Edit, negative: Any, monkeypatch: pytest.MonkeyPatch, done: Any) -> None:
    write = work.write_photo

    def full(path: Path, *args: Any) -> list[str]:
        if path.name == "b.jpg":
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            except OSError as error:
                raise ResourceError("can't write b.jpg: no space left") from error
        return write(path, *args)

    monkeypatch.setattr(work, "write_photo", full)
    with pytest.raises(ResourceError, match="no space left"):
        edit()
    assert negative.edited == ["a.png", "b.jpg"]
    assert done() == ["a.png"]
    monkeypatch.undo()
    assert edit().count("done") == 3


def test_a_disk_that_is_really_full_stops_the_run(
    edit: Edit, folder: Path, out: Path, negative: Any, no_file_larger: Callable[[int], Any]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(folder / "aa.png")
    with no_file_larger(50_000), pytest.raises(ResourceError, match=r"aa\.png"):
        edit()
    assert negative.edited == ["a.png", "aa.png"]
    assert sorted(path.name for path in out.glob("*.p*")) == ["a.png"]
    assert edit().count("done") == 4


def test_a_disk_too_full_for_the_record_stops_the_run(
    edit: Edit, negative: Any, no_file_larger: Callable[[int], Any]
) -> None:
    with no_file_larger(900), pytest.raises(ResourceError, match="dimrt-"):
        edit()
    assert len(negative.edited) < 4
    report = edit()
    assert report.count("done") + report.count("skipped") == 4
    assert len(negative.edited) <= 5


@pytest.mark.parametrize("torn", [b'{"input": "b.jpg", "output', b"\x00" * 50, b"\n", b'{"input": "b.jpg"}'])
def test_a_torn_last_line_costs_one_photo_at_most(edit: Edit, out: Path, negative: Any, torn: bytes) -> None:
    edit()
    for path in (out / RECORD, out / "dimrt-report.jsonl"):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:-1]) + torn)
    negative.edited.clear()
    report = edit()
    assert negative.edited == ["c.webp"]
    assert [entry.status for entry in report] == ["skipped"] * 3 + ["done"]
    assert edit().count("skipped") == 4


def test_results_without_their_record_are_somebody_elses(edit: Edit, out: Path) -> None:
    edit()
    (out / RECORD).unlink()
    with pytest.raises(Exception, match=r"4 files in .* are in the way"):
        edit()


def test_a_crash_between_result_and_record_is_made_good(edit: Edit, out: Path, negative: Any) -> None:
    edit()
    lines = (out / RECORD).read_bytes().splitlines(keepends=True)
    assert b'"done"' in lines[-1]
    (out / RECORD).write_bytes(b"".join(lines[:-1]))
    negative.edited.clear()
    assert edit().count("skipped") == 3
    assert negative.edited == ["c.webp"]


def test_a_lost_photo_and_one_that_turned_into_a_folder_fail_alone(edit: Edit, folder: Path, negative: Any) -> None:
    def vandalise() -> None:
        (folder / "b.jpg").unlink()
        (folder / "trip" / "a.png").unlink()
        (folder / "trip" / "a.png").mkdir()

    negative.meet["a.png"] = vandalise
    report = edit()
    assert [entry.status for entry in report] == ["done", "failed", "failed", "done"]
