"""What is written down survives a crash, and a torn line costs nothing but itself."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimrt.batch.entry import Entry, Lines, Problem, read_entries, write_entries
from dimrt.batch.record import RECORD, History, Record
from dimrt.errors import InputError

NAMES = st.text(min_size=1) | st.binary(min_size=1).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
ENTRIES = st.builds(
    Entry,
    input=NAMES,
    output=NAMES,
    status=st.sampled_from(["done", "skipped", "failed", "claimed"]),
    instruction=st.text(),
    error=st.none() | st.builds(Problem, st.text(), st.text()),
    seconds=st.none() | st.floats(0, 1e6),
    seed=st.none() | st.integers(0, 2**63 - 1),
    notes=st.lists(st.text(), max_size=2).map(tuple),
)


@given(st.lists(ENTRIES, max_size=4))
def test_entries_come_back_as_written(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> None:
    path = tmp_path_factory.mktemp("entries") / "report.jsonl"
    write_entries(path, entries)
    assert list(read_entries(path)) == entries


@given(st.data())
def test_a_file_cut_anywhere_keeps_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    entries = data.draw(st.lists(ENTRIES, min_size=1, max_size=4))
    lines = [entry.line() for entry in entries]
    cut = data.draw(st.integers(0, len(b"".join(lines))))
    path = tmp_path_factory.mktemp("entries") / "record.jsonl"
    path.write_bytes(b"".join(lines)[:cut])
    whole = [entry for number, entry in enumerate(entries) if len(b"".join(lines[: number + 1])) <= cut]
    assert list(read_entries(path))[: len(whole)] == whole
    more = Lines(path)
    more.append(entries[0])
    more.close()
    assert list(read_entries(path)) == [*whole, entries[0]]


def test_strange_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    good = Entry("a.png", "a.png", "done")
    strange = [
        b"\n",
        b"[]\n",
        b"{}\n",
        b'{"input": 1}\n',
        b"\xff\xfe\n",
        b'"x"\n',
        b'{"input":"a","output":"a","status":"?"}\n',
    ]
    path.write_bytes(b"".join([*strange, good.line(), b"\x00" * 100 + b"\n", good.line()]))
    assert list(read_entries(path)) == [good, good]


def test_a_second_batch_is_kept_out(tmp_path: Path) -> None:
    with Record(tmp_path / "out"), pytest.raises(InputError, match="another batch writes"), Record(tmp_path / "out"):
        pass
    with Record(tmp_path / "out") as record:
        record.append(Entry("a.png", "a.png", "done"))
    assert (tmp_path / "out" / RECORD).read_bytes().count(b"\n") == 1


def test_an_output_belongs_to_the_photo_it_was_last_written_for() -> None:
    history = History([Entry("a.heic", "a.jpg", "done"), Entry("b", "b", "failed")])
    assert history.owner("A.JPG") == "a.heic"
    assert history.owner("b") is None
    history.add(Entry("a.jpg", "a.jpg", "claimed"))
    assert history.owner("a.jpg") == "a.jpg"
