"""Sides in processes of their own, asked in turn, so that whatever else the machine does hits all of them.

A side that can't start, can't load, raises, dies or takes too long is out, with its reason; the others go on.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peers.protocol import Json

BENCHMARKS = Path(__file__).parent.parent
GRACE_S = 5.0
"""For a side that is told to end."""
LAST_LINES = 3
"""How many of the lines that a side printed before it died are quoted."""


class SideFailed(Exception):
    """A side is out; the message says why."""


@dataclass(frozen=True)
class Start:
    """How a side is started: an interpreter, and a module under `benchmarks/`."""

    python: str
    module: str
    environment: Mapping[str, str] = field(default_factory=dict)


class Worker:
    """One side's process.

    Args:
        name: of the side.
        start: how to start it.
        log: file for what it prints.
    """

    def __init__(self, name: str, start: Start, log: Path) -> None:
        self.name, self._log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS), "PYTHONUNBUFFERED": "1", **start.environment}
        try:
            self._process = subprocess.Popen(
                [start.python, "-m", start.module],
                cwd=BENCHMARKS,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log.open("w", encoding="utf-8"),
                text=True,
                encoding="utf-8",
            )
        except OSError as error:
            raise SideFailed(f"can't be started ({error}); install it with benchmarks/peers/install.py") from error
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, seconds: float, **question: Any) -> Any:
        """Ask and wait at most `seconds`.

        Raises:
            SideFailed: an error, no answer in time, or the process is gone. It is ended in the last two cases.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            self._process.kill()
            raise SideFailed(f"no answer to {question['ask']!r} within {seconds:g} s; ended") from None
        except OSError:
            line = ""
        if not line:
            code = self._process.wait()
            raise SideFailed(f"its process ended with code {code}: {self._last_words()}")
        reply = json.loads(line)
        if "error" in reply:
            raise SideFailed(reply["error"])
        return reply["answer"]

    def end(self) -> None:
        """Tell the process to end, and see that it does."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write('{"ask": "end"}\n')
            self._process.stdin.close()
            self._process.wait(GRACE_S)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " | ".join(lines[-LAST_LINES:]) or "it said nothing"


@dataclass
class Turns:
    """What the sides did.

    Attributes:
        facts: of each side that loaded.
        runs: of each side, one result a round; a side that failed on the way has fewer.
        failed: why a side is out.
        kept: the tensor files of sides that have one.
    """

    facts: dict[str, Json] = field(default_factory=dict)
    runs: dict[str, list[Json]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    kept: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Pace:
    """How turns are taken.

    Attributes:
        rounds: counted ones.
        warm_up: runs of each side before.
        settle_s: pause between two sides, in which the threads of the one before go to sleep.
        load_s, run_s: most seconds of a load (conversion included) and of a run.
    """

    rounds: int = 5
    warm_up: int = 2
    settle_s: float = 0.3
    load_s: float = 900.0
    run_s: float = 900.0


def take_turns(starts: Mapping[str, Start], tasks: Mapping[str, Json], pace: Pace, folder: Path) -> Turns:
    """Load every side, then let them run in turn; round n begins with the n-th side.

    Args:
        starts, tasks: by the name of a side.
        folder: for logs and tensors.
    """
    turns = Turns()
    workers: dict[str, Worker] = {}
    try:
        for name, start in starts.items():
            with _out(turns, name):
                workers[name] = Worker(name, start, folder / f"{name}.log")
                turns.facts[name] = workers[name].ask(pace.load_s, ask="load", task=tasks[name])
                for _ in range(pace.warm_up):
                    workers[name].ask(pace.run_s, ask="run")
        for number in range(pace.rounds):
            for name in _rotated([n for n in workers if n not in turns.failed], number):
                time.sleep(pace.settle_s)
                with _out(turns, name):
                    turns.runs.setdefault(name, []).append(workers[name].ask(pace.run_s, ask="run"))
        for name, runs in turns.runs.items():
            if name not in turns.failed and "shape" in runs[-1]:
                with _out(turns, name):
                    path = folder / f"{name}.npy"
                    workers[name].ask(pace.run_s, ask="keep", path=str(path))
                    turns.kept[name] = path
    finally:
        for worker in workers.values():
            worker.end()
    return turns


@contextmanager
def _out(turns: Turns, name: str) -> Iterator[None]:
    """A side that fails inside is out, and said to be."""
    try:
        yield
    except SideFailed as error:
        turns.failed[name] = str(error)
        print(f"{name} is out: {error}", file=sys.stderr)


def _rotated(names: Sequence[str], by: int) -> list[str]:
    first = by % len(names) if names else 0
    return [*names[first:], *names[:first]]
