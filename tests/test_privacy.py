"""Nothing is sent and nothing is left in the home folder by running dimrt."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run_at_home(home: Path, code: str) -> list[str]:
    """Run Python with its own home folder and no switch of the caller's; what is in the folder afterwards."""
    hushed = {"ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in hushed}
    environment |= {"HOME": str(home), "USERPROFILE": str(home), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


def test_onnx_runtime_reports_nothing_and_stores_no_device_id(tmp_path: Path) -> None:
    code = "from dimrt.backends.onnxruntime import best_device; best_device()"
    assert run_at_home(tmp_path, code) == []


def test_the_callers_own_choice_is_kept(tmp_path: Path) -> None:
    switch = "os.environ['ORT_DISABLE_TELEMETRY']"
    code = f"import os; {switch} = '0'; import dimrt; assert {switch} == '0'"
    assert run_at_home(tmp_path, code) == []
