"""What the tests of the endpoint share: a real server in a thread, and ways to talk to it, decent and not."""

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from PIL import Image

from dimrt.serve.server import Server, open_port
from dimrt.serve.settings import Settings

TOKEN = "token-of-the-tests-of-serve"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Running:
    """A server that answers.

    Attributes:
        server: the server.
        editor: what it runs.
        client: sends the token.
        bare: sends nothing of its own.
    """

    server: Server
    editor: Any
    port: int
    client: httpx.Client
    bare: httpx.Client

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def raw(self, request: bytes, timeout: float = 20) -> socket.socket:
        """A connection on which these bytes were sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        connection.sendall(request)
        return connection

    def status_of(self, path: bytes) -> int:
        """The status of a path that is sent exactly as it is."""
        request = b"GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n" % (path, TOKEN.encode())
        with self.raw(request) as connection:
            return int(connection.recv(1000).split()[1])

    def add_photo(self, data: bytes | None = None) -> str:
        """Upload a photo and return its id."""
        answer = self.client.post("/v1/photos", files={"photo": ("p.png", data or png())})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def add_job(self, photo: str, **fields: Any) -> str:
        """Submit a job and return its id."""
        answer = self.client.post("/v1/jobs", json={"photo": photo, "instructions": ["make it warmer"], **fields})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def events(self, job: str, last: int | None = None) -> list[tuple[int, str, dict[str, Any]]]:
        """(number, type, data) of a job's events until its end."""
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        with self.client.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as answer:
            assert answer.status_code == 200
            return list(parse(answer.iter_lines()))

    def wait_over(self, job: str) -> str:
        """The state in which a job ends."""
        wait_until(lambda: self.client.get(f"/v1/jobs/{job}").json()["state"] not in ("queued", "running"))
        return str(self.client.get(f"/v1/jobs/{job}").json()["state"])


@contextmanager
def running(editor: Any, **limits: Any) -> Iterator[Running]:
    """Serve an editor on a free port."""
    ready = threading.Event()
    listener = open_port("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = Server(editor, Settings(token=TOKEN, **limits), ready.set)
    thread = threading.Thread(target=server.serve_on, args=(listener,))
    thread.start()
    try:
        assert ready.wait(30)
        address = f"http://127.0.0.1:{port}"
        bare = httpx.Client(base_url=address, timeout=60)
        with bare, httpx.Client(base_url=address, timeout=60, headers=BEARER) as client:
            yield Running(server, editor, port, client, bare)
    finally:
        server.stop()
        thread.join(30)
        assert not thread.is_alive()


def parse(lines: Iterator[str]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Server-sent events with an id."""
    number, kind = -1, ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "id":
            number = int(value)
        elif name == "event":
            kind = value
        elif name == "data":
            yield number, kind, json.loads(value)


def png(width: int = 48, height: int = 32, channels: int = 3, seed: int = 1) -> bytes:
    """A PNG file of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pixels_of(data: bytes) -> np.ndarray:
    """The pixels of a picture file."""
    return np.asarray(Image.open(io.BytesIO(data)))


def wait_until(holds: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something holds; it's an error if it doesn't come to hold."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.01)


def code_of(answer: httpx.Response) -> str:
    """The code of an error, whose shape is checked."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return str(error["code"])
