"""Bodies: cut at their caps while they come in, and refused when they are broken, slow, or not what they say."""

import io
import json
import socket
import struct
import tracemalloc
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from python_multipart.multipart import MultipartParser
from serving import TOKEN, Running, code_of, png, running, wait_until
from standin_editor import StandInEditor

from dimrt.serve.errors import HttpError
from dimrt.serve.upload import MAX_FILES, MAX_PARTS, MAX_TEXT, _Parts

CAP = 1 << 20
PIXELS = 10_000
FORM = {"content-type": "multipart/form-data; boundary=edge"}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(StandInEditor(), max_upload=CAP, max_pixels=PIXELS, read_timeout=1.0, body_timeout=3.0) as it:
        yield it


def part(name: str, data: bytes = b"x", file: bool = True) -> bytes:
    """One part of a form."""
    kind = '; filename="f"' if file else ""
    return f'--edge\r\nContent-Disposition: form-data; name="{name}"{kind}\r\n\r\n'.encode() + data + b"\r\n"


def head(length: str) -> bytes:
    """The head of an upload whose body comes by hand."""
    return (
        f"POST /v1/photos HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: multipart/form-data; boundary=edge\r\n{length}\r\n\r\n"
    ).encode()


def answer_of(connection: socket.socket) -> bytes:
    """Everything that comes until the connection is closed."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def test_a_photo_is_taken_in_any_way_it_is_cut_into_pieces(server: Running) -> None:
    body = part("photo", png()) + b"--edge--\r\n"
    for size in (1, 7, 1000, len(body)):
        pieces = (body[start : start + size] for start in range(0, len(body), size))
        answer = server.client.post("/v1/photos", content=pieces, headers=FORM)
        assert answer.status_code == 201
        assert {key: answer.json()[key] for key in ("width", "height", "depth")} == {
            "width": 48,
            "height": 32,
            "depth": 8,
        }


def test_a_length_beyond_the_cap_is_refused_before_anything_is_sent(server: Running) -> None:
    with server.raw(head(f"Content-Length: {CAP + 1}")) as connection:
        answer = answer_of(connection)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer
    assert b"--max-upload" in answer


def test_a_client_that_waits_for_a_go_ahead_is_told_no_at_once(server: Running) -> None:
    with server.raw(head(f"Content-Length: {CAP + 1}\r\nExpect: 100-continue")) as connection:
        assert answer_of(connection).startswith(b"HTTP/1.1 413")


def test_an_endless_upload_is_cut_while_it_streams_and_nothing_beyond_the_cap_is_held(server: Running) -> None:
    sent = 0
    piece = b"%x\r\n%s\r\n" % (65536, b"\xaa" * 65536)
    start = part("photo").removesuffix(b"x\r\n")
    tracemalloc.start()
    try:
        connection = server.raw(head("Transfer-Encoding: chunked") + b"%x\r\n%s\r\n" % (len(start), start))
        with connection, pytest.raises(OSError):
            while sent < 200 * CAP:
                connection.sendall(piece)
                sent += 65536
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sent < 40 * CAP
    assert peak < 4 * CAP
    server.add_photo()


def test_the_refusal_of_a_large_upload_reaches_the_client(server: Running) -> None:
    answer = server.client.post("/v1/photos", files={"photo": ("x", b"\xaa" * (4 * CAP))})
    assert (answer.status_code, code_of(answer)) == (413, "too_large")


def test_without_the_token_no_body_is_read(server: Running) -> None:
    answer = server.bare.post("/v1/photos", files={"photo": ("x", b"\xaa" * (8 * CAP))})
    assert answer.status_code == 401


def test_a_body_that_stalls_is_given_up(server: Running) -> None:
    with server.raw(head("Content-Length: 1000") + part("photo")) as connection:
        answer = answer_of(connection)
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_body_that_drips_is_given_up_when_its_time_is_over(server: Running) -> None:
    with server.raw(head("Content-Length: 100000") + part("photo", b"")) as connection:
        connection.settimeout(0.1)
        answer, sent = b"", 0
        while not answer and sent < 200:
            connection.sendall(b"x")
            sent += 1
            try:
                answer = connection.recv(100)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_client_that_leaves_in_the_middle_does_no_harm(server: Running) -> None:
    for _ in range(5):
        server.raw(head("Content-Length: 5000") + part("photo")).close()
    server.add_photo()


def test_slow_uploads_keep_nobody_else_from_asking() -> None:
    with running(StandInEditor(), uploads=2) as server:
        photo = server.add_photo()
        slow = [server.raw(head("Content-Length: 1000") + part("photo")) for _ in range(3)]
        assert server.wait_over(server.add_job(photo)) == "done"
        for connection in slow:
            connection.close()
        server.add_photo()


def bomb(width: int, height: int) -> bytes:
    """A tiny PNG file of a huge black picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(min((width + 1) * height, 50_000_000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height", "status"), [(101, 100, 413), (30_000, 30_000, 400), (5000, 5000, 413)])
def test_a_bomb_is_refused_before_it_is_decoded(server: Running, width: int, height: int, status: int) -> None:
    tracemalloc.start()
    try:
        data = bomb(width, height) if width > 1000 else png(width, height)
        tracemalloc.reset_peak()
        answer = server.client.post("/v1/photos", files={"photo": ("x", data)})
        peak = tracemalloc.get_traced_memory()[1] - len(data)
    finally:
        tracemalloc.stop()
    assert answer.status_code == status
    assert "pixels" in answer.json()["error"]["message"]
    assert peak < 8 * CAP


def test_a_bomb_of_a_mask_is_refused_by_its_size(server: Running) -> None:
    photo = server.add_photo()
    files = {"mask": ("m", bomb(5000, 5000))}
    answer = server.client.post("/v1/jobs", data={"photo": photo, "instructions": "x"}, files=files)
    assert (answer.status_code, code_of(answer)) == (400, "invalid_input")
    assert "5000 x 5000 and the photo is 48 x 32" in answer.json()["error"]["message"]


BROKEN = {
    "empty": b"",
    "nothing": b"--edge--\r\n",
    "no boundary": b"hello",
    "wrong boundary": part("photo").replace(b"edge", b"ridge"),
    "no end": part("photo"),
    "no name": b"--edge\r\nContent-Disposition: form-data\r\n\r\nx\r\n--edge--\r\n",
    "no disposition": b"--edge\r\nContent-Type: image/png\r\n\r\nx\r\n--edge--\r\n",
    "bad header": b"--edge\r\nContent Disposition\r\n\r\nx\r\n--edge--\r\n",
    "text for a file": part("photo", file=False) + b"--edge--\r\n",
    "file for a text": part("instructions") + b"--edge--\r\n",
    "not a picture": part("photo") + b"--edge--\r\n",
    "half a picture": part("photo", png()[:500]) + b"--edge--\r\n",
    "twice": part("photo", png()) * 2 + b"--edge--\r\n",
    "unknown": part("photo", png()) + part("surprise") + b"--edge--\r\n",
    "not UTF-8": part("seed", b"\xff", file=False) + b"--edge--\r\n",
    "many parts": part("photo", b"", file=False) * (MAX_PARTS + 1) + b"--edge--\r\n",
    "many files": part("photo") * (MAX_FILES + 1) + b"--edge--\r\n",
    "huge header": b"--edge\r\nContent-Disposition: " + b"x" * 100_000,
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("path", ["/v1/photos", "/v1/jobs", "/v1/images/edits"])
def test_a_broken_form_is_a_400(server: Running, path: str, name: str) -> None:
    answer = server.client.post(path, content=BROKEN[name], headers=FORM)
    assert answer.status_code == 400, answer.text
    assert code_of(answer)


def test_too_much_text_is_refused(server: Running) -> None:
    body = part("instructions", b"x" * (MAX_TEXT // 2), file=False) * 2
    with pytest.raises(HttpError) as caught:
        parts = _Parts()
        MultipartParser(b"edge", parts.callbacks()).write(body + part("plan", b"x", file=False))
    assert caught.value.status == 413


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"1", b"null", b'"x"', b"\xff{}", b"[" * 100_000, b'{"seed": NaN}', b'{"seed": 1e999}',
     b'{"seed": ' + b"9" * 5000 + b"}", b'{"photo": "\\ud800", "instructions": ["x"]}', b'{"\\ud800": 1}',
     b'{"photo": "x", "instructions": ["\\udfff"]}'],
)  # fmt: skip
def test_broken_json_is_a_400(server: Running, body: bytes) -> None:
    answer = server.client.post("/v1/jobs", content=body, headers=JSON)
    assert answer.status_code == 400, answer.text
    assert code_of(answer)


def test_json_has_a_cap_too(server: Running) -> None:
    answer = server.client.post("/v1/jobs", content=json.dumps({"plan": "x" * (2 * CAP)}), headers=JSON)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/mixed; boundary=edge", "", "multipart/form-data"],
)
def test_other_bodies_are_a_415_or_400(server: Running, kind: str) -> None:
    answer = server.client.post("/v1/jobs", content=b"x=1", headers={"content-type": kind})
    assert answer.status_code == (400 if kind == "multipart/form-data" else 415)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.binary(max_size=300), max_size=5), st.data())
