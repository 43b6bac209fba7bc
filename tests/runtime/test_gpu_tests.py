"""The tests that want a GPU, run on the stand-in: they are written where there is none, and must not rot."""

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_the_gpu_tests_pass_on_the_stand_in() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "standin_plugin", "-p", "no:cacheprovider", "tests/gpu"]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run(
        command, cwd=HERE.parent.parent, env=environment, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 20
