"""Files of rows, read lazily: where each row begins is found once, its text is read when it is asked for."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from dimrt.errors import InputError, ResourceError
from dimrt.export.train.data.problems import RowProblem

LONGEST = 1 << 20
"""Bytes of one line. A longer one is no row of text: it would be read into memory whole."""
Fields = dict[str, Any]


class Entry(NamedTuple):
    """One row of a file: where it is, its line (from 1), and its fields or what is wrong with it."""

    place: int
    line: int
    fields: Fields | RowProblem


class Table(Protocol):
    """A file of rows."""

    path: Path

    def scan(self) -> Iterator[Entry]:
        """Every row in order."""

    def read(self, place: int) -> Fields:
        """The row at a place that `scan` told.

        Raises:
            RowProblem: there is no such row any more.
        """


def open_table(path: Path) -> Table:
    """The reader for a file, by its name's ending.

    Raises:
        InputError: no such file, or none of the endings.
        ResourceError: a parquet file without the pyarrow package.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; name a .jsonl, .csv, .tsv or .parquet file of rows")
    match path.suffix.lower():
        case ".jsonl" | ".json":
            return JsonLines(path)
        case ".csv":
            return Separated(path, ",")
        case ".tsv":
            return Separated(path, "\t")
        case ".parquet":
            return Parquet(path)
    raise InputError(f"{path}: rows are read from .jsonl, .csv, .tsv and .parquet files; convert it")


class JsonLines:
    """One JSON object a line, UTF-8. Blank lines are no rows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def scan(self) -> Iterator[Entry]:
        """Every row; its place is a byte offset."""
        with self.path.open("rb") as file:
            for place, line, content in lines_of(file):
                if content is None or content.strip():
                    yield Entry(place, line, _parsed(content))

    def read(self, place: int) -> Fields:
        """The row at a byte offset."""
        with self.path.open("rb") as file:
            file.seek(place)
            fields = _parsed(file.readline(LONGEST + 1))
        if isinstance(fields, RowProblem):
            raise fields
        return fields


class Separated:
    """Comma- or tab-separated values with a header line, UTF-8; quoted fields may hold line breaks."""

    def __init__(self, path: Path, delimiter: str) -> None:
        self.path, self._delimiter = path, delimiter
        with path.open("rb") as file:
            header = next(self._records(file), (0, 0, []))[2]
        if isinstance(header, RowProblem) or not header:
            raise InputError(f"{path}: its first line should name the columns; add a header")
        self._header = [name.strip() for name in header]

    def scan(self) -> Iterator[Entry]:
        """Every row after the header; its place is a byte offset."""
        with self.path.open("rb") as file:
            records = self._records(file)
            next(records, None)
            for place, line, values in records:
                yield Entry(place, line, self._named(values))

    def read(self, place: int) -> Fields:
        """The row at a byte offset."""
        with self.path.open("rb") as file:
            file.seek(place)
            for _, _, values in self._records(file):
                fields = self._named(values)
                if isinstance(fields, RowProblem):
                    raise fields
                return fields
        raise RowProblem("broken row", "the file is shorter than when it was first read")

    def _named(self, values: list[str] | RowProblem) -> Fields | RowProblem:
        if isinstance(values, RowProblem):
            return values
        if len(values) != len(self._header):
            return RowProblem("broken row", f"{len(values)} values under {len(self._header)} columns")
        return dict(zip(self._header, values, strict=True))

    def _records(self, file: BinaryIO) -> Iterator[tuple[int, int, list[str] | RowProblem]]:
        """Place, line and values of each record from the file's position on. One may take several lines."""
        place, line, taken = file.tell(), 1, 0

        def decoded() -> Iterator[str]:
            nonlocal taken
            for content in iter(lambda: file.readline(LONGEST + 1), b""):
                taken += 1
                yield content.decode("utf-8-sig" if file.tell() == len(content) else "utf-8")

        texts = decoded()
        while True:
            values: list[str] | RowProblem
            try:
                values = next(csv.reader(texts, delimiter=self._delimiter, strict=True), [])
            except (csv.Error, UnicodeDecodeError) as error:
                values, texts = RowProblem("broken row", str(error)), decoded()
            if not taken:
                return
            if values:
                yield place, line, values
            place, line, taken = file.tell(), line + taken, 0


class Parquet:
    """Rows of a parquet file; pictures may be stored in it, as structures with `bytes` (the form of `datasets`)."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow.parquet
        except ModuleNotFoundError:
            raise ResourceError(
                f'{path}: parquet files need pyarrow. Install it: pip install "dimrt[parquet]"'
            ) from None
        self.path = path
        try:
            groups = pyarrow.parquet.ParquetFile(path).metadata
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(f"{path}: can't be read as parquet ({error}); download it again") from error
        self._held: tuple[int, Any] | None = None
        self._starts = [0]
        for index in range(groups.num_row_groups):
            self._starts.append(self._starts[-1] + groups.row_group(index).num_rows)

    def scan(self) -> Iterator[Entry]:
        """Every row; its place is its number."""
        import pyarrow.parquet

        place = 0
        for batch in pyarrow.parquet.ParquetFile(self.path).iter_batches(batch_size=64):
            for fields in batch.to_pylist():
                yield Entry(place, place + 1, _unpacked(fields))
                place += 1

    def read(self, place: int) -> Fields:
        """The row of a number. Its row group is read whole and kept for the next: take the rows in order."""
        import pyarrow.parquet

        group = next(index for index, end in enumerate(self._starts[1:]) if place < end)
        held = self._held
        if held is None or held[0] != group:
            self._held = held = group, pyarrow.parquet.ParquetFile(self.path).read_row_group(group)
        (fields,) = held[1].slice(place - self._starts[group], 1).to_pylist()
        return _unpacked(fields)


def lines_of(file: BinaryIO) -> Iterator[tuple[int, int, bytes | None]]:
    """Offset, number and content of each line; None for one over `LONGEST` bytes, which is skipped unread."""
    place, number = file.tell(), 0
    while content := file.readline(LONGEST + 1):
        number += 1
        long = len(content) > LONGEST
        while len(content) > LONGEST and not content.endswith(b"\n"):
            content = file.readline(LONGEST + 1)
        yield place, number, None if long else content
        place = file.tell()


def _parsed(line: bytes | None) -> Fields | RowProblem:
    if line is None or len(line) > LONGEST:
        return RowProblem("broken row", f"a line of over {LONGEST:,} bytes")
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        return RowProblem("broken row", f"no JSON: {error}")
    return fields if isinstance(fields, dict) else RowProblem("broken row", "a JSON object was expected")


def _unpacked(fields: Fields) -> Fields:
    """Pictures that are stored in the row become their bytes."""
    return {
        name: value["bytes"] if isinstance(value, dict) and isinstance(value.get("bytes"), bytes) else value
        for name, value in fields.items()
    }