def test_the_parts_are_the_same_however_the_body_is_cut(parts: dict[str, bytes], data: st.DataObject) -> None:
    body = b"".join(part(name, content) for name, content in parts.items()) + b"--edge--\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    collected = _Parts()
    parser = MultipartParser(b"edge", collected.callbacks())
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        parser.write(body[start:end])
    assert collected.complete
    assert {name: content for name, (content,) in collected.form.files.items()} == parts


def test_photos_are_forgotten_when_the_memory_is_full_the_one_used_longest_ago_first() -> None:
    size = 100 * 100 * 3
    with running(StandInEditor(), photo_memory=int(3.5 * size)) as server:
        photos = [server.add_photo(png(100, 100, seed=seed)) for seed in range(3)]
        assert server.client.get(f"/v1/photos/{photos[0]}/image").status_code == 200
        photos.append(server.add_photo(png(100, 100, seed=9)))
        there = [server.client.get(f"/v1/photos/{photo}/image").status_code == 200 for photo in photos]
        assert there == [True, False, True, True]
        answer = server.client.post("/v1/jobs", json={"photo": photos[1], "instructions": ["x"]})
        assert (answer.status_code, code_of(answer)) == (404, "no_such_photo")
        assert server.client.delete(f"/v1/photos/{photos[0]}").status_code == 204
        assert server.client.delete(f"/v1/photos/{photos[0]}").status_code == 404


