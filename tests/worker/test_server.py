"""The worker's loop on streams in memory and on pipes: requests answered once, errors, limits, cancelling, the end."""

import io
import json
import os
import queue
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from worker_standin import PLAN, StandinEditor

from dimrt.errors import BundleError
from dimrt.options import EditOptions
from dimrt.worker.client import Message, pack_message, read_message, write_message
from dimrt.worker.protocol import Options
from dimrt.worker.server import MAX_SESSIONS, Server

SOON = 25.0
"""Seconds after which a test that waits has failed."""
FINAL = ("result", "opened", "pong", "cancelled", "error")
PICTURE = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)


def png(pixels: np.ndarray[Any, Any] = PICTURE) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pixels_of(encoded: bytes) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"))


class Link:
    """Both ends of a server that runs in a thread of the test, over real pipes."""

    def __init__(self, load: Callable[[], StandinEditor] = StandinEditor, limit: int = 4) -> None:
        requests, answers = os.pipe(), os.pipe()
        self.sink: BinaryIO = os.fdopen(requests[1], "wb")
        self.source: BinaryIO = os.fdopen(answers[0], "rb")
        self.status: int | None = None
        self._ends = os.fdopen(requests[0], "rb"), os.fdopen(answers[1], "wb")
        self._thread = threading.Thread(target=self._serve, args=(load, limit), daemon=True)
        self._thread.start()
        self._inbox: queue.Queue[Message | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, header: dict[str, Any], parts: dict[str, bytes] | None = None) -> None:
        write_message(self.sink, pack_message(header, parts))

    def take(self) -> Message | None:
        """The next message; None at the end."""
        return self._inbox.get(timeout=SOON)

    def until(self, *kinds: str) -> Message:
        """The next message of one of these types."""
        while True:
            message = self.take()
            assert message is not None, f"the worker ended without {kinds}"
            if message.header["type"] in kinds:
                return message

    def answers(self, count: int) -> dict[Any, Message]:
        """The next so many answers, by id, in whatever order."""
        found: dict[Any, Message] = {}
        while len(found) < count:
            message = self.until(*FINAL)
            found[message.header["id"]] = message
        return found

    def end(self) -> int:
        """Close the input; the status."""
        self.sink.close()
        return self.wait()

    def wait(self) -> int:
        self._thread.join(SOON)
        assert self.status is not None, "the worker didn't end"
        return self.status

    def _serve(self, load: Callable[[], StandinEditor], limit: int) -> None:
        self.status = Server(*self._ends, limit).run(load)
        self._ends[1].close()

    def _read(self) -> None:
        for message in iter(lambda: read_message(self.source), None):
            self._inbox.put(message)
        self._inbox.put(None)


@pytest.fixture
def link() -> Iterator[Link]:
    opened = Link()
    opened.until("ready")
    yield opened
    if not opened.sink.closed:
        assert opened.end() == 0


def edit(number: int | str, instruction: str = "invert", **more: Any) -> dict[str, Any]:
    return {"type": "edit", "id": number, "instructions": [instruction], **more}


def run(data: bytes) -> tuple[int, list[dict[str, Any]]]:
    """Everything at once, then the end: the status and all that was answered."""
    sink = io.BytesIO()
    status = Server(io.BytesIO(data), sink).run(StandinEditor)
    sink.seek(0)
    answers = [message.header for message in iter(lambda: read_message(sink), None)]
    return status, answers


def test_it_says_what_it_is() -> None:
    link = Link()
    hello, ready = link.take(), link.take()
    assert hello is not None and ready is not None
    assert (hello.header["type"], hello.header["protocol"], hello.header["pid"]) == ("hello", 1, os.getpid())
    assert {"JPEG", "PNG", "WEBP"} <= set(hello.header["formats"])
    assert hello.header["limits"] == {"header": 1 << 20, "payload": 1 << 30, "waiting": 4, "sessions": MAX_SESSIONS}
    assert (ready.header["type"], ready.header["task"], ready.header["provider"]) == ("ready", "edit", "stand-in")
    assert ready.header["plan_styles"][0] == "full"
    assert link.end() == 0


