"""How the driver and a side talk: one JSON object a line, over the side's standard input and output.

    {"ask": "load", "task": {...}}  ->  {"answer": facts}       convert what must be converted, load, warm nothing up
    {"ask": "run"}                  ->  {"answer": result}      once: seconds by name, and what came out
    {"ask": "keep", "path": "…"}    ->  {"answer": null}        write the last run's tensor there (.npy)
    {"ask": "end"}                  ->  the side ends
    anything that goes wrong        ->  {"error": "…"}

Only the standard library is used here: a side runs in its peer's own environment.
"""

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

Json = dict[str, Any]
LONGEST_ERROR = 600


class Side(Protocol):
    """One runtime with one task loaded.

    Attributes:
        facts: versions, settings and what it does differently; goes into the record.
    """

    facts: Json

    def run(self) -> Json:
        """Once. `seconds`: name to seconds. `tokens`: what was written, or `shape` and `sum` of a tensor."""

    def keep(self, path: Path) -> None:
        """Write the last run's tensor to a .npy file; sides that write tokens have none."""


def serve(load: Callable[[Json], Side]) -> None:
    """Answer the driver until it says that's all. Whatever libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    side: Side | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["ask"] == "end":
            break
        try:
            if asked["ask"] == "load":
                side = load(asked["task"])
                answer: Any = side.facts
            else:
                assert side is not None, "nothing is loaded"
                answer = side.run() if asked["ask"] == "run" else side.keep(Path(asked["path"]))
            reply = {"answer": answer}
        except Exception as error:  # whatever a peer raises is its result
            traceback.print_exc()
            reply = {"error": explained(error)}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


def convert(command: list[str], folder: Path) -> None:
    """Run a peer's own converter, away from this folder's modules, whose names it may use for others.

    Raises:
        RuntimeError: it failed; with the last line it printed.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise RuntimeError(f"its converter failed: {said[-1]}")


def explained(error: BaseException) -> str:
    """Class and message of an error, shortened."""
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= LONGEST_ERROR else text[: LONGEST_ERROR - 1] + "…"


@contextmanager
def clocked(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Wall-clock seconds of a block."""
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
