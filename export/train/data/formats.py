"""The formats of data sets: which files hold the rows, and how fields become a row.

Read for this, in the repository showlab/DIM: README.md, "Dataset" (DIM-Edit: `tos_dataset_edit.jsonl` with id,
image_path, image_path_target, prompt; paths begin with `image/`) and data/T2I_DATASET.md (DIM-T2I: one jsonl file for
each source; `image_path` is the source's own key of the picture, which users download themselves). That document
doesn't name the field of the captions; the repository's loader reads `prompt` from files of this form. UltraEdit's
tables call their columns source_image, edited_image and edit_prompt.
"""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from dimrt.errors import InputError
from dimrt.export.train.data.problems import Problems, RowProblem
from dimrt.export.train.data.rows import Part, Picture, Row, Rows, look_through, picture_inside
from dimrt.export.train.data.spec import DataSpec
from dimrt.export.train.data.tables import LONGEST, Entry, Fields, JsonLines, open_table

NAMES = {
    "dim-edit": {"id": "id", "source": "image_path", "target": "image_path_target", "text": "prompt"},
    "dim-t2i": {"id": "image_path", "target": "image_path", "text": "prompt"},
    "pairs": {"id": "id", "source": "source_image", "target": "edited_image", "text": "edit_prompt"},
}
"""The fields of each format as published."""
DIM_EDIT_FILE = "tos_dataset_edit.jsonl"
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG", ".gif", ".bmp", ".tif", ".tiff", ".avif")
"""Endings of picture files, in the order in which they are tried for a key that has none."""


def open_rows(spec: DataSpec, problems: Problems, notify: Callable[[int], None] = lambda count: None) -> Rows:
    """The usable rows of a data set; the others go to `problems`.

    Raises:
        InputError: a file or folder that the set names isn't there, or not one row is usable.
    """
    parts = {"dim-edit": _dim_edit, "dim-t2i": _dim_t2i, "pairs": _pairs, "folders": _folders}[spec.kind](spec)
    edits = spec.kind in ("dim-edit", "pairs") or (spec.kind == "folders" and (Path(spec.path) / "source").is_dir())
    return look_through(spec.title, parts, edits, problems, shapes=spec.shapes, notify=notify)


def _dim_edit(spec: DataSpec) -> tuple[Part, ...]:
    """DIM-Edit: its jsonl file, or the folder that it was downloaded to."""
    path = Path(spec.path)
    return _one_table(spec, path / DIM_EDIT_FILE if path.is_dir() else path)


def _pairs(spec: DataSpec) -> tuple[Part, ...]:
    """A table of pairs, or a folder of such tables (a data set in several files)."""
    path = Path(spec.path)
    if not path.is_dir():
        return _one_table(spec, path)
    tables = sorted(file for file in path.iterdir() if file.suffix in (".jsonl", ".csv", ".tsv", ".parquet"))
    if not tables:
        raise InputError(f"{path}: holds no .jsonl, .csv, .tsv or .parquet file; name a folder of tables, or a table")
    return tuple(part for table in tables for part in _one_table(spec, table))


def _one_table(spec: DataSpec, path: Path) -> tuple[Part, ...]:
    table = open_table(path)
    root = _folder(Path(spec.images) if spec.images else path.parent, "images")
    names = NAMES[spec.kind] | spec.columns
    build = partial(_row, title=spec.title, names=names, file=path, find=partial(picture_inside, root))
    return (Part(table, build),)


def _dim_t2i(spec: DataSpec) -> tuple[Part, ...]:
    """DIM-T2I: the jsonl file of each source that has a picture folder."""
    path = Path(spec.path)
    parts = []
    for source, folder in spec.sources.items():
        file = path if path.is_file() and path.stem == source else path / f"{source}.jsonl"
        if not file.is_file():
            raise InputError(f"{file}: no such file; `sources` are named like the jsonl files, without their ending")
        root = _folder(Path(folder), f"sources.{source}")
        names = NAMES["dim-t2i"] | spec.columns
        title = f"{spec.title}/{source}"
        build = partial(_row, title=title, names=names, file=file, find=partial(picture_of_key, root))
        parts.append(Part(JsonLines(file), build))
    return tuple(parts)


