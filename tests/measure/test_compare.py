"""Two documents: what may be compared, and what is said of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from standin_bench import standin_document

from dimrt.cli.main import run
from dimrt.errors import InputError
from dimrt.measure.comparing import statistics
from dimrt.measure.comparing.compare import BETTER, NO_EVIDENCE, WORSE, Comparison, Finding, compare, describe, table
from dimrt.measure.comparing.quantities import amount


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "DRAWS", 1_999)
    monkeypatch.setattr(statistics, "HALVINGS", 12)


def by_name(found: Comparison) -> dict[str, Finding]:
    return {finding.name: finding for finding in found.findings}


def test_the_same_machine_twice_shows_no_evidence() -> None:
    found = compare(standin_document(1), standin_document(2))
    assert {finding.verdict for finding in found.findings} == {NO_EVIDENCE}
    assert found.warnings == ()
    assert {"edit", "second edit", "long run", "plan", "phase paint", "graph language.token"} <= set(by_name(found))


def test_a_document_with_itself() -> None:
    document = standin_document(1)
    assert all(f.ratio == 1.0 and f.verdict == NO_EVIDENCE for f in compare(document, document).findings)


def test_a_faster_machine_is_better_and_a_slower_one_worse() -> None:
    usual, fast = standin_document(1), standin_document(2, scale=0.9)
    better, worse = by_name(compare(usual, fast)), by_name(compare(fast, usual))
    for name in ("edit", "second edit", "plan", "graph step"):
        assert (better[name].verdict, worse[name].verdict) == (BETTER, WORSE), name
    assert better["edit"].ratio == pytest.approx(0.9, abs=0.01)
    low, high = better["edit"].interval
    assert low is not None and high is not None and 0.87 < low < better["edit"].ratio < high < 0.93
    assert better["plan"].higher and (better["plan"].ratio or 0) > 1  # tokens/s: more is better


def test_one_graph_that_got_slower_is_told_from_the_others() -> None:
    before, after = standin_document(1), standin_document(2)
    after["graphs"]["step"]["samples_s"] = [each * 1.2 for each in after["graphs"]["step"]["samples_s"]]
    verdicts = {name: finding.verdict for name, finding in by_name(compare(before, after)).items()}
    assert verdicts.pop("graph step") == WORSE
    assert set(verdicts.values()) == {NO_EVIDENCE}


def test_few_samples_are_told_to_be_few() -> None:
    found = by_name(compare(standin_document(1, count=4), standin_document(2, count=4, scale=0.8)))
    assert found["edit"].verdict == NO_EVIDENCE
    assert "too few" in found["edit"].why
    assert by_name(compare(standin_document(1, count=1), standin_document(2, count=1)))["edit"].why == (
        "fewer than two samples"
    )


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("settings", "steps", 30),
        ("settings", "side", 1024),
        ("settings", "plan_tokens", 100),
        ("bundle", "name", "nano"),
        ("bundle", "random", True),
    ],
)
def test_other_work_is_refused(part: str, name: str, value: Any) -> None:
    other = standin_document(2)
    other[part][name] = value
    with pytest.raises(InputError, match=f"{part} {name} is .* in the first file and {value!r} in the second"):
        compare(standin_document(1), other)


@pytest.mark.parametrize(("change", "said"), [({"format": 2}, "format 2"), ({"settings": None}, "no result")])
def test_other_documents_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        compare(standin_document(1), standin_document(2) | change)


@pytest.mark.parametrize(
    ("part", "name", "value", "said"),
    [
        ("card", "power_mode", "15W (mode 2)", "card power mode: MAXN (mode 0) before, 15W (mode 2) after"),
        ("card", "provider", None, "card provider: tensorrt 10.3 before, unknown after"),
        ("card", "clocks", {"gpu_max_mhz": 918, "cpu_max_mhz": 2201}, "gpu_max_mhz: 1300 before, 918 after"),
        ("bundle", "recipe", "int4", "bundle recipe: int8 before, int4 after"),
        ("settings", "threads", 4, "settings threads: unknown before, 4 after"),
    ],
)
def test_another_card_is_warned_of(part: str, name: str, value: Any, said: str) -> None:
    other = standin_document(2)
    other[part][name] = value
    assert said in compare(standin_document(1), other).warnings


def test_other_versions_throttling_and_plans_are_warned_of() -> None:
    other = standin_document(2)
    other["card"]["versions"]["tensorrt"] = "10.7.0"
    other["throttled"] = True
    other["decode"]["tokens"] = [100] * 40
    assert compare(standin_document(1), other).warnings == (
        "tensorrt: 10.3.0 before, 10.7.0 after",
        "the machine was slowed down by heat or power after",
        "tokens of a plan: 255 before, 100 after",
    )


def test_what_was_measured_once_is_shown_and_not_judged() -> None:
    singles = {single.name: single for single in compare(standin_document(1), standin_document(2)).singles}
    assert singles["energy of an edit"].unit == "J"
    assert singles["peak memory"].before == 7_300_000_000
    without = compare(standin_document(1), standin_document(2, power=False))
    assert "energy of an edit" not in {single.name for single in without.singles}


def test_parts_that_are_missing_are_not_compared() -> None:
    other = standin_document(2) | {"sustained": None, "decode": None, "graphs": {"step": {"error": "out of memory"}}}
    names = set(by_name(compare(standin_document(1), other)))
    assert "edit" in names
    assert not {"long run", "plan", "graph step", "graph vision"} & names


def test_the_table_fits_a_terminal_and_the_description_is_json() -> None:
    other = standin_document(2, scale=0.9)
    other["card"]["power_mode"] = "30W"
    found = compare(standin_document(1), other)
    lines = table(found)
    assert lines[0].startswith("! card power mode")
    assert any(line.startswith("+ edit ") and line.endswith("better") for line in lines)
    assert all(len(line) <= 80 for line in lines)
    assert json.loads(json.dumps(describe(found)))["findings"][0]["verdict"] == BETTER


def test_the_command_writes_a_report(tmp_path: Path) -> None:
    one, other, page = (tmp_path / name for name in ("one.json", "other.json", "page.html"))
    one.write_text(json.dumps(standin_document(1)), encoding="utf-8")
    other.write_text(json.dumps(standin_document(2)), encoding="utf-8")
    assert run(["bench", "compare", str(one), str(other), "--html", str(page)]) == 0
    assert "Two measurements compared" in page.read_text(encoding="utf-8")
    assert run(["bench", "compare", str(one), str(other), "--html", str(tmp_path / "no" / "page.html")]) == 2


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.012345, "s", "12.3 ms"),
        (123.4, "s", "123 s"),
        (4321.0, "s", "4,321 s"),
        (0.9999, "s", "1.00 s"),
        (2.5e-8, "s", "0.0250 µs"),
        (25e9, "bytes", "25.0 GB"),
        (176e9, "bytes/s", "176 GB/s"),
        (68e12, "ops/s", "68.0 Top/s"),
        (82.25, "tokens/s", "82.2 tok/s"),
        (0.0, "s", "0 s"),
        (None, "s", "-"),
    ],
)
def test_amounts(value: float | None, unit: str, said: str) -> None:
    assert amount(value, unit) == said
