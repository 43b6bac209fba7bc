"""`--plan-style`: the names are the bundle's own, and what was written is said in `--json` and `dimrt info`."""

import json
import shutil
from pathlib import Path

import pytest
from cli_harness import Dimrt, left_in

from dimrt.bundle import NANO

FAST = ("--max-plan-tokens", 6)
BRIEF = "Brief plan: {instruction}"


@pytest.fixture(scope="module")
def styled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundle with a brief style in its manifest."""
    return _with_styles(tmp_path_factory.mktemp("bundles") / "styled", [{"name": "brief", "request": BRIEF}])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundle as if it knew no other style than the full plan."""
    return _with_styles(tmp_path_factory.mktemp("bundles") / "plain", [])


def _with_styles(copy: Path, styles: list[dict[str, str]]) -> Path:
    shutil.copytree(NANO, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["designer"]["prompt"]["styles"] = styles
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def test_a_plan_of_a_style_says_which(dimrt: Dimrt, photo: Path, tmp_path: Path, styled: Path) -> None:
    given = ("--bundle", styled, *FAST, "--json")
    brief, full = (dimrt("plan", photo, "warmer", *style, *given).document for style in (("--plan-style", "brief"), ()))
    assert (brief["plan"]["style"], full["plan"]["style"]) == ("brief", "full")
    out = tmp_path / "edited.png"
    edited = dimrt("edit", photo, "warmer", "-o", out, "--plan-style", "brief", "--steps", 1, *given)
    assert edited.code == 0 and edited.document["plan"]["style"] == "brief"
    assert edited.document["plan"]["text"] == brief["plan"]["text"]


def test_a_missing_section_is_no_fault(dimrt: Dimrt, photo: Path, styled: Path) -> None:
    """Six tokens hold no whole section: nothing on stderr but what runs."""
    outcome = dimrt("plan", photo, "warmer", "--plan-style", "brief", "--bundle", styled, *FAST)
    assert outcome.code == 0
    assert [line.split()[0] for line in outcome.err.splitlines()] == ["bundle", "provider"]


def test_an_unknown_style_is_told_the_bundles_own(
    dimrt: Dimrt, photo: Path, tmp_path: Path, styled: Path, plain: Path
) -> None:
    out = tmp_path / "edited.png"
    for bundle, known in ((styled, "full, brief"), (plain, "full")):
        outcome = dimrt("edit", photo, "warmer", "-o", out, "--plan-style", "terse", "--bundle", bundle)
        assert outcome.code == 2 and outcome.out == ""
        assert "'terse'" in outcome.err and outcome.err.rstrip().endswith(f"its own: {known}")
    assert "edited.png" not in left_in(tmp_path)


@pytest.mark.parametrize("source", [("--no-plan",), ("--plan", "plan.txt")])
def test_a_style_without_a_designer_is_refused(dimrt: Dimrt, photo: Path, tmp_path: Path, source: tuple[str]) -> None:
    outcome = dimrt("edit", photo, "warmer", "-o", tmp_path / "out.png", "--plan-style", "full", *source)
    assert outcome.code == 2 and "--plan-style" in outcome.err
    assert left_in(tmp_path) == []


def test_a_given_plan_has_no_style(dimrt: Dimrt, photo: Path, tmp_path: Path, styled: Path) -> None:
    (tmp_path / "plan.txt").write_text("Paint it red", encoding="utf-8")
    given = ("--bundle", styled, "--plan", tmp_path / "plan.txt", "--steps", 1, "--json")
    assert dimrt("edit", photo, "warmer", "-o", tmp_path / "out.png", *given).document["plan"]["style"] is None


def test_info_names_the_styles(dimrt: Dimrt, styled: Path, plain: Path) -> None:
    assert dimrt("info", styled, "--json").document["plan_styles"] == ["full", "brief"]
    assert dimrt("info", plain, "--json").document["plan_styles"] == ["full"]
    assert "plan styles full, brief" in dimrt("info", styled).out
