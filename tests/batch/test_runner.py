"""A batch does each photo once, goes on after whatever stopped it, and leaves alone what isn't its own."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dimrt.batch import Entry, Job, Report
from dimrt.batch.job import look
from dimrt.batch.marks import deaths
from dimrt.batch.state import expected
from dimrt.errors import BundleError, Cancelled, InputError, ResourceError
from dimrt.options import EditOptions
from dimrt.photo.read import read_photo

Edit = Callable[..., Report]
ByInput = Callable[[Any], dict[str, Entry]]
ALL = ["a.png", "b.jpg", "trip/a.png", "trip/day two/c.webp"]


def test_results_mirror_the_tree(edit: Edit, folder: Path, out: Path, files_in: Callable[[Path], list[str]]) -> None:
    before = {name: (folder / name).read_bytes() for name in ALL}
    report = edit()
    assert files_in(out) == ALL
    assert [(entry.input, entry.status) for entry in report] == [(name, "done") for name in ALL]
    assert np.array_equal(read_photo(out / "trip/a.png").pixels, ~read_photo(folder / "trip/a.png").pixels)
    assert {name: (folder / name).read_bytes() for name in ALL} == before


def test_the_report_has_a_line_for_each_photo(edit: Edit, folder: Path, out: Path) -> None:
    (folder / "bad.jpg").write_bytes(b"no picture")
    report = edit()
    lines = [json.loads(line) for line in report.path.read_text(encoding="ascii").splitlines()]
    assert report.path == out / "dimrt-report.jsonl"
    assert [line["input"] for line in lines] == ["a.png", "b.jpg", "bad.jpg", "trip/a.png", "trip/day two/c.webp"]
    good, bad = lines[0], lines[2]
    assert (good["output"], good["status"], good["width"], good["height"]) == ("a.png", "done", 8, 6)
    assert good["file_bytes"] == (out / "a.png").stat().st_size
    assert good["composite"] == "tone" and good["seed"] == 0 and good["seconds"] >= 0
    assert bad["status"] == "failed" and bad["error"]["type"] == "InputError"
    assert "bad.jpg is not an image" in bad["error"]["message"]
    assert [report.count(status) for status in ("done", "skipped", "failed")] == [4, 0, 1]


def test_what_is_done_is_skipped(edit: Edit, negative: Any) -> None:
    first = edit()
    negative.edited.clear()
    second = edit()
    assert negative.edited == []
    assert [entry.status for entry in second] == ["skipped"] * 4
    assert [entry.seconds for entry in second] == [entry.seconds for entry in first]


def test_new_changed_and_lost_photos_are_done_again(
    edit: Edit, folder: Path, out: Path, negative: Any, picture: Callable[..., None]
) -> None:
    edit()
    negative.edited.clear()
    picture(folder / "new.png")
    picture(folder / "a.png", 99)
    (out / "b.jpg").unlink()
    report = edit()
    assert negative.edited == ["a.png", "b.jpg", "new.png"]
    assert read_photo(out / "a.png").pixels.max() == 255 - 99
    assert report.count("skipped") == 2


def test_failed_photos_are_tried_again(edit: Edit, folder: Path, negative: Any, picture: Callable[..., None]) -> None:
    (folder / "b.jpg").write_bytes(b"still being copied")
    assert edit().count("failed") == 1
    negative.edited.clear()
    picture(folder / "b.jpg")
    assert edit().count("failed") == 0
    assert negative.edited == ["b.jpg"]


@pytest.mark.parametrize(
    "other",
    [
        {"instruction": "make it blue"},
        {"options": EditOptions(seed=1)},
        {"quality": 80},
        {"suffix": ".png"},
        {"instructions": {"a.png": "make it blue"}},
    ],
    ids=str,
)
def test_another_request_into_the_same_folder_is_refused_until_told(
    edit: Edit, out: Path, negative: Any, other: dict[str, Any]
) -> None:
    edit()
    before, report = (out / "a.png").read_bytes(), (out / "dimrt-report.jsonl").read_bytes()
    negative.edited.clear()
    with pytest.raises(InputError, match=r"make it a negative.*--replace"):
        edit(**other)
    assert negative.edited == []
    assert (out / "a.png").read_bytes() == before and (out / "dimrt-report.jsonl").read_bytes() == report
    done = edit(**other, replace=True)
    assert done.count("done") == (1 if "instructions" in other else 4)
    assert edit(**other).count("skipped") == 4


def test_options_spelt_out_as_their_defaults_are_the_same_request(edit: Edit) -> None:
    edit()
    assert edit(options=EditOptions(composite="auto", think=True)).count("skipped") == 4


def test_another_bundle_is_another_request(edit: Edit, negative: Any) -> None:
    edit()
    negative.bundle.digest = "0" * 64
    with pytest.raises(InputError, match="another bundle"):
        edit()


def test_files_of_others_are_not_replaced(edit: Edit, out: Path) -> None:
    (out / "trip").mkdir(parents=True)
    (out / "trip" / "a.png").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"1 files in .* are in the way.*trip/a.png"):
        edit()
    assert (out / "trip" / "a.png").read_bytes() == b"mine"
    assert edit(replace=True).count("done") == 4


def test_a_result_is_never_written_through_a_link(edit: Edit, folder: Path, out: Path) -> None:
    out.mkdir()
    before = (folder / "a.png").read_bytes()
    try:
        (out / "a.png").symlink_to(folder / "a.png")
        (out / "trip").symlink_to(folder / "trip", target_is_directory=True)
    except OSError:
        pytest.skip("needs the right to make links")
    report = edit(replace=True)
    assert [entry.status for entry in report] == ["failed", "done", "failed", "failed"]
    assert (folder / "a.png").read_bytes() == before


def test_two_photos_with_one_name_both_have_results(edit: Edit, folder: Path, out: Path, picture: Any) -> None:
    picture(folder / "a.bmp", 50)
    report = edit(suffix=".png")
    assert {entry.input: entry.output for entry in report}["a.bmp"] == "a.bmp.png"
    assert read_photo(out / "a.bmp.png").pixels.max() == 205
    assert read_photo(out / "a.png").pixels.max() == 255


def test_a_photo_that_takes_anothers_name_is_refused_until_told(
    edit: Edit, folder: Path, out: Path, picture: Any
) -> None:
    picture(folder / "n.bmp", 50)
    edit()
    assert (out / "n.png").is_file()
    picture(folder / "n.png", 60)
    with pytest.raises(InputError, match=r"in the way.*n\.png"):
        edit()
    report = edit(replace=True)
    assert {entry.input: entry.output for entry in report}["n.bmp"] == "n.bmp.png"
    assert read_photo(out / "n.bmp.png").pixels.max() == 205
    assert read_photo(out / "n.png").pixels.max() == 195
    assert edit().count("skipped") == 6


def test_a_limit_leaves_the_rest_for_the_next_run(edit: Edit, negative: Any) -> None:
    first = edit(limit=3)
    assert (len(first), first.left) == (3, 1)
    second = edit(limit=3)
    assert (second.count("skipped"), second.count("done"), second.left) == (3, 1, 0)
    assert len(negative.edited) == 4


def test_photos_have_instructions_of_their_own(edit: Edit) -> None:
    report = edit(instruction=None, instructions={"a.png": "one", "trip/a.png": "two"})
    assert {entry.input: entry.instruction for entry in report} == {"a.png": "one", "trip/a.png": "two"}
    assert edit(instructions={"a.png": "one"}, replace=True).count("skipped") == 1
    with pytest.raises(InputError, match=r"first: c\.png"):
        edit(instructions={"c.png": "three"})


def test_a_cancel_keeps_what_is_done_and_the_next_run_goes_on(edit: Edit, negative: Any, done: Any) -> None:
    cancel = threading.Event()

    def stop() -> None:
        cancel.set()
        raise Cancelled

    negative.meet["b.jpg"] = stop
    with pytest.raises(Cancelled):
        edit(cancel=cancel)
    assert done() == ["a.png"]
    negative.meet.clear()
    negative.edited.clear()
    assert edit().count("done") == 3
    assert negative.edited == ["b.jpg", "a.png", "c.webp"]


def test_a_cancel_between_two_photos_is_seen(edit: Edit, negative: Any) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        edit(cancel=cancel)
    assert negative.edited == []


def test_an_interrupt_is_no_death(edit: Edit, out: Path, negative: Any) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    negative.meet["a.png"] = interrupt
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            edit()
    assert deaths(out, "a.png") == 0
    negative.meet.clear()
    assert edit().count("done") == 4


@pytest.mark.parametrize(
    "error", [InputError("x"), ResourceError("x"), ValueError("x"), MemoryError(), OSError(5, "x")]
)
def test_whatever_a_photo_does_to_an_edit_the_others_go_on(edit: Edit, negative: Any, error: Exception) -> None:
    def fail() -> None:
        raise error

    negative.meet["b.jpg"] = fail
    report = edit()
    assert [entry.status for entry in report] == ["done", "failed", "done", "done"]
    problem = report.entries[1].error
    assert problem is not None and problem.type == type(error).__name__ and problem.message


def test_a_bundle_that_cant_is_no_photos_fault(edit: Edit, negative: Any) -> None:
    def fail() -> None:
        raise BundleError("made for text only")

    negative.meet["a.png"] = fail
    with pytest.raises(BundleError):
        edit()
    assert len(negative.edited) == 1


def test_a_folder_that_cant_be_listed_fails(edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    from dimrt.batch import job

    def found(*args: Any) -> Any:
        result = find(*args)
        result.unreadable["locked"] = PermissionError(13, "Permission denied")
        return result

    find = job.find_photos
    monkeypatch.setattr(job, "find_photos", found)
    report = edit()
    assert report.count("done") == 4
    assert [(entry.input, entry.status) for entry in report][-1] == ("locked", "failed")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"instruction": "  "}, "instruction is empty"),
        ({"instruction": None}, "instruction is empty"),
        ({"suffix": ".gif"}, "unknown picture format"),
        ({"quality": 0}, "quality 0"),
        ({"limit": 0}, "limit 0"),
        ({"options": EditOptions(region=(0, 0, 4, 4))}, "takes no region"),
        ({"options": EditOptions(steps=0)}, "steps"),
        ({"folder": Path("nowhere")}, "not a folder"),
        ({"out": Path("no/where")}, "doesn't exist"),
        ({"report": Path("report.png")}, "isn't a picture"),
        ({"report": Path("no/where.jsonl")}, "doesn't exist"),
    ],
    ids=str,
)
def test_what_cant_be_is_refused_first(
    edit: Edit, out: Path, negative: Any, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        edit(**settings)
    assert negative.edited == [] and not out.exists()


def test_results_may_not_lie_among_the_photos(edit: Edit, folder: Path, negative: Any) -> None:
    for out in (folder, folder.parent, folder / "trip" / ".."):
        with pytest.raises(InputError, match="among the photos"):
            edit(out=out)
    assert negative.edited == []
    inside = folder / "out"
    assert edit(out=inside).count("done") == 4
    assert edit(out=inside).count("skipped") == 4


def test_what_would_be_done_is_what_is_done(edit: Edit, folder: Path, out: Path, negative: Any) -> None:
    def words(**settings: Any) -> list[str]:
        job = Job(**{"folder": folder, "instruction": "make it a negative", "out": out, **settings})
        return [what for _, what in expected(look(job, negative.bundle.digest))]

    assert words() == ["edit"] * 4
    assert not out.exists()
    assert words(limit=1) == ["edit", "later", "later", "later"]
    edit(limit=1)
    assert words() == ["skip", "edit", "edit", "edit"]
    (out / "b.jpg").write_bytes(b"mine")
    assert words(instruction="other") == ["refuse", "refuse", "edit", "edit"]
    assert words(instruction="other", replace=True) == ["edit"] * 4


def test_entries_are_told_as_they_come(edit: Edit) -> None:
    told: list[Entry] = []
    assert edit(on_entry=told.append).entries == told


def test_a_result_of_another_format_keeps_the_profile_and_says_what_it_lost(edit: Edit, folder: Path) -> None:
    Image.new("RGBA", (8, 6), (10, 20, 30, 128)).save(folder / "glass.png")
    report = edit(suffix=".jpg")
    (glass,) = (entry for entry in report if entry.input == "glass.png")
    assert glass.output == "glass.jpg" and any("transparency" in note for note in glass.notes)
