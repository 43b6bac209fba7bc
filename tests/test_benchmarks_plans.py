"""The two measurements of plans, with a stand-in painter whose outcomes are known."""

import json
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import charts
import paper_claim
import plan_economy
import pytest
import reading

from dimrt.export.nano.shares import difference_of
from dimrt.export.nano.trials import Answer

STYLES = ("full", "brief")


def thinks(case, condition):
    """Succeeds with any right plan; without one only where the words are direct. Tokens are the plan's words."""
    plan = "" if condition.planner == "none" else case.plan.text(condition.style)
    says_it = any(item.name.split(maxsplit=1)[1] in case.instruction for item in case.before.items)
    image = case.target if plan or says_it else case.source
    seconds = {"plan": 0.01 * len(plan.split()) if condition.planner == "designer" else 0.0, "paint": 0.2}
    return Answer(image, plan, len(plan.split()), seconds)


def deaf(case, condition):
    """Never succeeds."""
    return Answer(case.source, "", 0, {"paint": 0.2})


@pytest.fixture(scope="module")
def claimed():
    return paper_claim.measure(thinks, 3, 10, "brief", None)


def test_a_plan_that_helps_is_read_as_such(claimed):
    _, recorded = claimed
    gain = recorded["points"]["reasoning"]["designer-none"]
    assert gain["n"] == 70 and gain["only_second"] == 0 and gain["low"] > 20
    assert recorded["points"]["reasoning"]["designer-oracle"]["difference"] == 0
    text = recorded["reading"]
    helped = "On reasoning edits, the designer's plan against no plan: +"
    assert any(line.startswith(helped) and line.endswith("evidence of a gain.") for line in text)
    assert any("the designer's plan against the oracle's plan: +0.0" in line and "no evidence" in line for line in text)
    assert any("100.0 %" in line and "word for word" in line for line in text)
    success = {way: part["all"]["success"][0] for way, part in recorded["percent"]["reasoning"].items()}
    assert list(success) == ["none", "designer", "oracle"] and success["none"] < success["designer"] == 100
    json.dumps(recorded)


def test_the_claims_table_has_every_kind(claimed):
    report, _ = claimed
    shown = paper_claim.table(report, paper_claim.conditions("brief", None))
    for name in (
        "direct",
        "reasoning",
        "superlative",
        "relation",
        "ordinal",
        "odd",
        "ambiguous",
        "neighbour",
        "action",
    ):
        assert name in shown


def test_nothing_is_claimed_of_a_painter_that_cannot_paint():
    _, recorded = paper_claim.measure(deaf, 3, 1, "full", 2)
    shown = [line for line in recorded["reading"] if "points" in line]
    assert len(shown) == 8 and all("no evidence" in line for line in shown)


def test_a_plan_that_harms_is_read_as_such():
    found = difference_of([False] * 30, [True] * 30)
    assert reading.verdict(found) == "evidence of a loss"
    assert reading.points(found).startswith("-100.0 points (95 %: -100.0 to -")


@pytest.fixture(scope="module")
def economy():
    return plan_economy.measure(thinks, STYLES, 3, 2, None)


def test_the_curve_has_every_style_with_its_tokens_and_time(economy):
    rows = plan_economy.curve(economy, "reasoning")
    assert [(row["planner"], row["style"]) for row in rows] == [
        ("none", None),
        ("designer", "full"),
        ("designer", "brief"),
        ("oracle", "full"),
        ("oracle", "short"),
        ("oracle", "brief"),
    ]
    none, full, brief, *_ = rows
    assert none["tokens"] == 0 < brief["tokens"] < full["tokens"]
    assert 0 == none["plan_share_of_time"] < brief["plan_share_of_time"] < full["plan_share_of_time"] < 1
    assert brief["plan_edit"][0] == 100 and "plan_layout" in full and "plan_layout" not in brief
    assert "plan_right" not in none


def test_a_style_as_good_as_the_full_one_is_no_evidence_of_a_difference(economy):
    lines = plan_economy.read(economy)
    assert len(lines) == 2 * (1 + 2)
    assert all("+0.0 points" in line and "no evidence" in line for line in lines)
    assert all("of the edit's time" in line for line in lines if "designer" in line)


def test_the_chart_is_svg_with_every_point(economy):
    root = ElementTree.fromstring(plan_economy.chart(economy))
    circles = [node for node in root.iter() if node.tag.endswith("circle")]
    assert len(circles) == 2 * ((1 + 2) + (1 + 3))
    words = {node.text for node in root.iter() if node.tag.endswith("text")}
    assert {"usual edits", "reasoning edits", "none", "brief", "full", "short", "true plan", "100%"} <= words


def test_a_chart_keeps_points_in_its_frame():
    points = [charts.Point(0, 0.0, 0.0, 0.3, "<none>"), charts.Point(80, 1.0, 0.7, 1.0, "full")]
    root = ElementTree.fromstring(charts.svg([charts.Panel("a & b", {"line": points})], "x", "y"))
    for node in root.iter():
        if node.tag.endswith("circle"):
            assert charts.LEFT <= float(node.get("cx")) <= charts.WIDTH - charts.RIGHT
            assert charts.TOP <= float(node.get("cy")) <= charts.HEIGHT - charts.BOTTOM


@pytest.mark.parametrize("module", [paper_claim, plan_economy])
def test_the_command_records_what_it_prints(module, tmp_path: Path, monkeypatch, capsys):
    prompt = SimpleNamespace(requests=dict.fromkeys(STYLES, "{instruction}"))
    manifest = SimpleNamespace(name="stand-in", designer=SimpleNamespace(prompt=prompt))
    editor = SimpleNamespace(bundle=SimpleNamespace(manifest=manifest, digest="0" * 64))
    monkeypatch.setattr(module, "Editor", SimpleNamespace(load=lambda path, threads: editor))
    monkeypatch.setattr(module, "edit_with", lambda given: thinks)
    out = tmp_path / "result.json"
    given = ["--cases", "1", "--out", str(out)]
    module.main(given + (["--chart", str(tmp_path / "chart.svg")] if module is plan_economy else []))
    document = json.loads(out.read_text())
    assert document["settings"]["bundle"] == "stand-in" and document["settings"]["cases"] == 1
    shown = capsys.readouterr().out
    assert all(line in shown for line in document["measured"]["reading"])
