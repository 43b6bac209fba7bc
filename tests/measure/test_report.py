"""Reports: complete, self-contained, well formed, and honest about what a document doesn't hold."""

import copy
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from standin_bench import standin_document

from dimrt.errors import InputError
from dimrt.measure.comparing import statistics
from dimrt.measure.comparing.compare import compare
from dimrt.measure.pages.compared import render_comparison, write_comparison
from dimrt.measure.pages.phase_power import by_phase, phases_of
from dimrt.measure.pages.report import render, write_report
from dimrt.measure.pages.style import STYLE
from dimrt.measure.pages.svg import Axis, ticks

VOID = {"meta", "br", "hr", "link", "img", "input"}
EVIL = "<script>alert('1')</script> & \"2\""


class Elements(HTMLParser):
    """The elements of a page, checked to be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture(scope="module")
def comparison() -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "DRAWS", 1_999)
        before, after = standin_document(1), standin_document(2, scale=0.9)
        after["card"]["power_mode"] = "30W"
        return render_comparison(before, after, compare(before, after))


@pytest.fixture(scope="module")
def report() -> str:
    return render(standin_document(1))


@pytest.fixture(params=["report", "comparison"])
def html(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def pictures(html: str) -> Iterator[ElementTree.Element]:
    for text in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        yield ElementTree.fromstring(text)


def test_nothing_is_loaded_and_nothing_runs(html: str) -> None:
    for tag, attributes in Elements(html).found:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
        assert not {"src", "href", "srcset", "action"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?:", html)


def test_pictures_are_well_formed_and_have_words(html: str) -> None:
    drawn = list(pictures(html))
    assert drawn
    for picture in drawn:
        names = {element.get("id"): element.text for element in picture if element.tag in ("title", "desc")}
        referred = (picture.get("aria-labelledby") or "").split()
        assert picture.get("role") == "img" and len(referred) == 2
        assert all(names[name] for name in referred)
    assert {picture.get("class") for picture in drawn} == {"wide", "narrow"}


def test_names_are_unique(html: str) -> None:
    names = [attributes["id"] for _, attributes in Elements(html).found if "id" in attributes]
    assert len(names) == len(set(names))


def test_nothing_is_drawn_outside_a_picture(html: str) -> None:
    for picture in pictures(html):
        _, _, width, height = (float(each) for each in (picture.get("viewBox") or "").split())
        for element in picture.iter():
            if element.tag == "path":
                xs = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", element.get("d") or "")
                assert all(-1 <= float(x) <= width + 1 and -1 <= float(y) <= height + 1 for x, y in xs)
            if element.tag in ("rect", "text"):
                assert -1 <= float(element.get("x") or 0) <= width + 1
                assert -1 <= float(element.get("y") or 0) <= height + 1


def test_every_part_is_there(report: str) -> None:
    text = Elements(report).text
    for words in (
        "Stand-in Jetson AGX Orin Developer Kit",
        "MAXN (mode 0)",
        "tensorrt 10.3",
        "176 GB/s",
        "410 GB/s",
        "not measured: this GPU has no fp8",
        "83 %",
        "tegrastats VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0",
        "energy of an edit above idle",
        "Edit 21 of the run",
        "the last third is +5.0 %",
        "make it warmer, add a vignette",
        "graph language.token: 100 in s",
    ):
        assert words in text, words


def test_every_sample_is_there(report: str) -> None:
    listed = re.search(r"<summary>edit: 40 in s</summary><pre>([^<]*)", report)
    assert listed is not None
    assert [float(each) for each in listed[1].split()] == pytest.approx(
        standin_document(1)["edit"]["samples_s"], rel=1e-4
    )


def test_idle_power_is_said_and_not_subtracted(report: str) -> None:
    power = standin_document(1)["power"]
    text = Elements(report).text
    above = (power["mean_watts"] - power["idle_watts"]) * power["seconds"] / power["edits"]
    assert f"{power['joules_per_edit']:.3g} J" in text
    assert f"{above:.3g} J" in text
    assert "9.40 W" in text


def test_energy_of_phases_adds_up() -> None:
    document = standin_document(1)
    found = by_phase(document)
    assert set(found) == set(document["sustained"]["phases"])
    assert sum(joules for joules, _ in found.values()) == pytest.approx(document["power"]["joules_per_edit"], rel=0.01)
    assert found["plan"][1] == pytest.approx(31, abs=1) and found["paint"][1] == pytest.approx(46, abs=2)


def test_phases_that_overlap_are_not_laid_end_to_end() -> None:
    document = standin_document(1)
    document["sustained"]["phases"]["encode"] = [1.0] * 40
    assert phases_of(document, 20) == []
    assert "Edit 21 of the run" not in Elements(render(document)).text


def test_a_long_run_stays_a_small_file() -> None:
    document = standin_document(1, count=600)
    assert len(document["power"]["watts"]) > 30_000
    assert len(render(document).encode()) < 400_000


@pytest.mark.parametrize("part", ["card", "bundle", "settings", "graphs", "phases", "power_why", "error"])
def test_everything_is_escaped(part: str) -> None:
    document = standin_document(1, power=False)
    if part in ("card", "bundle", "settings"):
        for name, value in document[part].items():
            if isinstance(value, str):
                document[part][name] = EVIL
    elif part == "graphs":
        document["graphs"][EVIL] = document["graphs"].pop("step")
    elif part == "phases":
        document["edit"]["phases"][EVIL] = document["edit"]["phases"].pop("paint")
    elif part == "error":
        document["graphs"]["step"] = {"graph": "step", "axes": {}, "error": EVIL}
    else:
        document[part] = EVIL
    html = render(document)
    assert "<script" not in html
    assert EVIL in " ".join(Elements(html).text.split())
    list(pictures(html))


@pytest.mark.parametrize(
    "change",
    [
        {"power": None, "power_why": "no meter"},
        {"sustained": None},
        {"decode": None},
        {"cold": []},
        {"cold": [{"error": "out of memory"}]},
        {"graphs": {}},
        {"throttled": True},
        {"memory": {"peak_rss_bytes": None, "device_bytes": None}},
        {"ceilings": {"bandwidth": None, "copy": None, "matmul": {}, "missing": {"bandwidth": "no prober"}}},
    ],
    ids=lambda change: "-".join(change),
)
def test_what_is_missing_is_left_out(change: dict[str, Any]) -> None:
    Elements(render(standin_document(1) | change))


def test_a_single_edit() -> None:
    document = standin_document(1, count=1)
    document["settings"]["quick"] = True
    text = Elements(render(document)).text
    assert "Only 1 edits were timed" in text and "the short form" in text


def test_a_graph_over_its_ceiling_and_one_without() -> None:
    document = standin_document(1)
    document["graphs"]["encoder"]["share"] = 1.4
    document["graphs"]["step"] |= {"share": None, "bound": None, "why": "export it again"}
    text = Elements(render(document)).text
    assert "140 %" in text and "export it again" in text and "More than 100 %" in text
    assert "More than 100 %" not in Elements(render(standin_document(1))).text


def test_equal_samples_and_outliers_are_drawn() -> None:
    document = standin_document(1)
    document["edit"]["samples_s"] = [2.0] * 40
    document["graphs"]["step"]["samples_s"][5] *= 50
    document["power"]["watts"] = [[0.0, 0.0], [1.0, 0.0]]
    assert "+1" in Elements(render(document)).text


def test_rendering_changes_nothing_and_repeats_itself() -> None:
    document = standin_document(1)
    before = copy.deepcopy(document)
    assert render(document) == render(document)
    assert document == before


def test_the_comparison_says_what_was_found(comparison: str) -> None:
    text = Elements(comparison).text
    for words in (
        "card power mode: MAXN (mode 0) before, 30W after",
        "an edit: 5.23 s before",
        "% better",
        "energy of an edit",
        "differences beyond 2 % of the value",
    ):
        assert words in text, words


def test_a_comparison_without_enough_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "DRAWS", 499)
    before, after = standin_document(1, count=1, power=False), standin_document(2, count=3)
    text = Elements(render_comparison(before, after, compare(before, after))).text
    assert "fewer than two samples" in text


def test_files_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "DRAWS", 499)
    before, after = standin_document(1), standin_document(2)
    write_report(before, tmp_path / "one.html")
    write_comparison(before, after, compare(before, after), tmp_path / "two.html")
    assert (tmp_path / "one.html").read_text(encoding="utf-8") == render(before)
    assert "Two measurements compared" in (tmp_path / "two.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="doesn't exist"):
        write_report(before, tmp_path / "no" / "one.html")


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_from_the_paper(scheme: int) -> None:
    """WCAG 2: text 4.5 to 1, lines and bars 3 to 1."""
    colours = dict(re.findall(r"--(\w+):(#\w+)", STYLE.split("color-scheme:light dark")[1].split("@media")[scheme]))
    for name in ("ink", "soft", "good", "bad"):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
    for name in ("one", "two"):
        assert contrast(colours[name], colours["paper"]) >= 3, name


def contrast(one: str, other: str) -> float:
    lights = sorted(luminance(each) for each in (one, other))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * each for each in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_in_chromium(report: str, comparison: str, tmp_path: Path) -> None:
    """Nothing is wider than the window, nothing else is asked for, and of each chart one form is seen."""
    pytest.importorskip("playwright", reason="the report is looked at through playwright")
    from page_harness import chromium

    with chromium() as browser:
        page = browser.new_page()
        asked: list[str] = []
        said: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        for name, html in (("report", report), ("comparison", comparison)):
            path = tmp_path / f"{name}.html"
            path.write_text(html, encoding="utf-8")
            page.goto(path.as_uri())
            for width in (360, 800, 1280):
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth") == width
                drawn = "[...document.querySelectorAll('svg')].map(e => e.getBoundingClientRect().width > 0)"
                shown = page.evaluate(drawn)
                assert shown == [width > 640, width <= 640] * (len(shown) // 2) != []
        assert (len(asked), said) == (2, [])


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0.0, 5.2, 6, [0, 1, 2, 3, 4, 5]),
        (0.0, 1.0, 5, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.03, 0.031, 3, [-0.02, 0, 0.02]),
        (3.0, 12.0, 3, [5, 10]),
    ],
)
def test_ticks(low: float, high: float, most: int, expected: list[float]) -> None:
    assert ticks(low, high, most) == pytest.approx(expected)


def test_an_axis_of_nothing_has_a_length() -> None:
    axis = Axis(2.0, 2.0, 0.0, 100.0)
    assert axis(2.0) == 0.0 and axis.ticks
