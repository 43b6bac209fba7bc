"""Instructions of single photos come from JSON lines or a table, or the file is refused with the line."""

from pathlib import Path

import pytest

from dimrt.batch.instructions import read_instructions
from dimrt.errors import InputError

TWO = {"a.jpg": "make it warmer", "trip/b, c.jpg": "schärfer"}


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "words.jsonl"
    path.write_text(
        '{"input": "a.jpg", "instruction": "make it warmer", "by": "me"}\n\n'
        '{"input": "trip/b, c.jpg", "instruction": "schärfer"}\n{"input": "a.jpg", "instruction": "make it warmer"}',
        encoding="utf-8",
    )
    assert read_instructions(path) == TWO


def test_a_table_as_spreadsheets_write_it(tmp_path: Path) -> None:
    path = tmp_path / "words.CSV"
    text = 'by,instruction,input\r\nme,make it warmer,a.jpg\r\n,schärfer,"trip/b, c.jpg"\r\n'
    path.write_bytes(text.encode("utf-8-sig"))
    assert read_instructions(path) == TWO


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("w.jsonl", b'{"input": "a", "instruction": "b"}\n{"input": "a"}', "line 2: give both"),
        ("w.jsonl", b"[1]", "line 1: give both"),
        ("w.jsonl", b'{"input": "a", "instruction": " "}', "line 1: give both"),
        ("w.jsonl", b'{"input"', "line 1: no JSON"),
        ("w.jsonl", b'{"input": "\xff"}', "save it as UTF-8"),
        ("w.jsonl", b'{"input": "a", "instruction": "b"}\n{"input": "a", "instruction": "c"}', "line 2: a has another"),
        ("w.csv", b"photo,words\na,b\n", "line 2: give both"),
        ("w.csv", b"input,instruction\na\n", "line 2: give both"),
    ],
)
def test_what_cant_be_read_is_told_with_its_line(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_instructions(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        read_instructions(tmp_path / "w.jsonl")
