"""`dimrt info`, `verify`, `doctor` and `generate` on real (tiny, random) bundles."""

import json
from pathlib import Path

import pytest
from cli_harness import Dimrt
from PIL import Image

from dimrt.manifest import GRAPHS


def test_info_states_the_manifest(dimrt: Dimrt, tiny_edit_bundle: Path) -> None:
    manifest = json.loads((tiny_edit_bundle / "manifest.json").read_text())
    outcome = dimrt("info", tiny_edit_bundle)
    assert outcome.code == 0
    for said in (manifest["name"], manifest["licence"], "edit", "fp32", "30 steps", str(tiny_edit_bundle)):
        assert said in outcome.out
    for graph in GRAPHS:
        assert f"\n{graph} " in outcome.out
    facts = dimrt("info", tiny_edit_bundle, "--json").document
    assert facts["name"] == manifest["name"]
    assert facts["bytes"] == sum(record["size"] for record in manifest["files"].values())
    assert set(facts["graphs"]) == set(GRAPHS)
    assert all(graph["relative"] <= graph["limit"] for graph in facts["graphs"].values())


def test_info_without_a_name_follows_the_settings(
    dimrt: Dimrt, tiny_edit_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIMRT_BUNDLE", str(tiny_edit_bundle))
    facts = dimrt("info", "--json").document
    assert (facts["source"], facts["path"]) == ("DIMRT_BUNDLE", str(tiny_edit_bundle))


def test_verify_says_intact(dimrt: Dimrt, tiny_edit_bundle: Path) -> None:
    outcome = dimrt("verify", tiny_edit_bundle)
    assert outcome.code == 0
    assert "intact" in outcome.out
    document = dimrt("verify", tiny_edit_bundle, "--json").document
    assert document["intact"] is True
    assert document["digest"] in outcome.out


def test_doctor_finds_a_working_machine(dimrt: Dimrt, tiny_edit_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMRT_BUNDLE", str(tiny_edit_bundle))
    outcome = dimrt("doctor")
    assert outcome.code == 0, outcome.out
    for said in ("python", "onnxruntime", "CPUExecutionProvider", "tiny-edit", "memory", "GB free", "ready"):
        assert said in outcome.out
    document = dimrt("doctor", "--json").document
    assert document["healthy"] is True
    assert {check["name"] for check in document["checks"]} >= {"python", "packages", "runtime", "bundle", "disk"}


@pytest.mark.parametrize("how", [(), ("--json",)], ids=["text", "json"])
def test_doctor_names_what_is_broken(dimrt: Dimrt, monkeypatch: pytest.MonkeyPatch, how: tuple[str, ...]) -> None:
    monkeypatch.setenv("DIMRT_BUNDLE", "gone")
    outcome = dimrt("doctor", *how)
    assert outcome.code == 1
    if how:
        (broken,) = [check for check in outcome.document["checks"] if check["state"] == "broken"]
        assert broken["name"] == "bundle" and "gone" in broken["detail"] and broken["next_step"]
    else:
        assert "needs attention: bundle" in outcome.err
        assert "next: " in outcome.out


def test_generate_paints_from_a_prompt(dimrt: Dimrt, tmp_path: Path, tiny_generate_bundle: Path) -> None:
    out = tmp_path / "cube.png"
    outcome = dimrt("generate", "red", "-o", out, "--bundle", tiny_generate_bundle, "--steps", 2, "--json")
    assert outcome.code == 0, outcome.out
    with Image.open(out) as picture:
        assert picture.size == (outcome.document["width"], outcome.document["height"]) == (128, 128)
    assert outcome.document["plan"] is None
    assert outcome.document["steps"] == 2