def test_an_edit_with_its_events(link: Link) -> None:
    link.send(edit("a", events=True, options={"steps": 2, "seed": 7}), {"photo": png()})
    messages = []
    while not messages or messages[-1].header["type"] == "event":
        message = link.take()
        assert message is not None
        messages.append(message)
    events = [message.header["event"]["type"] for message in messages[:-1]]
    assert events[:2] == ["phase_started", "phase_finished"]
    assert [message.header["number"] for message in messages[:-1]] == list(range(len(events)))
    assert "".join(m.header["event"]["text"] for m in messages[:-1] if m.header["event"]["type"] == "plan_text") == PLAN
    header, parts = messages[-1]
    assert (header["type"], header["id"], header["format"], header["notes"]) == ("result", "a", "PNG", [])
    assert (header["result"]["seed"], header["result"]["steps"], header["result"]["width"]) == (7, 2, 16)
    assert list(header["result"]["seconds"]) == ["read", "paint"]
    assert np.array_equal(pixels_of(parts["image"]), 255 - PICTURE)


def test_photo_and_result_by_path(link: Link, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(png())
    output = {"path": str(tmp_path / "out.webp"), "quality": 90}
    link.send(edit(1, photo=str(tmp_path / "in.png"), output=output))
    header, parts = link.until("result", "error")
    assert (header.get("path"), parts) == (output["path"], {})
    with Image.open(output["path"]) as image:
        assert (image.format, image.size) == ("WEBP", (16, 12))


def test_a_mask_is_read_and_said(link: Link) -> None:
    mask = np.zeros((12, 16, 3), np.uint8)
    mask[2:5] = 255
    link.send(edit(1), {"photo": png(), "mask": png(mask)})
    assert any("white part is edited" in note for note in link.until("result").header["notes"])
    link.send(edit(2), {"photo": png(), "mask": png(mask[:5])})
    assert "the photo is 16 x 12" in link.until("error").header["error"]["message"]


def test_a_plan_alone(link: Link) -> None:
    link.send({"type": "plan", "id": 1, "instructions": ["crash"], "events": True}, {"photo": png()})
    header = link.until("result").header
    assert header["plan"]["sections"]["Edited Image Imagination"] == "it is turned"
    assert "result" not in header


def test_open_photos_serve_edits_sent_at_once_and_after_close(link: Link) -> None:
    link.send({"type": "open", "id": 1, "session": "s"}, {"photo": png()})
    link.send(edit(2, "invert", session="s"))
    link.send(edit(3, "turn", session="s"))
    link.send({"type": "close", "session": "s"})
    link.send(edit(4, "turn", session="s"))
    answers = link.answers(4)
    assert answers[1].header["photo"] == {"width": 16, "height": 12, "depth": 8, "notes": []}
    assert np.array_equal(pixels_of(answers[2].parts["image"]), 255 - PICTURE)
    assert np.array_equal(pixels_of(answers[3].parts["image"]), PICTURE[::-1])
    assert answers[4].header["error"]["message"].startswith("session 's' is not open")


def test_a_photo_that_can_not_be_opened_takes_no_place(link: Link) -> None:
    for number in range(MAX_SESSIONS + 1):
        link.send({"type": "open", "id": number, "session": f"s{number}"}, {"photo": b"no photo"})
        assert link.until("error", "opened").header["error"]["type"] == "InputError"
    for number in range(MAX_SESSIONS + 1):
        link.send({"type": "open", "id": number, "session": f"s{number}"}, {"photo": png()})
        header = link.until("error", "opened").header
    assert header["error"]["message"] == "8 photos are open, which is the limit; close one first"
    link.send({"type": "close", "session": "s0"})
    link.send({"type": "open", "id": 99, "session": "s8"}, {"photo": png()})
    assert link.until("error", "opened").header["type"] == "opened"


REFUSED: list[tuple[dict[str, Any], bool, str]] = [
    ({"type": "paint", "id": 5}, False, "unknown request 'paint'; send one of edit, generate"),
    ({"id": 5}, False, "unknown request None"),
    ({"type": "edit", "id": 5}, True, "missing required field `instructions`"),
    (edit(5, sauce=1), True, "unknown field `sauce`"),
    (edit(5, options={"guidance": 1}), True, "unknown field `guidance`"),
    (edit(5, options={"seed": "1"}), True, "got `str` - at `$.options.seed`"),
    (edit(5, options={"seed": -4}), True, "seed is -4; give a whole number"),
    (edit(5, ""), True, "instruction is empty"),
    (edit(5, "fail"), True, "dimrt failed (ValueError: a bug of ours); please report this"),
    (edit(5, photo="a.png", session="s"), False, "a request is about one photo"),
    (edit(5), False, "a request is about one photo"),
    (edit(5, photo="no/such.png"), False, "no such file"),
    (edit(5, mask="a.png", photo="a.png"), True, "a request is about one photo"),
    (edit(5, output={"format": "BMP"}), True, "output format 'BMP' is unknown; choose one of AVIF"),
    (edit(5, output={"quality": 0}), True, "quality 0 is not from 1 to 100"),
    (edit(5, output={"path": "no/such/folder/a.png"}), True, "doesn't exist"),
    (edit(5, output={"path": "a.txt"}), True, "unknown picture suffix"),
    (edit(5, session="s"), False, "session 's' is not open"),
    ({"type": "generate", "id": 5, "prompt": "a tree"}, False, "is made for `dimrt edit`"),
    ({"type": "generate", "id": 5, "prompt": "a tree"}, True, "a request came with the parts photo; it takes none"),
]


@pytest.mark.parametrize(("header", "with_photo", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
def test_what_can_not_be_done_is_refused_with_its_id(
    link: Link, header: dict[str, Any], with_photo: bool, words: str
) -> None:
    link.send(header, {"photo": png()} if with_photo else {})
    answer = link.until("error", "result").header
    assert (answer["type"], answer["id"]) == ("error", 5)
    assert words in answer["error"]["message"]
    link.send(edit(6), {"photo": png()})
    assert link.until("result").header["id"] == 6


@pytest.mark.parametrize("number", [None, 1.5, True, [], "x" * 65])
def test_an_unusable_id_is_refused(link: Link, number: object) -> None:
    link.send({**edit(0), "id": number}, {"photo": png()})
    answer = link.until("error", "result").header
    assert (answer["type"], answer["id"]) == ("error", None)


def test_options_are_the_editors_but_the_mask() -> None:
    names = set(EditOptions.__dataclass_fields__)
    assert set(Options.__struct_fields__) == names - {"mask"}
    assert Options().resolve() == EditOptions()


@pytest.mark.parametrize("raw", [b"{}x", b"[1]", b"\xff\xff", b"nothing", b'{"parts":[["a",3]]}', b'{"parts":7}'])
def test_a_header_that_is_none_is_told_and_the_next_message_read(link: Link, raw: bytes) -> None:
    link.sink.write(struct.pack(">IQ", len(raw), 2) + raw + b"ab")
    link.send({"type": "ping", "id": 3})
    answer = link.until("error").header
    assert (answer["id"], answer.get("fatal")) == (None, None)
    assert "a message was not understood" in answer["error"]["message"]
    assert link.until("pong").header["id"] == 3


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n", "not a message: a header of 1,195,725,856"),
        (struct.pack(">IQ", 2, (1 << 30) + 1) + b"{}", "parts of 1,073,741,825 bytes were announced"),
        (struct.pack(">IQ", 1, 0) + b"{", "a header of 1 and"),
        (bytes(40), "a header of 0 and"),
        (struct.pack(">IQ", 2, 0)[:7], "the stream ended inside a message"),
        (struct.pack(">IQ", 20, 0) + b'{"type"', "the stream ended inside a message"),
        (b"".join(pack_message(edit(1), {"photo": png()}))[:-1], "the stream ended inside a message"),
    ],
)
def test_when_the_framing_is_lost_it_says_so_and_ends_with_status_2(data: bytes, words: str) -> None:
    status, answers = run(b"".join(pack_message({"type": "ping", "id": 1})) + data)
    assert status == 2
    (fatal,) = [answer for answer in answers if answer["type"] == "error"]
    assert (fatal["fatal"], fatal["id"]) == (True, None)
    assert words in fatal["error"]["message"]
    assert any(answer["type"] == "pong" for answer in answers)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([b"".join(pack_message(edit(1), {"photo": png()}))])))
)
def test_whatever_comes_it_answers_in_messages_and_ends(pieces: list[bytes]) -> None:
    status, answers = run(b"".join(pieces))
    assert status in (0, 2)
    assert answers[0]["type"] == "hello"
    assert (status == 2) == any(answer.get("fatal", False) for answer in answers)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70) | st.sampled_from(["s", "PNG"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["path", "format", "seed"]), inner),
    max_leaves=5,
)
FIELDS = ("id", "instructions", "photo", "session", "mask", "options", "output", "events", "prompt", "parts")


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["edit", "plan", "open", "close", "cancel", "ping", "generate", "\ud800" * 170_000]),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5),
)
def test_any_json_is_answered_or_passed_over(kind: str, fields: dict[str, Any]) -> None:
    raw = json.dumps({"type": kind, **fields}).encode()
    last = b"".join(pack_message({"type": "ping", "id": "last"}))
    status, answers = run(struct.pack(">IQ", len(raw), 0) + raw + last)
    final = [answer["id"] for answer in answers if answer["type"] in FINAL]
    assert status == 0
    assert "last" in final
    assert len(final) <= 2


