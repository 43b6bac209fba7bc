"""The command line as a test calls it: arguments in, exit code and both streams out."""

from pathlib import Path

import pytest
from cli_harness import ROOT, Dimrt, Outcome

from dimrt.cli.main import run


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests chooses a bundle."""
    monkeypatch.delenv("DIMRT_BUNDLE", raising=False)
    for variable in ("XDG_CONFIG_HOME", "APPDATA", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path))


@pytest.fixture
def dimrt(capsys: pytest.CaptureFixture[str]) -> Dimrt:
    """Run one command line in this process."""

    def call(*args: object) -> Outcome:
        capsys.readouterr()
        code = run([str(arg) for arg in args])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def photo() -> Path:
    """A real photo, 451 x 300."""
    return ROOT / "benchmarks" / "photos" / "chelsea.jpg"
