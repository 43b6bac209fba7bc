"""`dimrt serve` as a process: what it prints, what it refuses, how it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from serving import png, wait_until

from dimrt.cli.main import run
from dimrt.cli.serve import page_address, read_token
from dimrt.errors import InputError
from dimrt.serve.server import open_port

TOKEN = "a-token-from-a-file-or-the-environment"


@contextmanager
def serve(*args: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The command on a free port, in a process of its own."""
    command = [sys.executable, "-m", "dimrt.cli", "serve", "--port", "0", "--device", "cpu", "--threads", "1", *args]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DIMRT_")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**clean, **environment}
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    """What it prints first."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line or process.poll() is None, process.stderr and process.stderr.read()
    return line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise on Windows")
def test_it_prints_its_address_first_serves_and_ends_at_a_signal(number: int, tmp_path: Path) -> None:
    script = tmp_path / "browser.py"
    script.write_text("import pathlib, sys; pathlib.Path(__file__).with_name('opened').write_text(sys.argv[1])")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with serve("--open", BROWSER=f"{sys.executable} {script} %s", TMPDIR=str(scratch)) as process:
        address, _, token = first_line(process).partition("/#token=")
        assert len(token) >= 32
        opened = tmp_path / "opened"
        wait_until(lambda: opened.is_file() and opened.read_text())
        assert opened.read_text() == f"{address}/#token={token}"
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
            assert client.get("/health").json()["status"] == "ok"
            photo = client.post("/v1/photos", files={"photo": ("x", png())}).json()["id"]
            wish = {
                "photo": photo,
                "instructions": ["a-very-private-wish"],
                "steps": 500,
                "guidance_scale": 5,
                "schedule": "teacher",
            }
            job = client.post("/v1/jobs", json=wish).json()["id"]
            with client.stream("GET", f"/v1/jobs/{job}/events") as events:
                lines = events.iter_lines()
                assert any(line == "event: phase_started" for line in lines)
                process.send_signal(number)
                assert [line for line in lines if line.startswith("event: ")][-1] == "event: cancelled"
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert list(scratch.iterdir()) == []
    assert out == ""
    assert "bundle    dimrt-nano" in err
    assert "GET /health 200" in err
    assert "private" not in err
    assert token not in err
    assert "Traceback" not in err


def test_json_says_address_and_token(tmp_path: Path) -> None:
    with serve("--json", "--quiet", DIMRT_TOKEN=TOKEN) as process:
        assert process.stdout is not None
        document = ""
        while not document.endswith("}\n"):
            document += process.stdout.readline()
        facts = json.loads(document)
        assert set(facts) == {"url", "token"}
        assert facts["token"] == TOKEN
        assert httpx.get(facts["url"] + "/v1/models", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_an_interface_beyond_this_machine_is_warned_of() -> None:
    with serve("--host", "0.0.0.0") as process:
        assert first_line(process).startswith("http://127.0.0.1:")
        process.kill()
        _, err = process.communicate(timeout=30)
    assert "warning   --host 0.0.0.0" in err


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--host", "no.such.host.invalid"], 3, "no such name or address"),
        (["--host", "203.0.113.9"], 3, "can't listen on 203.0.113.9"),
        (["--token-file", "missing"], 2, "--token-file missing can't be read"),
        (["--port", "70000"], 2, "65535"),
        (["--bundle", "missing"], 2, "missing"),
    ],
)
def test_what_can_not_be_is_said_in_one_line(
    args: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", "--port", "0", *args]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err


def test_a_taken_port_is_said_before_anything_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with open_port("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert run(["serve", "--port", str(port), "--bundle", "missing"]) == 3
    assert f"port {port} of 127.0.0.1 is taken" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "python_multipart"])
def test_a_missing_package_is_named_with_its_extra(package: str) -> None:
    hidden = f"import sys; sys.modules[{package!r}] = None; from dimrt.cli.main import run; sys.exit(run(['serve']))"
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert done.stderr.strip() == f'dimrt: {package} is not installed; run: pip install "dimrt[serve]"'


def test_the_token_comes_from_a_file_or_the_environment_or_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DIMRT_TOKEN", raising=False)
    assert read_token(None) != read_token(None)
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    monkeypatch.setenv("DIMRT_TOKEN", TOKEN[::-1])
    assert read_token(file) == TOKEN
    assert read_token(None) == TOKEN[::-1]


@pytest.mark.parametrize("token", ["", "short", "x" * 15, "with a space in the middle", "schlüsselwörter-und-mehr"])
def test_a_token_that_is_weak_or_fits_no_header_is_refused(tmp_path: Path, token: str) -> None:
    file = tmp_path / "token"
    file.write_text(token, encoding="utf-8")
    with pytest.raises(InputError, match="at least 16 characters"):
        read_token(file)


def test_the_address_is_one_that_a_browser_of_this_machine_finds() -> None:
    assert page_address("127.0.0.1", 1) == page_address("0.0.0.0", 1) == "http://127.0.0.1:1"
    assert page_address("::", 1) == page_address("::1", 1) == "http://[::1]:1"
    assert page_address("studio", 1) == "http://studio:1"


def test_help_needs_no_server() -> None:
    from dimrt.cli.serve import command

    result = CliRunner().invoke(command, ["--help"])
    assert result.exit_code == 0
    assert "--token-file" in result.output
