"""`dimrt batch` with the packaged bundle: what is said, what is left, which code."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import pytest
from cli_harness import Dimrt, left_in, start
from PIL import Image

from dimrt.batch.job import Task
from dimrt.batch.work import Place
from dimrt.photo.read import read_photo

WORDS = "make it grayscale"
RECORDS = [".dimrt-batch.jsonl", ".dimrt-batch.lock", "dimrt-report.jsonl"]


@pytest.fixture
def folder(tmp_path: Path, photo: Path) -> Path:
    """Two photos, one of them in a folder of its own."""
    root = tmp_path / "photos"
    (root / "trip").mkdir(parents=True)
    small = Image.open(photo).resize((160, 100))
    small.save(root / "a.jpg")
    small.save(root / "trip" / "b.bmp")
    return root


def test_a_folder_is_edited_once(dimrt: Dimrt, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = dimrt("batch", folder, WORDS, "-o", out, "--threads", 1)
    assert first.code == 0 and first.out == ""
    assert "wrote     2 done, 0 skipped, 0 failed" in first.err
    assert "1 results have other names (trip/b.bmp -> trip/b.png)" in first.err
    assert left_in(out) == [*RECORDS[:2], "a.jpg", RECORDS[2], "trip"]
    assert left_in(out / "trip") == ["b.png"]
    pixels = read_photo(out / "trip" / "b.png").pixels
    assert pixels.shape == (100, 160, 3) and int(pixels.max(2).astype(int).max() - pixels.min(2).max()) < 60
    second = dimrt("batch", folder, WORDS, "-o", out, "--json")
    assert second.code == 0
    counts = {name: second.document[name] for name in ("photos", "done", "skipped", "failed", "left")}
    assert counts == {"photos": 2, "done": 0, "skipped": 2, "failed": 0, "left": 0}
    assert second.document["report"] == str(out / "dimrt-report.jsonl")


def test_a_bad_file_is_told_and_the_others_are_done(dimrt: Dimrt, folder: Path, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "a.xmp").write_text("sidecar")
    (folder / "IMG.CR2").write_bytes(b"raw")
    done = dimrt("batch", folder, WORDS, "-o", folder / "out", "--threads", 1)
    assert done.code == 1
    assert "failed    broken.png: " in done.err
    assert "1 undeveloped (raw) photos left out" in done.err and "left out: 1 .xmp" in done.err
    assert "2 done, 0 skipped, 1 failed" in done.err
    lines = [json.loads(line) for line in (folder / "out" / "dimrt-report.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["done", "failed", "done"]
    assert dimrt("batch", folder, WORDS, "-o", folder / "out", "--json").document["failed"] == 1


def test_a_dry_run_writes_nothing(dimrt: Dimrt, folder: Path, tmp_path: Path) -> None:
    told = dimrt("batch", folder, WORDS, "-o", tmp_path / "out", "--dry-run", "--format", "jpg")
    assert told.code == 0
    assert told.out == "edit      a.jpg -> a.jpg\nedit      trip/b.bmp -> trip/b.jpg\n"
    assert not (tmp_path / "out").exists()
    document = dimrt("batch", folder, WORDS, "-o", tmp_path / "out", "--dry-run", "--json").document
    assert document["photos"][1] == {"input": "trip/b.bmp", "output": "trip/b.png", "would": "edit"}


def test_another_instruction_is_refused(dimrt: Dimrt, folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "trip")
    out = tmp_path / "out"
    assert dimrt("batch", folder, WORDS, "-o", out, "--threads", 1).code == 0
    other = dimrt("batch", folder, "make it warmer", "-o", out, "--threads", 1)
    assert other.code == 2 and "make it grayscale" in other.err and "--replace" in other.err
    file = tmp_path / "words.jsonl"
    file.write_text(json.dumps({"input": "a.jpg", "instruction": "make it warmer"}))
    replaced = dimrt("batch", folder, "-o", out, "--instructions", file, "--replace", "--threads", 1, "--json")
    assert replaced.code == 0 and replaced.document["done"] == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("{folder}",), "INSTRUCTION"),
        (("{folder}", WORDS, "--workers", "2"), "--ray"),
        (("{folder}", WORDS, "--no-plan", "--plan-style", "brief"), "--plan-style"),
        (("{folder}/a.jpg", WORDS), "not a folder"),
        (("{folder}", WORDS, "--format", "gif"), "unknown picture format"),
        (("{folder}", WORDS, "--steps", "2000"), "steps"),
        (("{folder}", ""), "instruction is empty"),
        (("{folder}", WORDS, "--limit", "0"), "--limit"),
        (("{folder}", WORDS, "--instructions", "nowhere.csv"), "can't be read"),
    ],
)
def test_what_cant_be_is_refused(dimrt: Dimrt, folder: Path, tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    refused = dimrt("batch", *(word.format(folder=folder) for word in words), "-o", tmp_path / "out")
    assert refused.code == 2 and told in refused.err
    assert not (tmp_path / "out").exists()


def test_results_among_the_photos_are_refused(dimrt: Dimrt, folder: Path) -> None:
    refused = dimrt("batch", folder, WORDS, "-o", folder, "--json")
    assert refused.code == 2 and refused.document["error"]["type"] == "InputError"
    assert left_in(folder) == ["a.jpg", "trip"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a signal that one process can send to another")
def test_an_interrupt_keeps_what_is_done(dimrt: Dimrt, folder: Path, tmp_path: Path) -> None:
    for number in range(30):
        shutil.copy(folder / "a.jpg", folder / f"n{number:02}.jpg")
    out = tmp_path / "out"
    process = start("batch", folder, WORDS, "-o", out, "--threads", 1, stderr=subprocess.PIPE)
    while not (out / "a.jpg").is_file():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert b"the same command goes on from there" in err
    done = [path for path in left_in(out) if path.endswith(".jpg")]
    assert 1 <= len(done) < 32
    assert not list(out.glob(".dimrt-*.partial"))
    shutil.rmtree(folder / "trip")
    for number in range(30):
        if f"n{number:02}.jpg" not in done:
            (folder / f"n{number:02}.jpg").unlink()
    after = dimrt("batch", folder, WORDS, "-o", out, "--json").document
    assert after["skipped"] >= len(done) - 1 and after["failed"] == 0


def test_a_cluster_gets_what_the_command_line_says(
    dimrt: Dimrt, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dimrt.batch import cluster

    asked: list[cluster.Cluster] = []

    def rows(tasks: list[Task], place: Place, settings: cluster.Cluster) -> Iterator[dict[str, str]]:
        asked.append(settings)
        return (cluster.Worker(place, settings)({"task": json.dumps(asdict(task))}) for task in tasks)

    monkeypatch.setattr(cluster, "_import_ray", lambda: None)
    monkeypatch.setattr(cluster, "_connected", lambda _: nullcontext())
    monkeypatch.setattr(cluster, "_quiet", nullcontext)
    monkeypatch.setattr(cluster, "_rows", rows)
    monkeypatch.chdir(tmp_path)
    words = ("--ray", "10.0.0.1:6379", "--workers", 3, "--threads", 1, "--device", "cpu", "--no-plan", "--json")
    done = dimrt("batch", "photos", WORDS, "-o", "out", *words)
    assert (done.code, done.document["done"]) == (0, 2)
    (settings,) = asked
    assert (settings.address, settings.workers, settings.threads, settings.device) == ("10.0.0.1:6379", 3, 1, "cpu")
    assert dimrt("batch", "photos", WORDS, "-o", "out", "--no-plan", "--json").document["skipped"] == 2


def test_many_failures_are_told_in_the_report_alone(dimrt: Dimrt, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(25):
        (tmp_path / "photos" / f"{number:02}.jpg").write_bytes(b"no picture")
    done = dimrt("batch", tmp_path / "photos", WORDS, "-o", tmp_path / "out")
    assert done.code == 1
    assert done.err.count("is not an image") == 20 and "the report has them all" in done.err
    assert len((tmp_path / "out" / "dimrt-report.jsonl").read_text().splitlines()) == 25
