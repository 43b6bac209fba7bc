"""The same batch in several workers: the same results, the same report, and the same way to go on."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dimrt.batch import Entry, Job, Report, cluster
from dimrt.batch.cluster import Cluster, Worker, edit_on_ray
from dimrt.batch.job import Task, look
from dimrt.batch.marks import deaths, marked
from dimrt.batch.record import RECORD
from dimrt.batch.runner import edit_here, follow, results
from dimrt.batch.work import Place
from dimrt.bundle import NANO, Bundle
from dimrt.editor import Editor
from dimrt.errors import BundleError, Cancelled, ResourceError
from dimrt.options import EditOptions

WORDS = "make it a negative"


@pytest.fixture(scope="module")
def nano() -> Cluster:
    """Two workers with the packaged bundle, one thread each."""
    return Cluster("local", NANO, Bundle.open(NANO, verify="layout").digest, device="cpu", threads=1, workers=2)


def in_turn(worker: Callable[[dict[str, Any]], dict[str, str]], tasks: list[Task]) -> Iterator[dict[str, str]]:
    """The answers of one worker in this process, the last task first: a cluster keeps no order."""
    return (worker({"task": json.dumps(asdict(task))}) for task in reversed(tasks))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, negative: Any) -> Any:
    """One worker in this process in place of a cluster, with the stand-in as its editor."""

    class Here(Worker):
        def _load(self) -> Any:
            return negative

    def rows(tasks: list[Task], place: Place, asked: Cluster) -> Iterator[dict[str, str]]:
        return in_turn(Here(place, asked), tasks)

    class NoRay:
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(cluster, "_import_ray", lambda: None)
    monkeypatch.setattr(cluster, "_connected", lambda _: NoRay())
    monkeypatch.setattr(cluster, "_quiet", NoRay)
    monkeypatch.setattr(cluster, "_rows", rows)
    return negative


def run_on(nano: Cluster, job: Job, cancel: Any = None) -> Report:
    return follow(results(look(job, nano.digest), edit_on_ray(nano, cancel), cancel))


def facts(report: Report) -> list[dict[str, Any]]:
    """A report's file without its times."""
    lines = [json.loads(line) for line in report.path.read_text(encoding="ascii").splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def test_the_report_is_that_of_one_machine(here: Any, nano: Cluster, edit: Any, folder: Path, out: Path) -> None:
    (folder / "bad.png").write_bytes(b"no picture")
    local = edit(out=out.parent / "local")
    spread = run_on(nano, Job(folder, WORDS, out))
    assert here.edited[-4:] == ["c.webp", "a.png", "b.jpg", "a.png"]
    resolved = [
        {**line, "error": {**line["error"], "message": line["error"]["message"].replace(str(folder.resolve()), "")}}
        if "error" in line
        else line
        for line in facts(spread)
    ]
    assert [line["input"] for line in resolved] == [line["input"] for line in facts(local)]
    assert [line["status"] for line in resolved] == ["done", "done", "failed", "done", "done"]
    assert [line for line in resolved if "error" not in line] == [line for line in facts(local) if "error" not in line]
    here.edited.clear()
    assert run_on(nano, Job(folder, WORDS, out)).count("skipped") == 4
    assert here.edited == []


def test_what_no_photo_is_to_blame_for_ends_the_batch(here: Any, nano: Cluster, folder: Path, out: Path) -> None:
    def fail() -> None:
        raise BundleError("made for text only")

    here.meet["b.jpg"] = fail
    with pytest.raises(BundleError, match="made for text"):
        run_on(nano, Job(folder, WORDS, out))
    assert here.edited == ["c.webp", "a.png", "b.jpg"]
    here.meet.clear()
    assert run_on(nano, Job(folder, WORDS, out)).count("skipped") == 2


def test_a_cancel_is_seen_between_two_answers(here: Any, nano: Cluster, folder: Path, out: Path) -> None:
    cancel = threading.Event()
    here.meet["c.webp"] = cancel.set
    with pytest.raises(Cancelled):
        run_on(nano, Job(folder, WORDS, out), cancel)
    assert here.edited == ["c.webp"]


@pytest.mark.parametrize("before", [0, 1])
def test_workers_that_are_ended_have_not_died_of_their_photos(
    here: Any, nano: Cluster, folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    def dies(name: str, times: int) -> None:
        for _ in range(times):
            work = marked(out, name)
            work.__enter__()
            left.append(work)  # kept, so that its end never comes

    def interrupted(*_: object) -> Iterator[dict[str, str]]:
        dies("b.jpg", 1)
        raise KeyboardInterrupt
        yield

    left: list[Any] = []
    out.mkdir()
    dies("b.jpg", before)
    monkeypatch.setattr(cluster, "_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_on(nano, Job(folder, WORDS, out))
    assert deaths(out, "b.jpg") == before


def test_a_machine_with_another_bundle_is_refused(nano: Cluster, folder: Path, out: Path) -> None:
    out.mkdir()
    (out / RECORD).touch()
    worker = Worker(Place(folder, out, EditOptions(), 95), replace(nano, digest="0" * 64))
    answer = worker({"task": json.dumps(asdict(Task("a.png", "a.png", WORDS, "key")))})
    with pytest.raises(BundleError, match="another bundle on one of the machines"):
        cluster._entry(answer)


def test_a_machine_that_does_not_see_the_results_is_named(nano: Cluster, folder: Path, out: Path) -> None:
    worker = Worker(Place(folder, out, EditOptions(), 95), nano)
    answer = worker({"task": json.dumps(asdict(Task("a.png", "a.png", WORDS, "key")))})
    with pytest.raises(ResourceError, match="doesn't see"):
        cluster._entry(answer)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, nano: Cluster) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(ResourceError, match=r'pip install "dimrt\[ray\]"'):
        edit_on_ray(nano)


def test_ray_is_imported_by_whoever_asks_for_it() -> None:
    code = "import sys, dimrt.batch.cluster; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.timeout(500)
def test_two_workers_of_a_cluster_and_a_photo_that_kills_them(
    nano: Cluster, folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray")

    class Deadly(Worker):
        """Real editors; of one photo they die."""

        def _load(self) -> Any:
            editor = super()._load()
            edit = editor.edit

            def die_of_b(photo: Any, *args: Any, **settings: Any) -> Any:
                if photo.path.name == "b.jpg":
                    os._exit(9)
                return edit(photo, *args, **settings)

            editor.edit = die_of_b  # type: ignore[method-assign]
            return editor

    monkeypatch.setattr(cluster, "Worker", Deadly)
    job = Job(folder, WORDS, out)
    ray.init(num_cpus=2, object_store_memory=100 << 20, include_dashboard=False, log_to_driver=False)
    try:
        spread = run_on(nano, job)
    finally:
        ray.shutdown()
    assert [entry.status for entry in spread] == ["done", "failed", "done", "done"]
    (failed,) = (entry.error for entry in spread if entry.error is not None)
    assert "ended 2 times" in failed.message

    editor = Editor.load(device="cpu", threads=1)
    local = Job(folder, WORDS, out.parent / "local")
    alone = follow(results(look(local, nano.digest), edit_here(editor, local)))

    def told(entry: Entry) -> Entry:
        return msgspec.structs.replace(entry, seconds=None)

    pairs = [(one, other) for one, other in zip(spread, alone, strict=True) if one.error is None]
    assert [told(one) for one, _ in pairs] == [told(other) for _, other in pairs]
    for one, _ in pairs:
        assert (out / one.output).read_bytes() == (local.out / one.output).read_bytes()
    rest = follow(results(look(job, nano.digest), edit_here(editor, job)))
    assert [entry.status for entry in rest] == ["skipped", "done", "skipped", "skipped"]