def picture_of_key(root: Path, key: str) -> Path:
    """The picture that the user downloaded for a source's key.

    The key itself is tried as a path below `root`, then with the endings of pictures. A key that is a URL is looked for
    under the sha256 (hex) of the URL, with an ending.

    Raises:
        RowProblem: it isn't there, or the key leads out of the folder.
    """
    name = hashlib.sha256(key.encode()).hexdigest() if "://" in key else key
    for ending in ("", *ENDINGS):
        try:
            return picture_inside(root, name + ending)
        except RowProblem as error:
            if error.kind != "missing picture":
                raise
    raise RowProblem("missing picture", f"{root / name}: no such file, with no ending of pictures either ({key})")


def _row(
    fields: Fields, line: int, *, title: str, names: dict[str, str], file: Path, find: Callable[[str], Path]
) -> Row:
    """A row of a table. Raises RowProblem."""

    def picture(role: str) -> Picture:
        value = fields.get(names[role])
        if isinstance(value, bytes):
            return value
        return find(_text_of(fields, names[role]))

    text = _text_of(fields, names["text"]).strip()
    if not text:
        raise RowProblem("empty text", f'"{names["text"]}" is empty')
    identity = fields.get(names["id"], line)
    if not isinstance(identity, str | int) or isinstance(identity, bool):
        raise RowProblem("wrong field", f'"{names["id"]}" should be a text or a number')
    source = picture("source") if "source" in names else None
    return Row(f"{title}/{identity}", source, picture("target"), text, file, line)


def _text_of(fields: Fields, name: str) -> str:
    """A field that holds text. Raises RowProblem."""
    if name not in fields:
        raise RowProblem("wrong field", f'no "{name}" (there are: {", ".join(list(fields)[:8]) or "none"})')
    value = fields[name]
    if not isinstance(value, str):
        raise RowProblem("wrong field", f'"{name}" should be a text, it is {type(value).__name__}')
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RowProblem("wrong field", f'"{name}" holds half a character ({error.reason})') from error
    if "\0" in value:
        raise RowProblem("wrong field", f'"{name}" holds a zero character')
    return value


def _folders(spec: DataSpec) -> tuple[Part, ...]:
    """A folder with target/, maybe source/, and captions."""
    folder = _folder(Path(spec.path), "path")
    _folder(folder / "target", "path")
    table = PictureFolder(folder)
    return (Part(table, partial(_folder_row, title=spec.title, folder=folder)),)


class PictureFolder:
    """The pictures of `target/` as rows; sources and captions without a target are rows that can't be used."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._names = sorted(file.name for file in (folder / "target").iterdir() if file.suffix in ENDINGS)

    def scan(self) -> Iterator[Entry]:
        """Every target, then what has none."""
        for place, name in enumerate(self._names):
            yield Entry(place, 0, {"name": name})
        stems = {Path(name).stem for name in self._names}
        for place in ("source", "target", "."):
            folder = self.path / place
            if not folder.is_dir():
                continue
            endings = ENDINGS if place == "source" else (".txt",)
            for file in sorted(folder.iterdir()):
                if file.suffix in endings and file.stem not in stems:
                    yield Entry(0, 0, RowProblem("no partner", f"{file}: no picture of this name in target/"))

    def read(self, place: int) -> Fields:
        """The target of a number."""
        return {"name": self._names[place]}


def _folder_row(fields: Fields, line: int, *, title: str, folder: Path) -> Row:
    """The target `fields["name"]` with its caption, STEM.txt beside it or in the set's folder, and its source."""
    name = str(fields["name"])
    stem = Path(name).stem
    captions = [place for place in (folder / "target" / f"{stem}.txt", folder / f"{stem}.txt") if place.is_file()]
    if not captions:
        raise RowProblem("no partner", f"{folder / 'target' / name}: no {stem}.txt beside it or in {folder}")
    try:
        if captions[0].stat().st_size > LONGEST:
            raise RowProblem("long text", f"{captions[0]} has over {LONGEST:,} bytes")
        text = captions[0].read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RowProblem("wrong field", f"{captions[0]} can't be read as text: {error}") from error
    if not text:
        raise RowProblem("empty text", f"{captions[0]} is empty")
    source = picture_of_key(folder, f"source/{stem}") if (folder / "source").is_dir() else None
    return Row(f"{title}/{name}", source, picture_inside(folder, f"target/{name}"), text, folder, line)


def _folder(path: Path, name: str) -> Path:
    """An existing folder, links followed."""
    if not path.is_dir():
        raise InputError(f"{name} = {path}: no such folder; name the one that holds the pictures")
    return path.resolve()
