"""`dimrt export --analyze`: what it refuses before the long work. The analysis itself is tested in tests/export."""

from pathlib import Path

import pytest
from cli_harness import Dimrt


@pytest.mark.parametrize("name", ["bundle", "recipe.txt"])
def test_a_recipe_goes_into_a_toml_file(dimrt: Dimrt, tmp_path: Path, name: str) -> None:
    outcome = dimrt("export", "--checkpoint", "nano", "--analyze", "-o", tmp_path / name)
    assert outcome.code == 2
    assert ".toml" in outcome.err and name in outcome.err


def test_a_recipe_that_exists_is_kept(dimrt: Dimrt, tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    out.write_text("mine")
    outcome = dimrt("export", "--checkpoint", "nano", "--analyze", "-o", out)
    assert outcome.code == 2
    assert "--force" in outcome.err
    assert out.read_text() == "mine"


@pytest.mark.parametrize("budget", ["0", "-1", "much"])
def test_a_budget_is_above_nothing(dimrt: Dimrt, tmp_path: Path, budget: str) -> None:
    outcome = dimrt("export", "--analyze", "--budget", budget, "-o", tmp_path / "mine.toml")
    assert outcome.code == 2
    assert "--budget" in outcome.err


def test_a_budget_without_an_analysis_is_a_mistake(dimrt: Dimrt, tmp_path: Path) -> None:
    outcome = dimrt("export", "--checkpoint", "nano", "--budget", "0.1", "-o", tmp_path / "bundle")
    assert outcome.code == 2
    assert "--analyze" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_that_is_not_there_is_said_so(dimrt: Dimrt, tmp_path: Path) -> None:
    outcome = dimrt("export", "--checkpoint", "nano", "--recipe", "int9", "-o", tmp_path / "bundle")
    assert outcome.code == 2
    assert "int4-cpu" in outcome.err
