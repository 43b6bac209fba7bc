"""Who is let in, and what every answer carries."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from serving import BEARER, TOKEN, Running, code_of, parse, png, running, wait_until
from standin_editor import StandInEditor

from dimrt.serve.guard import SECURITY
from dimrt.serve.server import open_port

OPEN = ("/", "/health", "/openapi.json", "/favicon.ico", "/page/style.css")
CLOSED = (
    "/v1/models",
    "/v1/jobs/x",
    "/v1/photos/x/image",
    "/nothing",
    "/page",
    "//v1/models",
    "/%2e/health",
    "/V1/models",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(StandInEditor()) as it:
        yield it


def get(server: Running, path: str, **headers: str) -> httpx.Response:
    """A request without the usual headers."""
    return server.bare.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize("path", OPEN)
def test_page_and_health_need_no_token(server: Running, path: str) -> None:
    assert get(server, path).status_code in (200, 204, 404)
    assert get(server, path).status_code != 404 or path.startswith("/page/")


@pytest.mark.parametrize("path", CLOSED)
def test_everything_else_needs_the_token(server: Running, path: str) -> None:
    answer = get(server, path)
    assert (answer.status_code, code_of(answer)) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "given",
    [
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer",
        f"Bearer x {TOKEN}",
        "Bearer \xfc",
    ],
)
def test_a_wrong_token_is_refused(server: Running, given: str) -> None:
    answer = server.bare.get("/v1/models", headers={"authorization": given.encode("latin-1")})
    assert answer.status_code == 401


def test_the_token_counts_in_the_header_alone_and_once(server: Running) -> None:
    assert get(server, f"/v1/models?token={TOKEN}").status_code == 401
    assert get(server, "/v1/models", cookie=f"token={TOKEN}").status_code == 401
    twice = [("authorization", "Bearer wrong"), ("authorization", f"Bearer {TOKEN}")]
    assert server.bare.get("/v1/models", headers=twice).status_code == 401
    assert server.client.get("/v1/models").status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "192.168.1.7",
        "",
        "[::1",
        "a@127.0.0.1",
        "127.0.0.1:x",
    ],
)
@pytest.mark.parametrize("path", ["/", "/health", "/v1/models"])
def test_a_foreign_host_is_refused_even_with_the_token(server: Running, host: str, path: str) -> None:
    answer = server.bare.get(path, headers={**BEARER, "Host": host})
    assert (answer.status_code, code_of(answer)) == (403, "wrong_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "127.0.0.1", "127.8.9.1:1", "[::1]:80", "localhost."])
def test_names_of_this_machine_are_taken_on_any_port(server: Running, host: str) -> None:
    assert server.bare.get("/v1/models", headers={**BEARER, "Host": host}).status_code == 200


def test_further_names_and_addresses_are_taken_when_asked_for() -> None:
    with running(StandInEditor(), hosts=frozenset({"studio.local"}), public=True) as server:
        for host, status in [("studio.local:1", 200), ("192.168.1.7", 200), ("[fe80::1]", 200), ("evil.example", 403)]:
            assert server.bare.get("/health", headers={"Host": host}).status_code == status, host


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "file://", "http://127.0.0.1"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_origin_is_refused_even_with_the_token(server: Running, origin: str, method: str) -> None:
    answer = server.bare.request(method, "/v1/models", headers={**BEARER, "Origin": origin})
    assert (answer.status_code, code_of(answer)) == (403, "wrong_origin")
    assert "access-control-allow-origin" not in answer.headers


def test_the_own_origin_is_taken(server: Running) -> None:
    assert server.bare.get("/v1/models", headers={**BEARER, "Origin": server.origin}).status_code == 200


def test_no_preflight_is_answered(server: Running) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    answer = server.bare.options("/v1/jobs", headers=asked)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/nothing"])
def test_every_answer_carries_the_security_headers(server: Running, path: str) -> None:
    for headers in ({}, BEARER, {"Host": "evil.example"}):
        answer = server.bare.get(path, headers=headers)
        assert SECURITY.items() <= dict(answer.headers).items()
        assert answer.headers["cache-control"] in ("no-store", "no-cache")
        assert "server" not in answer.headers


def test_the_page_may_load_nothing_from_elsewhere_and_nothing_inline() -> None:
    rules = dict(rule.split(" ", 1) for rule in SECURITY["content-security-policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in SECURITY["content-security-policy"]


@pytest.mark.parametrize(
    "name",
    [b"../app.py", b"..%2fapp.py", b"%2e%2e/app.py", b"..%5capp.py", b"..", b".", b"", b"app.py", b"nul%00", b"C:%5Cx"],
)
def test_a_file_outside_the_page_is_not_served(server: Running, name: bytes) -> None:
    assert server.status_of(b"/page/" + name) == 404
    assert server.status_of(b"/page/index.html") == 200


def test_the_log_names_path_and_status_and_nothing_else(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    secret = "a-very-private-wish"
    with caplog.at_level(logging.DEBUG):
        server.client.get(f"/v1/jobs/x/image?format={secret}")
        server.client.get("/v1/%0a%1b[31mred")
        server.client.post("/v1/jobs", json={"photo": "x", "instructions": [secret]})
        server.client.post("/v1/photos", content=secret, headers={"content-type": "multipart/form-data; boundary=b"})
        wait_until(lambda: "POST /v1/photos 400" in caplog.text)
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert "GET /v1/jobs/x/image 404" in caplog.text
    assert not [record for record in ours if secret in record.getMessage() or TOKEN in record.getMessage()]
    assert not [record for record in ours if "\x1b" in record.getMessage() or "\n" in record.getMessage()]


def test_an_error_inside_is_a_500_without_its_words(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    service = server.server.service
    assert service is not None
    jobs, service.jobs = service.jobs, None  # type: ignore[assignment]  # what can't happen
    try:
        answer = server.client.get("/health")
    finally:
        service.jobs = jobs
    assert (answer.status_code, code_of(answer)) == (500, "internal_error")
    wait_until(lambda: "AttributeError in /health" in caplog.text)
    assert "NoneType" not in caplog.text + answer.text
    assert server.client.get("/health").status_code == 200


def test_a_head_that_never_ends_is_cut_off() -> None:
    with running(StandInEditor(), read_timeout=1.0) as server:
        for sent in (b"", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "):
            with server.raw(sent) as connection:
                assert connection.recv(100) == b""


def test_a_drip_of_header_bytes_gains_no_time() -> None:
    with running(StandInEditor(), read_timeout=1.0) as server, server.raw(b"GET /health HTTP/1.1\r\n") as connection:
        over = threading.Event()
        sent = 0
        while not over.wait(0.05) and sent < 400:
            try:
                connection.sendall(b"X-Drip: 1\r\n")
            except OSError:
                over.set()
            sent += 1
        assert over.is_set()


def test_a_slow_head_that_ends_in_time_is_answered(server: Running) -> None:
    with server.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n") as connection:
        connection.sendall(b"\r\n")
        assert connection.recv(20).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")


def test_a_second_server_finds_its_port_taken(server: Running) -> None:
    from dimrt.errors import ResourceError

    with pytest.raises(ResourceError, match=rf"port {server.port} of 127.0.0.1 is taken.*--port"):
        open_port("127.0.0.1", server.port)


@pytest.mark.parametrize("phase", ["plan", "paint"])
def test_whoever_waits_for_a_picture_is_told_that_the_server_stopped(phase: str) -> None:
    editor = StandInEditor()
    editor.hold = phase
    with running(editor) as server, ThreadPoolExecutor() as callers:
        form = {"files": {"image": ("x", png())}, "data": {"prompt": "x", "n": "2"}}
        answer = callers.submit(server.client.post, "/v1/images/edits", **form)
        assert editor.reached.wait(30)
        server.server.stop()
        assert (answer.result(30).status_code, code_of(answer.result())) == (503, "stopped")
    assert editor.started == editor.ended == 1


def test_an_editor_that_does_not_stop_in_time_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dimrt.serve.server.LAST_SECONDS", 0.2)
    editor = StandInEditor()
    editor.hold, editor.deaf = "paint", threading.Event()
    with running(editor) as server:
        server.add_job(server.add_photo())
        assert editor.reached.wait(30)
        server.server.stop()
    assert not server.server.idle
    editor.deaf.set()
    wait_until(lambda: editor.ended == 1)


def test_the_end_comes_while_a_stream_is_open_and_a_job_runs() -> None:
    editor = StandInEditor()
    editor.hold = "paint"
    with running(editor) as server:
        job = server.add_job(server.add_photo(png()))
        kinds: list[str] = []
        with server.client.stream("GET", f"/v1/jobs/{job}/events") as answer:
            events = parse(answer.iter_lines())
            kinds.append(next(events)[1])
            assert editor.reached.wait(30)
            server.server.stop()
            kinds.extend(kind for _, kind, _ in events)
    assert len(kinds) > 1
    assert kinds[-1] == "cancelled"
    assert server.server.idle
    assert editor.ended == 1
