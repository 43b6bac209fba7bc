"""What the tests of the command line share: an outcome, a process of its own, what is left in a folder."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Outcome:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        return dict(json.loads(self.out))


Dimrt = Callable[..., Outcome]


def start(*args: object, **settings: Any) -> "subprocess.Popen[bytes]":
    """Start one command line as a process of its own."""
    words = [str(arg) for arg in args]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "dimrt.cli", *words], env=environment, **settings)


def left_in(folder: Path) -> list[str]:
    """Names in a folder, for checks that nothing half-written stays."""
    return sorted(path.name for path in folder.iterdir())
