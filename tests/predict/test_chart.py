"""The drawn comparison: one valid file that says every number, and nothing but what it was given."""

from xml.etree import ElementTree

import pytest

from dimrt.bundle import NANO, Bundle
from dimrt.engines.target import load_target
from dimrt.predict.chart import PHASES, chart
from dimrt.predict.compare import Outlook, Place, Wish, compare
from dimrt.predict.rates import target_rates

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def found() -> list[Outlook]:
    targets = [load_target(name) for name in ("orin-nano-8gb", "rtx-4090")]
    places = [Place(target.name, target, target_rates(target), target.recipe) for target in targets]
    places.append(Place("<unknown & new>", None, None))
    nano = Bundle.open(NANO, verify="layout")
    return compare(nano, places, ("fp16", "fp8"), Wish(), lambda place: place.recipe)


def test_every_target_and_recipe_is_a_row(found: list[Outlook]) -> None:
    root = ElementTree.fromstring(chart(found, "a model"))
    texts = ["".join(text.itertext()) for text in root.iter(SVG + "text")]
    assert [text for text in texts if text in ("orin-nano-8gb", "rtx-4090", "<unknown & new>")] == [
        "orin-nano-8gb",
        "rtx-4090",
        "<unknown & new>",
    ]
    assert texts.count("fp8") == texts.count("fp16") == 3
    assert "not on this device" in texts and texts.count("rates not known") == 2  # Orin has no fp8
    assert "Predicted time of one edit with a model" in texts


def test_shares_fill_their_column_and_points_lie_in_their_ranges(found: list[Outlook]) -> None:
    root = ElementTree.fromstring(chart(found, "a model"))
    told = [each for each in found if each.prediction is not None]
    rows = [group for group in root.iter(SVG + "g") if group.find(SVG + "circle") is not None]
    assert len(rows) == len(told) == 3
    for row in rows:
        widths = [float(rect.get("width", 0)) for rect in row.iter(SVG + "rect")]
        assert len(widths) == len(PHASES) and sum(widths) == pytest.approx(228, abs=1)
        line, dot = row.find(SVG + "line"), row.find(SVG + "circle")
        assert line is not None and dot is not None
        assert float(line.get("x1", 0)) < float(dot.get("cx", 0)) < float(line.get("x2", 0))


def test_the_file_loads_nothing(found: list[Outlook]) -> None:
    text = chart(found, "a model").replace("http://www.w3.org/2000/svg", "")
    assert "http" not in text and "url(" not in text and "<script" not in text
    assert "prefers-color-scheme: dark" in text
