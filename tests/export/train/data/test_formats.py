"""Readers of data sets: good rows arrive whole, bad ones are counted and listed with file and line."""

import csv
import hashlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from training_sets import cases, save, write_dim_edit, write_lines

from dimrt.errors import InputError
from dimrt.export.train.data import tables
from dimrt.export.train.data.formats import open_rows
from dimrt.export.train.data.problems import Problems, RowProblem
from dimrt.export.train.data.rows import Rows
from dimrt.export.train.data.spec import DataSpec


def read(problems: Problems, kind: Any, path: Path, **options: Any) -> Rows:
    return open_rows(DataSpec(kind, str(path), **options), problems)


def listed(problems: Problems) -> list[tuple[str, int]]:
    return [(problem.kind, problem.line) for problem in problems]


def test_dim_edit_rows_arrive_whole(tmp_path: Path) -> None:
    path, written = write_dim_edit(tmp_path, 4, ((128, 128), (96, 64)))
    problems = Problems()
    for place in (path, tmp_path):
        rows = read(problems, "dim-edit", place)
        assert len(rows) == 4 and rows.edits and not len(problems)
        assert rows.size.tolist() == [[128, 128], [96, 64]] * 2
        for index, expected in enumerate(written):
            row = rows[index]
            assert row.key == f"{rows.title}/{expected['id']}"
            assert row.source == (tmp_path / expected["image_path"]).resolve()
            assert row.target == (tmp_path / expected["image_path_target"]).resolve()
            assert row.text == expected["prompt"].strip()
            assert (row.file, row.line) == rows.where(index) == (path, index + 1)


Change = Callable[[Path, dict[str, Any]], object]
FAULTS: dict[str, tuple[str, Change]] = {
    "no json": ("broken row", lambda folder, row: b'{"id": 3, "image_path": '),
    "an array": ("broken row", lambda folder, row: b"[1, 2]"),
    "not utf-8": ("broken row", lambda folder, row: b'{"id": "\xff\xfe"}'),
    "deeply nested": ("broken row", lambda folder, row: b"[" * 200_000),
    "endless line": ("broken row", lambda folder, row: b'{"id": "' + b"x" * (tables.LONGEST + 9) + b'"}'),
    "no prompt": ("wrong field", lambda folder, row: row.pop("prompt")),
    "prompt is a number": ("wrong field", lambda folder, row: row.update(prompt=3)),
    "half a character": ("wrong field", lambda folder, row: row.update(prompt="a \ud800 b")),
    "id is a list": ("wrong field", lambda folder, row: row.update(id=[1])),
    "path is null": ("wrong field", lambda folder, row: row.update(image_path=None)),
    "zero in path": ("wrong field", lambda folder, row: row.update(image_path="a\0b")),
    "empty prompt": ("empty text", lambda folder, row: row.update(prompt=" \n\t")),
    "no source": ("missing picture", lambda folder, row: (folder / row["image_path"]).unlink()),
    "no target": ("missing picture", lambda folder, row: (folder / row["image_path_target"]).unlink()),
    "a folder": ("missing picture", lambda folder, row: row.update(image_path="image")),
    "endless name": ("missing picture", lambda folder, row: row.update(image_path="x" * 5000)),
    "dots": ("outside the folder", lambda folder, row: row.update(image_path="../../etc/passwd")),
    "absolute": ("outside the folder", lambda folder, row: row.update(image_path="/etc/passwd")),
    "link": ("outside the folder", lambda folder, row: link_out(folder / row["image_path"])),
    "no picture": ("unreadable picture", lambda folder, row: (folder / row["image_path"]).write_bytes(b"<html>")),
    "empty file": ("unreadable picture", lambda folder, row: (folder / row["image_path"]).write_bytes(b"")),
    "one pixel": ("picture size", lambda folder, row: blank(folder / row["image_path"], (1, 1))),
    "a ribbon": ("picture size", lambda folder, row: blank(folder / row["image_path_target"], (900, 20))),
    "too many pixels": ("unreadable picture", lambda folder, row: bomb(folder / row["image_path"])),
    "other shape": ("shapes differ", lambda folder, row: blank(folder / row["image_path"], (128, 100))),
}


def link_out(path: Path) -> None:
    path.unlink()
    outside = save(path.parent.parent.parent / "outside.png", np.zeros((128, 128, 3), np.uint8))
    path.symlink_to(outside)


def blank(path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size).save(path)


