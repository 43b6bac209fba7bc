"""A prediction held against edits that were measured."""

from statistics import median
from typing import Any

import pytest

from dimrt.bundle import NANO, Bundle
from dimrt.predict.measured import hold, measured_edit, predict_measured
from dimrt.predict.rates import measured_rates

PHASES = {"read": [0.5, 0.5], "vision": [0.01, 0.03], "plan": [0.2], "paint": [0.1, 0.2, 0.9], "composite": [1.0]}


@pytest.fixture(scope="module")
def nano() -> Bundle:
    return Bundle.open(NANO, verify="layout")


@pytest.fixture
def document(nano: Bundle) -> dict[str, Any]:
    return {
        "card": {"gpu": None},
        "ceilings": {"bandwidth": 1e10, "matmul": {"float32": 1e11}},
        "bundle": {"digest": nano.digest},
        "settings": {"steps": 2, "guidance_scale": 1.0},
        "decode": {"tokens": [30, 40, 50], "tokens_per_pass": 1.5},
        "edit": {"phases": PHASES},
    }


def test_what_was_measured_is_read(document: dict[str, Any], nano: Bundle) -> None:
    edit = measured_edit(document)
    assert edit is not None and edit.digest == nano.digest
    assert (edit.steps, edit.guided, edit.plan_tokens, edit.tokens_per_run) == (2, False, 40, 1.5)
    assert edit.phases == {name: median(samples) for name, samples in PHASES.items()}


@pytest.mark.parametrize("missing", ["bundle", "settings", "decode", "edit"])
def test_a_document_without_edits_has_none(document: dict[str, Any], missing: str) -> None:
    document[missing] = None
    assert measured_edit(document) is None


def test_only_phases_that_both_have_are_held_against_each_other(document: dict[str, Any], nano: Bundle) -> None:
    edit = measured_edit(document)
    assert edit is not None
    prediction = predict_measured(nano, measured_rates(document, "mine"), edit)
    assert (prediction.steps, prediction.plan_tokens, prediction.tokens_per_run) == (2, 40, 1.5)
    held = hold(prediction, edit)
    assert held is not None and list(held.phases) == ["vision", "plan", "paint"]
    assert held.phases["paint"][1] == 0.2
    predicted, measured = held.seconds
    assert measured == pytest.approx(0.02 + 0.2 + 0.2) and held.ratio == pytest.approx(predicted / measured)
    assert predicted == pytest.approx(sum(p.time.seconds for p in prediction.phases if p.name in held.phases))
