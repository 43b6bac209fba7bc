"""Data sets as configurations name them."""

from pathlib import Path

import pytest

from dimrt.errors import InputError
from dimrt.export.train.data.spec import DataSpec, read_specs


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "data.toml"
    path.write_text(text)
    return path


def test_paths_start_from_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[[data]]\nkind = "dim-edit"\npath = "edit/rows.jsonl"\nweight = 0.5\n'
        '[[data]]\nkind = "dim-t2i"\npath = "/t2i"\nsources = { textvqa = "pictures" }\n',
    )
    edit, t2i = read_specs(path)
    assert edit == DataSpec("dim-edit", str(tmp_path / "edit" / "rows.jsonl"), weight=0.5)
    assert t2i == DataSpec("dim-t2i", "/t2i", sources={"textvqa": str(tmp_path / "pictures")})
    assert (edit.title, t2i.title) == ("rows", "t2i")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "data"),
        ("data = []", "data"),
        ("[[data]", "TOML|Expected|data.toml"),
        ('[[data]]\nkind = "edit"\npath = "x"', "kind"),
        ('[[data]]\nkind = "pairs"', "path"),
        ('[[data]]\nkind = "pairs"\npath = ""', "path"),
        ('[[data]]\nkind = "pairs"\npath = "x"\nwieght = 1.0', "wieght"),
        ('[[data]]\nkind = "pairs"\npath = "x"\nweight = 0.0', "weight"),
        ('[[data]]\nkind = "pairs"\npath = "x"\ncolumns = { caption = "a" }', "'caption' is no field"),
        ('[[data]]\nkind = "dim-t2i"\npath = "x"\ncolumns = { source = "a" }', "'source' is no field"),
        ('[[data]]\nkind = "dim-t2i"\npath = "x"', "sources"),
        ('[[data]]\nkind = "pairs"\npath = "x"\nsources = { a = "b" }', "sources"),
        ('[[data]]\nkind = "folders"\npath = "x"\nimages = "y"', "images"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=message) as raised:
        read_specs(path)
    assert str(path) in str(raised.value)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "data.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"data\.toml"):
        read_specs(tmp_path / "data.toml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_specs(tmp_path / "none.toml")
