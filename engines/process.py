"""Running one building process: its answers as they come, cancelling, and a message for every way it can end."""

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from subprocess import PIPE
from typing import IO

import msgspec

from dimrt.engines.job import Answer, Built, Job, Refused, Step
from dimrt.errors import BundleError, Cancelled, ResourceError
from dimrt.host import available_memory

COMMAND = (sys.executable, "-m", "dimrt.engines.worker")
POLL = 0.2
"""Seconds between two looks at the cancel flag and at the machine's memory."""
RESERVE = 256 << 20
"""Bytes of memory that a build leaves to the machine: below, it is stopped before the system stops others."""
LAST_WORDS = 2000
"""Characters kept of what a process that died said on stderr."""


def run(
    job: Job,
    graph: str,
    on_step: Callable[[Step], None],
    cancel: threading.Event | None = None,
    command: tuple[str, ...] | None = None,
) -> Built:
    """Build in a process of its own.

    Raises:
        Cancelled: `cancel` was set; the process is gone.
        BundleError, ResourceError: what stopped it.
    """
    with subprocess.Popen(command or COMMAND, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdin and process.stdout and process.stderr
        lines: queue.Queue[bytes | None] = queue.Queue()
        words: list[bytes] = []
        readers = (
            threading.Thread(target=_lines, args=(process.stdout, lines), daemon=True),
            threading.Thread(target=words.extend, args=(process.stderr,), daemon=True),
        )
        for reader in readers:
            reader.start()
        try:
            _tell(process.stdin, job)
            answer = _follow(lines, graph, on_step, cancel)
        except BaseException:
            process.kill()
            raise
        process.wait()
        for reader in readers:
            reader.join()
    if isinstance(answer, Built):
        return answer
    if isinstance(answer, Refused):
        kind = BundleError if answer.kind == "BundleError" else ResourceError
        raise kind(f"graph `{graph}`: {answer.message}")
    raise ResourceError(f"graph `{graph}`: {_how_it_died(process.returncode, b''.join(words))}")


def _tell(pipe: IO[bytes], job: Job) -> None:
    """Hand over the job. The pipe stays open: a worker whose stdin ends has lost its parent, and leaves."""
    try:
        pipe.write(msgspec.json.encode(job) + b"\n")
        pipe.flush()
    except BrokenPipeError:  # a worker that died at once can't be told anything; its exit status says more
        with suppress(BrokenPipeError):
            pipe.close()


def _follow(
    lines: "queue.Queue[bytes | None]", graph: str, on_step: Callable[[Step], None], cancel: threading.Event | None
) -> Answer | None:
    """The last answer; None when the process ended without one."""
    looked = time.monotonic()
    while True:
        if cancel is not None and cancel.is_set():
            raise Cancelled
        if time.monotonic() - looked > POLL:
            looked = time.monotonic()
            _check_memory(graph)
        try:
            line = lines.get(timeout=POLL)
        except queue.Empty:
            continue
        if line is None:
            return None
        answer: Answer = msgspec.json.decode(line, type=Answer)
        if not isinstance(answer, Step):
            return answer
        on_step(answer)


def _check_memory(graph: str) -> None:
    left = available_memory()
    if left is not None and left < RESERVE:
        raise ResourceError(
            f"graph `{graph}`: stopped, the machine has only {left / 1e6:.0f} MB of memory left; "
            "close other programs, or build on a larger machine and copy the engine cache"
        )


def _lines(pipe: IO[bytes], lines: "queue.Queue[bytes | None]") -> None:
    """Hand over each line, and None at the end."""
    for line in pipe:
        lines.put(line)
    lines.put(None)


def _how_it_died(status: int, words: bytes) -> str:
    """A sentence on a process that ended without an answer."""
    said = " ".join(words.decode(errors="replace")[-LAST_WORDS:].split())
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    advice = "too little memory? Close other programs" if status == -9 else "please report this with the words above"
    return f"the building process {how}" + (f" after saying: {said}" if said else "") + f" ({advice})"