REQUESTS = st.one_of(
    st.just({"type": "ping"}),
    st.just({"type": "no such"}),
    st.builds(
        lambda kind, words, more: {"type": kind, "instructions": [words], **more},
        st.sampled_from(["edit", "plan"]),
        st.sampled_from(["invert", "forever", "fail", ""]),
        st.sampled_from([{}, {"session": "s"}, {"session": "t"}, {"photo": "no/such.png"}, {"options": {"steps": 0}}]),
    ),
    st.builds(lambda name: {"type": "open", "session": name}, st.sampled_from(["s", "t"])),
    st.builds(lambda name: {"type": "close", "session": name}, st.sampled_from(["s", "t"])),
    st.builds(lambda number: {"type": "cancel", "id": number}, st.integers(0, 12)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(REQUESTS, max_size=12))
def test_each_request_is_answered_exactly_once(requests: list[dict[str, Any]]) -> None:
    data, asked = b"", []
    for number, request in enumerate(requests):
        header = request if request["type"] in ("cancel", "close") else {**request, "id": number}
        wants = header["type"] in ("edit", "plan", "open") and not {"session", "photo"} & set(header)
        photo = {"photo": png()} if wants or header["type"] == "open" else {}
        data += b"".join(pack_message(header, photo))
        if "id" in header and header["type"] != "cancel":
            asked.append(number)
    status, answers = run(data)
    assert status == 0
    assert sorted(answer["id"] for answer in answers if answer["type"] in FINAL) == asked


def test_too_many_waiting_requests_are_refused(link: Link) -> None:
    for number in range(6):
        link.send(edit(number, "forever"), {"photo": png()})
    refused = link.until("error").header
    assert (refused["id"], refused["error"]["type"]) == (5, "QueueFull")
    link.send({"type": "cancel", "id": 3})
    assert link.until("cancelled").header["id"] == 3
    link.send(edit(7), {"photo": png()})
    for number in (0, 1, 2, 4):
        link.send({"type": "cancel", "id": number})
    answers = link.answers(5)
    assert {number: answer.header["type"] for number, answer in answers.items()} == {
        **dict.fromkeys((0, 1, 2, 4), "cancelled"),
        7: "result",
    }


def test_an_id_that_is_not_answered_yet_can_not_be_given_again(link: Link) -> None:
    link.send(edit("x", "forever"), {"photo": png()})
    link.send(edit("x"), {"photo": png()})
    assert "not answered yet" in link.until("error").header["error"]["message"]
    link.send({"type": "cancel", "id": "x"})
    link.send({"type": "cancel", "id": "unheard of"})
    assert link.until("cancelled").header["id"] == "x"
    link.send(edit("x"), {"photo": png()})
    assert link.until("result").header["id"] == "x"


def test_before_the_bundle_is_loaded_requests_wait_and_can_be_cancelled() -> None:
    loading = threading.Event()

    def load() -> StandinEditor:
        loading.wait(SOON)
        return StandinEditor()

    link = Link(load)
    link.send(edit(1), {"photo": png()})
    link.send(edit(2), {"photo": png()})
    link.send({"type": "cancel", "id": 1})
    link.send({"type": "ping", "id": 3})
    assert link.until("cancelled", "pong").header["id"] == 1
    assert link.until("pong", "ready").header["type"] == "pong"
    loading.set()
    assert link.until("ready", "result").header["type"] == "ready"
    assert link.until("result").header["id"] == 2
    assert link.end() == 0


def test_a_program_that_leaves_while_the_bundle_is_loaded_is_noticed() -> None:
    loading = threading.Event()

    def load() -> StandinEditor:
        loading.wait(SOON)
        return StandinEditor()

    link = Link(load)
    assert link.end() == 0
    loading.set()


def test_a_bundle_that_can_not_be_loaded_is_told() -> None:
    def load() -> StandinEditor:
        raise BundleError("no bundle there")

    link = Link(load)
    answer = link.until("error").header
    assert (answer["id"], answer["fatal"]) == (None, True)
    assert answer["error"] == {"type": "BundleError", "message": "no bundle there"}
    assert link.wait() == 2


def test_the_end_of_the_input_cancels_everything(link: Link) -> None:
    link.send(edit(1, "forever", events=True), {"photo": png()})
    link.send(edit(2), {"photo": png()})
    while link.until("event").header["event"]["type"] != "progress":
        pass
    assert link.end() == 0
    assert sorted(link.until("cancelled").header["id"] for _ in range(2)) == [1, 2]
    assert link.take() is None


def test_shutdown(link: Link) -> None:
    link.send(edit(1, "forever"), {"photo": png()})
    link.send({"type": "shutdown"})
    assert link.until("bye", "cancelled").header["type"] == "bye"
    assert link.until("cancelled").header["id"] == 1
    assert link.wait() == 0
    link.sink.close()


def test_a_program_that_reads_no_more_ends_it() -> None:
    class Gone(io.BytesIO):
        """Takes one message and then breaks."""

        def write(self, data: Any) -> int:
            if self.tell() > 400:
                raise BrokenPipeError
            return super().write(data)

    requests = os.pipe()
    with os.fdopen(requests[0], "rb") as source, os.fdopen(requests[1], "wb") as sink:
        for number in range(40):
            write_message(sink, pack_message({"type": "ping", "id": number}))
        assert Server(source, Gone()).run(StandinEditor) == 0


def test_cancelling_before_the_file_is_written_leaves_none(link: Link, tmp_path: Path) -> None:
    output = {"path": str(tmp_path / "out.png")}
    link.send(edit(1, f"wait {tmp_path / 'go'}", events=True, output=output), {"photo": png()})
    while link.until("event").header["event"]["type"] != "progress":
        pass
    link.send({"type": "cancel", "id": 1})
    link.send({"type": "ping", "id": 2})
    link.until("pong")
    (tmp_path / "go").touch()
    assert link.until("cancelled", "result").header["type"] == "cancelled"
    assert not (tmp_path / "out.png").exists()


def test_the_protocols_table_names_every_request() -> None:
    from dimrt.worker import protocol

    assert protocol.__doc__ is not None
    for kind in (*protocol.REQUESTS, "hello", "ready", "event", "result", "opened", "cancelled", "error"):
        assert f"| `{kind}` |" in protocol.__doc__
