"""The vendored client and real worker processes: edits, crashes, garbage, cancelling, time limits, lonely workers."""

import ast
import io
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import worker_standin
from PIL import Image

from dimrt.worker import client as client_module
from dimrt.worker.client import Cancelled, Client, Handle, Result, WorkerDied, WorkerError, pack_message

SOON = 60.0
"""Seconds after which a test that waits has failed."""
STANDIN = [sys.executable, str(Path(worker_standin.__file__))]
NANO = [sys.executable, "-m", "dimrt.cli", "worker", "--threads", "1", "--device", "cpu"]
PICTURE = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
CLIENT = Path(client_module.__file__)
FATAL = pack_message(
    {"type": "error", "id": None, "fatal": True, "error": {"type": "BundleError", "message": "no bundle"}}
)
HELLO = pack_message({"type": "hello", "protocol": 1})
WORDS = "make it look like an old sepia photo"


def png(pixels: np.ndarray[Any, Any] = PICTURE) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pixels_of(result: Result) -> np.ndarray[Any, Any]:
    assert result.image is not None
    with Image.open(io.BytesIO(result.image)) as image:
        return np.asarray(image.convert("RGB"))


def saying(*pieces: bytes, then: str = "sys.stdin.buffer.read()") -> list[str]:
    """A command that waits for a request, says these bytes and then does something else."""
    data = b"".join(pieces)
    say = f"sys.stdin.buffer.read(20)\nsys.stdout.buffer.write({data!r})\nsys.stdout.buffer.flush()"
    code = f"import sys\n{say}\n{then}"
    return [sys.executable, "-c", code]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client(STANDIN) as opened:
        yield opened


