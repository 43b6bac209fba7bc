"""A local server that speaks the Hugging Face hub's protocol: model facts, file tree, HEAD, and GET with ranges."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the server holds (`models`: id to folder), what it was asked, and how it shall misbehave."""

    models: dict[str, Path]
    gated: set[str] = field(default_factory=set)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path and Range header of each request."""
    cut: dict[str, list[int]] = field(default_factory=dict)
    """Path in the model to what happens to its next downloads: closed after so many bytes, or a status if negative."""
    endpoint: str = ""

    def downloads(self, file: str) -> list[str | None]:
        """Range headers of the GET requests for the file at this path."""
        end = f"/{COMMIT}/{file}"
        return [ranged for method, path, ranged in self.requests if method == "GET" and path.endswith(end)]


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """Serve `hub` on a free local port while the block runs."""

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Keep test output clean."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        self.served.requests.append((self.command, path, self.headers.get("Range")))
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)", path):
            name, kind, revision = found.groups()
            if self._known(name, revision):
                self._json(self._facts(name) if kind == "revision" else self._tree(name))
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            name, revision, file = found.groups()
            if self._known(name, revision):
                self._file(self.served.models[name], file, body)
        else:
            self._error(404, "EntryNotFound")

    def _known(self, name: str, revision: str) -> bool:
        if name in self.served.gated:
            self._error(403, "GatedRepo")
        elif name not in self.served.models:
            self._error(401, "RepoNotFound")
        elif revision not in ("main", COMMIT):
            self._error(404, "RevisionNotFound")
        else:
            return True
        return False

    def _facts(self, name: str) -> dict[str, object]:
        return {"id": name, "sha": COMMIT, "siblings": [{"rfilename": entry["path"]} for entry in self._tree(name)]}

    def _tree(self, name: str) -> list[dict[str, object]]:
        folder = self.served.models[name]
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return [
            {
                "type": "file",
                "path": path.relative_to(folder).as_posix(),
                "size": path.stat().st_size,
                "oid": _etag(path)[:40],
            }
            for path in files
        ]

    def _file(self, folder: Path, file: str, body: bool) -> None:
        path = folder / file
        if not path.is_file():
            self._error(404, "EntryNotFound")
            return
        data = path.read_bytes()
        planned = self.served.cut.get(file, [])
        limit = planned.pop(0) if planned and body else len(data)
        if limit < 0:
            self._error(-limit, "")
            return
        start = int(found[1]) if (found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))) else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("ETag", f'"{_etag(path)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if body:
            self.wfile.write(data[start : start + limit])
            self.close_connection = self.close_connection or limit < len(data) - start

    def _json(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _error(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _etag(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