def test_photos_of_waiting_edits_fill_the_memory_until_they_are_over() -> None:
    editor = StandInEditor()
    editor.hold = "vision"
    with running(editor, photo_memory=70_000) as server:
        first = server.add_job(server.add_photo(png(100, 100)))
        second = server.add_job(server.add_photo(png(90, 100)))
        answer = server.client.post("/v1/photos", files={"photo": ("x", png(100, 100))})
        assert (answer.status_code, code_of(answer)) == (429, "queue_full")
        assert int(answer.headers["retry-after"]) > 0
        editor.release.set()
        assert {server.wait_over(first), server.wait_over(second)} == {"done"}
        server.add_photo(png(100, 100))


def test_a_photo_larger_than_the_memory_may_be_alone() -> None:
    with running(StandInEditor(), photo_memory=1000) as server:
        photo = server.add_photo(png(100, 100))
        assert server.wait_over(server.add_job(photo)) == "done"
        wait_until(lambda: server.client.post("/v1/photos", files={"photo": ("x", png(100, 100))}).status_code == 201)


def test_a_photo_can_be_looked_at_smaller_and_upright(server: Running) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Maker"
    file = io.BytesIO()
    picture.save(file, "TIFF", exif=exif)
    photo = server.add_photo(file.getvalue())
    shown = Image.open(io.BytesIO(server.client.get(f"/v1/photos/{photo}/image?max=30").content))
    assert (shown.format, shown.size) == ("JPEG", (20, 30))
    assert not shown.getexif()