def begun(client: Client, instruction: str = "forever") -> Handle:
    """An edit that has begun to paint."""
    painting = threading.Event()
    handle = client.submit(png(), instruction, on_event=lambda event: event["type"] == "progress" and painting.set())
    assert painting.wait(SOON)
    return handle


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie counts), once it has had time to."""
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        state = Path(f"/proc/{pid}/stat")
        try:
            if state.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_an_edit_with_events_bytes_and_options(client: Client) -> None:
    events: list[dict[str, Any]] = []
    result = client.edit(png(), "invert", options={"seed": 5, "steps": 2}, on_event=events.append)
    assert np.array_equal(pixels_of(result), 255 - PICTURE)
    assert (result.info["seed"], result.info["steps"], result.path, result.notes) == (5, 2, None, ())
    assert "".join(event["text"] for event in events if event["type"] == "plan_text") == worker_standin.PLAN
    assert repr(result).count("\\x") == 0


def test_paths_masks_and_formats(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.png").write_bytes(png())
    monkeypatch.chdir(tmp_path)
    result = client.edit("in.png", ["turn", "invert"], save_to=Path("out.png"), mask=png(np.full_like(PICTURE, 255)))
    assert (result.image, result.path) == (None, str(tmp_path / "out.png"))
    assert any("white part" in note for note in result.notes)
    with Image.open("out.png") as image:
        assert np.array_equal(np.asarray(image), 255 - PICTURE)
    jpeg = client.edit(tmp_path / "in.png", "turn", format="JPEG", quality=50).image
    assert jpeg is not None and jpeg[:3] == b"\xff\xd8\xff"


def test_a_plan(client: Client) -> None:
    pieces: list[dict[str, Any]] = []
    plan = client.plan(png(), "turn", on_event=pieces.append)
    assert (plan["text"], plan["style"]) == (worker_standin.PLAN, "full")
    assert [piece["type"] for piece in pieces].count("plan_text") == 2


def test_refusals_keep_their_kind(client: Client) -> None:
    with pytest.raises(WorkerError, match="no such file") as refused:
        client.edit("no such.png", "turn")
    assert refused.value.kind == "InputError"
    with pytest.raises(WorkerError, match="is made for `dimrt edit`") as refused:
        client.generate("a tree")
    assert refused.value.kind == "BundleError"
    with pytest.raises(WorkerError, match="unknown field `sauce`"):
        client.edit(png(), "turn", options={"sauce": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        client.edit(png(), "turn", options={"seed": PICTURE})
    assert client.edit(png(), "turn").image


def test_what_libraries_print_does_not_disturb(client: Client) -> None:
    lines: queue.Queue[str] = queue.Queue()
    with Client(STANDIN, on_log=lines.put) as loud:
        assert np.array_equal(pixels_of(loud.edit(png(), "print invert")), 255 - PICTURE)
        assert {lines.get(timeout=SOON), lines.get(timeout=SOON)} == {"a library says hello", "and a native one too"}


def test_open_photos(client: Client) -> None:
    with client.open(png()) as photo:
        assert photo.info == {"width": 16, "height": 12, "depth": 8, "notes": []}
        handles = [photo.submit("invert"), photo.submit("turn")]
        assert np.array_equal(pixels_of(handles[1].result(SOON)), PICTURE[::-1])
        assert np.array_equal(pixels_of(handles[0].result(SOON)), 255 - PICTURE)
        assert np.array_equal(pixels_of(photo.edit("turn")), PICTURE[::-1])
    with pytest.raises(WorkerError, match="is not open"):
        photo.edit("turn")
    with pytest.raises(WorkerError) as refused:
        client.open(b"no photo")
    assert refused.value.kind == "InputError"


def test_cancelling_what_waits_and_what_runs(client: Client) -> None:
    running, waiting, last = begun(client), client.submit(png(), "forever"), client.submit(png(), "invert")
    for handle in (waiting, running):
        assert not handle.done
        handle.cancel()
        with pytest.raises(Cancelled):
            handle.result(SOON)
    assert np.array_equal(pixels_of(last.result(SOON)), 255 - PICTURE)
    last.cancel()
    assert last.done


def test_a_cancel_flag_is_looked_at_while_waiting(client: Client) -> None:
    flag = threading.Event()
    with pytest.raises(Cancelled):
        client.edit(png(), "forever", on_event=lambda event: event["type"] == "progress" and flag.set(), cancel=flag)


def test_time_limits(client: Client) -> None:
    with pytest.raises(TimeoutError, match=r"was not finished after 0\.05 seconds and is cancelled"):
        client.edit(png(), "forever", timeout=0.05)
    handle = begun(client)
    with pytest.raises(TimeoutError, match="is not finished"):
        handle.result(0.01)
    handle.cancel()
    assert client.edit(png(), "invert", timeout=SOON).image


def test_an_on_event_that_raises_ends_its_own_request(client: Client) -> None:
    def broken(event: dict[str, Any]) -> None:
        raise LookupError("a mistake of the plug-in's")

    with pytest.raises(LookupError, match="a mistake of the plug-in's"):
        client.edit(png(), "forever", on_event=broken)
    assert client.edit(png(), "invert").image


def test_many_threads_at_once(client: Client) -> None:
    results: dict[int, bytes] = {}

    def work(number: int) -> None:
        picture = np.full((4, 5, 3), number, np.uint8)
        results[number] = pixels_of(client.edit(png(picture), "invert")).tobytes()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert results == {number: bytes([255 - number]) * 60 for number in range(5)}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills by signal")
def test_when_the_worker_is_killed_the_edit_fails_and_the_next_one_works() -> None:
    with Client(STANDIN) as client:
        photo = client.open(png())
        first = client.start(SOON)["pid"]
        handle, waiting = begun(client), client.submit(png(), "invert")
        os.kill(first, signal.SIGKILL)
        for lost in (handle, waiting):
            with pytest.raises(WorkerDied, match="was killed by signal 9; the next request starts a new one"):
                lost.result(SOON)
        assert np.array_equal(pixels_of(photo.edit("turn")), PICTURE[::-1])
        assert client.start(SOON)["pid"] != first


def test_a_crash_is_told_with_its_status() -> None:
    with Client(STANDIN) as client:
        with pytest.raises(WorkerDied, match="ended with status 7"):
            client.edit(png(), "crash")
        assert client.edit(png(), "invert").image


def test_a_worker_that_hangs_can_be_killed() -> None:
    with Client(STANDIN) as client:
        painting = threading.Event()
        handle = client.submit(png(), "stall", on_event=lambda event: event.get("phase") == "paint" and painting.set())
        assert painting.wait(SOON)
        client.ping(SOON)
        client.kill()
        with pytest.raises(WorkerDied, match="was killed by its client"):
            handle.result(SOON)
        assert client.edit(png(), "invert").image


DEATHS: dict[str, tuple[list[str], str]] = {
    "garbage": (saying(b"hello, here is your picture\n"), "said what can't be understood"),
    "garbage later": (saying(*HELLO, b"Traceback (most recent call last)"), "said what can't be understood"),
    "truncated": (saying(*HELLO, HELLO[0][:9], then=""), "the stream ended inside a message"),
    "no header": (saying(*HELLO, b"\0\0\0\2" + bytes(8) + b"[]"), "isn't a JSON object"),
    "no event": (
        saying(*HELLO, *pack_message({"type": "event", "id": 1}), *pack_message({"type": "event", "id": 2})),
        "said what can't be understood",
    ),
    "other protocol": (saying(*pack_message({"type": "hello", "protocol": 2})), r"speaks another protocol \(hello 2"),
    "no hello": (saying(*pack_message({"type": "ready"})), "speaks another protocol"),
    "silent": (saying(), "said nothing for 1 seconds"),
    "ends": (saying(then="sys.exit('no such option')"), "ended with status 1; .* it had said: no such option"),
    "fatal": (saying(*HELLO, *FATAL, then=""), "^no bundle$"),
}


@pytest.mark.parametrize("case", DEATHS)
def test_every_way_to_be_no_worker_is_an_error_and_leaves_no_process(case: str) -> None:
    command, words = DEATHS[case]
    with Client(command, start_timeout=1.0 if case == "silent" else SOON) as client:
        handle = client.submit(png(), "invert", on_event=print)
        with pytest.raises(WorkerError, match=words):
            handle.result(SOON)
        with pytest.raises(WorkerError, match=words):
            client.edit(png(), "invert")


def test_a_command_that_is_not_there() -> None:
    with Client(["/no/such/program"]) as client, pytest.raises(WorkerDied, match="can't be started"):
        client.edit(png(), "invert")


def test_close_ends_everything() -> None:
    client = Client(STANDIN)
    handle = begun(client)
    pid = client.start(SOON)["pid"]
    client.close()
    with pytest.raises(Cancelled):
        handle.result(SOON)
    with pytest.raises(WorkerError, match="the client is closed"):
        client.edit(png(), "invert")
    client.close()
    assert not Path("/proc").is_dir() or gone(pid)


HOST = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from dimrt_client import Client
client = Client(sys.argv[2:])
print(client.start(60)["pid"], flush=True)
begun = threading.Event()
with open("in.png", "rb") as file:
    handle = client.submit(file.read(), "stall", on_event=lambda event: event.get("phase") == "paint" and begun.set())
begun.wait(60)
print("begun", flush=True)
handle.result()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="looks at processes in /proc")
def test_the_copied_file_alone_serves_a_host_and_the_worker_ends_with_it(tmp_path: Path) -> None:
    """The host sees no packages at all (-I -S), works in the middle of an edit, and is killed."""
    (tmp_path / "in.png").write_bytes(png())
    shutil.copy(CLIENT, tmp_path / "dimrt_client.py")
    command = [sys.executable, "-I", "-S", "-c", HOST, str(tmp_path), *STANDIN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path) as host:
        assert host.stdout is not None
        pid = int(host.stdout.readline())
        assert host.stdout.readline() == b"begun\n"
        host.kill()
    assert gone(pid)


def test_the_file_needs_python_3_8_and_its_library_alone() -> None:
    tree = ast.parse(CLIENT.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported <= set(sys.stdlib_module_names)
    assert "annotations" in {name.name for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names}
    aliases = [ast.unparse(node.value) for node in tree.body if isinstance(node, ast.Assign)]
    assert not [alias for alias in aliases if " | " in alias or alias.startswith(("dict[", "list["))]


@pytest.fixture(scope="module")
def nano() -> Iterator[Client]:
    with Client(NANO, env={**os.environ, "OMP_NUM_THREADS": "1"}) as opened:
        yield opened


@pytest.fixture(scope="module")
def photo() -> bytes:
    rows, columns = np.mgrid[0:96, 0:128]
    picture = np.stack([rows * 2, columns, (rows + columns) % 256], axis=2).astype(np.uint8)
    picture[30:60, 40:90] = (200, 30, 60)
    return png(picture)


@pytest.fixture(scope="module")
def undisturbed(photo: bytes) -> bytes:
    """What the editor of this process makes of the photo."""
    from dimrt.editor import Editor
    from dimrt.photo.read import read_photo
    from dimrt.photo.write import encode_photo

    editor = Editor.load(device="cpu", threads=1, verify="layout")
    source = read_photo(photo)
    return encode_photo("PNG", editor.edit(source, WORDS).image, source)[0]


@pytest.mark.parametrize("phase", ["vision", "plan", "condition", "encode", "paint", "decode", "composite"])
def test_after_a_cancel_in_any_phase_the_workers_next_bytes_are_an_undisturbed_runs(
    nano: Client, photo: bytes, undisturbed: bytes, phase: str
) -> None:
    seen: list[str] = []

    def stop(event: dict[str, Any]) -> None:
        if event["type"] == "phase_started":
            seen.append(event["phase"])
            if event["phase"] == phase:
                flag.set()

    flag = threading.Event()
    first = nano.submit(photo, "make it brighter", on_event=stop)
    then = nano.submit(photo, WORDS)
    assert flag.wait(SOON)
    first.cancel()
    outcome: Callable[[], object] = first.result
    try:
        outcome()
    except Cancelled:
        assert phase in seen
    assert then.result(SOON).image == undisturbed


def test_previews_come_as_small_pictures(nano: Client, photo: bytes) -> None:
    events: list[dict[str, Any]] = []
    nano.edit(photo, WORDS, options={"previews": True}, on_event=events.append)
    previews = [event for event in events if event["type"] == "preview"]
    assert previews
    assert all(event["image"].startswith("data:image/jpeg;base64,") for event in previews)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_named_pipes_carry_the_same(tmp_path: Path) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    os.mkfifo(there)
    os.mkfifo(back)
    with subprocess.Popen([*NANO, "--from-pipe", str(there), "--to-pipe", str(back)]) as worker:
        with there.open("wb") as sink, back.open("rb") as source:
            client_module.write_message(sink, pack_message({"type": "ping", "id": 1}))
            kinds = []
            while "pong" not in kinds:
                message = client_module.read_message(source)
                assert message is not None
                kinds.append(message.header["type"])
        assert worker.wait(SOON) == 0
    assert kinds[0] == "hello"


def test_a_program_that_reads_nothing_more_and_closes_its_end_does_not_keep_the_worker() -> None:
    """The pictures that nobody takes are larger than a pipe holds."""
    picture = png(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8))
    with subprocess.Popen(STANDIN, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        for number in range(3):
            request = {"type": "edit", "id": number, "instructions": ["invert"]}
            client_module.write_message(worker.stdin, pack_message(request, {"photo": picture}))
        kind = ""
        while kind != "result":
            message = client_module.read_message(worker.stdout)
            assert message is not None
            kind = message.header["type"]
        worker.stdin.close()
        assert worker.wait(SOON) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from-pipe", "a"], "belong together"),
        (["--from-pipe", "no/such", "--to-pipe", "a"], "the pipe can't be opened"),
    ],
)
def test_a_command_line_that_can_not_work(arguments: list[str], words: str) -> None:
    done = subprocess.run([*NANO, *arguments], input=b"", capture_output=True, timeout=SOON)
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr.decode()


def test_a_bundle_that_is_not_there() -> None:
    with Client([*NANO, "--bundle", "no/such"]) as client, pytest.raises(WorkerError, match="no/such") as refused:
        client.edit(png(), "invert")
    assert refused.value.kind == "BundleError"