def bomb(path: Path) -> None:
    """A header of 40,000 x 40,000 pixels with hardly any data behind it."""
    content = bytearray(path.read_bytes())
    content[16:24] = (40_000).to_bytes(4, "big") * 2

    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_row_is_listed_with_file_and_line_and_the_others_stay(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "set"
    path, written = write_dim_edit(folder, 3)
    kind, change = FAULTS[fault]
    result = change(folder, written[1])
    write_lines(path, [written[0], result if isinstance(result, bytes) else written[1], b"", written[2]])
    problems = Problems()
    rows = read(problems, "dim-edit", path)
    assert listed(problems) == [(kind, 2)]
    assert [rows[index].line for index in range(len(rows))] == [1, 4]
    assert [rows[index].text for index in range(2)] == [written[0]["prompt"], written[2]["prompt"]]
    (problem,) = problems
    assert problem.file == str(path) and problem.detail
    assert f"{path}:2" in problems.summary() and kind in problems.summary()


def test_any_shapes_are_taken_when_asked_for(tmp_path: Path) -> None:
    path, written = write_dim_edit(tmp_path, 2)
    blank(tmp_path / written[0]["image_path"], (200, 100))
    problems = Problems()
    assert len(read(problems, "dim-edit", path, shapes="any")) == 2
    assert not len(problems)


def test_the_list_of_problems_is_written_as_lines(tmp_path: Path) -> None:
    path, written = write_dim_edit(tmp_path, 40)
    write_lines(path, [{**row, "prompt": ""} if index % 2 else row for index, row in enumerate(written)])
    problems = Problems()
    rows = read(problems, "dim-edit", path)
    assert len(rows) == len(problems) == 20
    problems.write(tmp_path / "problems.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "problems.jsonl").read_text().splitlines()]
    assert [line["line"] for line in lines] == list(range(2, 41, 2))
    assert lines[0] == {"kind": "empty text", "file": str(path), "line": 2, "detail": '"prompt" is empty'}
    problems.add(RowProblem("broken row", "later"), path, 99)
    assert listed(problems)[-1] == ("broken row", 99)


def test_a_set_without_one_usable_row_is_refused_with_the_reasons(tmp_path: Path) -> None:
    path, written = write_dim_edit(tmp_path, 2)
    write_lines(path, [{**row, "image_path": "nothing.png"} for row in written])
    with pytest.raises(InputError, match="none of its 2 rows") as raised:
        read(Problems(), "dim-edit", path)
    assert "missing picture" in str(raised.value) and "nothing.png" in str(raised.value)


def test_a_row_that_changed_since_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    path, _ = write_dim_edit(tmp_path, 2)
    rows = read(Problems(), "dim-edit", path)
    path.write_bytes(b"\n")
    with pytest.raises(RowProblem):
        rows[1]


def test_dim_t2i_joins_captions_with_downloaded_pictures(tmp_path: Path) -> None:
    picture = cases(1)[0].target
    url = "https://example.org/a/b.jpg?x=1"
    save(tmp_path / "textvqa" / "train_images" / "a.jpg", picture)
    save(tmp_path / "ureader" / "Tab" / "pngs" / "2-10.5.png", picture)
    save(tmp_path / "fusion" / f"{hashlib.sha256(url.encode()).hexdigest()}.png", picture)
    captions = tmp_path / "DIM-T2I"
    write_lines(captions / "textvqa.jsonl", [{"image_path": "train_images/a.jpg", "prompt": "a sign"}])
    write_lines(
        captions / "ureader-instruction-1.0.jsonl",
        [{"image_path": "Tab/pngs/2-10.5", "prompt": "a table"}, {"image_path": "Tab/none", "prompt": "x"}],
    )
    write_lines(captions / "caps_fusion.jsonl", [{"image_path": url, "prompt": "a dish"}])
    write_lines(captions / "unused.jsonl", [{"image_path": "x", "prompt": "y"}])
    sources = {
        "textvqa": str(tmp_path / "textvqa"),
        "ureader-instruction-1.0": str(tmp_path / "ureader"),
        "caps_fusion": str(tmp_path / "fusion"),
    }
    problems = Problems()
    rows = read(problems, "dim-t2i", captions, sources=sources)
    assert [rows[index].text for index in range(3)] == ["a sign", "a table", "a dish"]
    assert rows[1].key == "DIM-T2I/ureader-instruction-1.0/Tab/pngs/2-10.5"
    assert all(rows[index].source is None for index in range(3)) and not rows.edits
    assert listed(problems) == [("missing picture", 2)]
    only = read(problems, "dim-t2i", captions / "textvqa.jsonl", sources={"textvqa": sources["textvqa"]})
    assert [only[0].text] == ["a sign"]
    with pytest.raises(InputError, match="named like the jsonl files"):
        read(problems, "dim-t2i", captions, sources={"TextVQA": sources["textvqa"]})
    with pytest.raises(InputError, match="no such folder"):
        read(problems, "dim-t2i", captions, sources={"textvqa": str(tmp_path / "none")})


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_pairs_from_separated_values(tmp_path: Path, ending: str) -> None:
    case = cases(1)[0]
    pictures = tmp_path / "pictures"
    save(pictures / "s.png", case.source)
    save(pictures / "t.png", case.target)
    texts = ['make it "red", please', "two\nlines", "", "umlaut ä", "last"]
    path = tmp_path / f"pairs.{ending}"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, delimiter="," if ending == "csv" else "\t")
        writer.writerow(["before", "after", "instruction"])
        writer.writerows([["s.png", "t.png", text] for text in texts[:3]])
        file.write("\n")
        writer.writerow(["s.png", "t.png"])
        writer.writerows([["s.png", "t.png", text] for text in texts[3:]])
    problems = Problems()
    columns = {"source": "before", "target": "after", "text": "instruction"}
    rows = read(problems, "pairs", path, images=str(pictures), columns=columns)
    assert [rows[index].text for index in range(len(rows))] == [texts[0], texts[1], texts[3], texts[4]]
    assert [rows[index].line for index in range(len(rows))] == [2, 3, 8, 9]
    assert rows[1].key == "pairs/3"
    assert listed(problems) == [("empty text", 5), ("broken row", 7)]


def test_an_open_quote_ends_in_a_problem(tmp_path: Path) -> None:
    case = cases(1)[0]
    save(tmp_path / "s.png", case.source)
    path = tmp_path / "pairs.csv"
    path.write_text('source_image,edited_image,edit_prompt\ns.png,s.png,good\ns.png,s.png,"open\ns.png,s.png,lost\n')
    problems = Problems()
    rows = read(problems, "pairs", path)
    assert len(rows) == 1
    assert listed(problems) == [("broken row", 3)]


def test_pairs_of_several_tables(tmp_path: Path) -> None:
    case = cases(1)[0]
    save(tmp_path / "s.png", case.source)
    row = {"source_image": "s.png", "edited_image": "s.png", "edit_prompt": "x"}
    write_lines(tmp_path / "b.jsonl", [row, {**row, "edit_prompt": "y"}])
    write_lines(tmp_path / "a.jsonl", [row])
    rows = read(Problems(), "pairs", tmp_path)
    assert [rows.where(index) for index in range(3)] == [
        (tmp_path / "a.jsonl", 1),
        (tmp_path / "b.jsonl", 1),
        (tmp_path / "b.jsonl", 2),
    ]


def test_pairs_from_parquet_with_stored_pictures(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    case = cases(1)[0]
    stored = {"bytes": save(tmp_path / "s.png", case.source).read_bytes(), "path": None}
    rows = [{"source_image": stored, "edited_image": stored, "edit_prompt": text} for text in ("a", "", "c")]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet", row_group_size=2)
    problems = Problems()
    found = read(problems, "pairs", tmp_path / "x.parquet")
    assert [found[index].text for index in range(2)] == ["a", "c"]
    assert found[1].source == stored["bytes"]
    assert listed(problems) == [("empty text", 2)]


def test_folders_with_and_without_sources(tmp_path: Path) -> None:
    case = cases(1)[0]
    for stem in ("a", "b", "c", "d"):
        save(tmp_path / "target" / f"{stem}.png", case.target)
    for stem in ("a", "b", "d", "orphan"):
        save(tmp_path / "source" / f"{stem}.jpg", case.source)
    for place in ("target/a.txt", "b.txt", "c.txt", "lonely.txt"):
        (tmp_path / place).write_text(f"{place}\n")
    problems = Problems()
    rows = read(problems, "folders", tmp_path)
    assert [rows[index].text for index in range(2)] == ["target/a.txt", "b.txt"]
    assert rows[0].source == (tmp_path / "source" / "a.jpg").resolve() and rows.edits
    assert rows[0].key == f"{tmp_path.name}/a.png"
    kinds = [problem.kind for problem in problems]
    assert sorted(kinds) == ["missing picture", "no partner", "no partner", "no partner"]
    for file in (tmp_path / "source").iterdir():
        file.unlink()
    (tmp_path / "source").rmdir()
    captioned = read(Problems(), "folders", tmp_path)
    assert len(captioned) == 3 and not captioned.edits and captioned[2].source is None


@pytest.mark.parametrize("name", ["none.jsonl", "rows.xlsx", "headless.csv"])
def test_files_that_hold_no_rows_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "rows.xlsx").write_bytes(b"PK")
    (tmp_path / "headless.csv").write_bytes(b"")
    with pytest.raises(InputError, match=name.split(".")[0]):
        read(Problems(), "pairs", tmp_path / name)


def test_an_index_of_many_rows_holds_no_text(tmp_path: Path) -> None:
    """Texts stay in the file: what is kept of a row is a few numbers."""
    case = cases(1)[0]
    save(tmp_path / "s.png", case.source)
    long = "word " * 2000
    write_lines(
        tmp_path / "rows.jsonl",
        [{"id": i, "source_image": "s.png", "edited_image": "s.png", "edit_prompt": long} for i in range(300)],
    )
    rows = read(Problems(), "pairs", tmp_path / "rows.jsonl")
    arrays = (rows.part, rows.place, rows.line, rows.size)
    assert sum(array.nbytes for array in arrays) <= 300 * 40
    assert rows[299].key == "rows/299" and rows[299].text == long.strip()
