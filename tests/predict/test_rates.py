"""Rates of targets and of measured machines, and which efficiencies they get."""

import msgspec
import pytest

from dimrt.engines.target import load_target, target_names
from dimrt.errors import InputError
from dimrt.predict.efficiency import efficiencies, efficiency_of
from dimrt.predict.rates import OTHER, Rates, measured_rates, target_rates

DOCUMENT = {"card": {"gpu": None}, "ceilings": {"bandwidth": 2e10, "matmul": {"float32": 1e11, "fp8": None}}}


def test_targets_know_their_family() -> None:
    families = {name: target_rates(load_target(name)).family for name in target_names()}
    assert families["orin-nano-8gb"] == families["orin-agx-64gb"] == "orin"
    assert families["rtx-3060"] == families["rtx-5090"] == "geforce"
    assert (families["cpu"], families["h200"]) == ("processor", "data center")


def test_a_measured_machine_has_its_ceilings() -> None:
    rates = measured_rates(DOCUMENT, "mine.json")
    assert rates == Rates("mine.json", "processor", "ceilings", 2e10, {"float32": 1e11})
    cached = {**DOCUMENT, "ceilings": {**DOCUMENT["ceilings"], "settings": {"cache_bytes": 32_000_000}}}
    assert measured_rates(cached, "mine.json").cache == 32_000_000
    gpu = {**DOCUMENT, "card": {"gpu": "Orin", "compute_capability": "8.7", "provider": "tensorrt 10.3 on Orin"}}
    assert measured_rates(gpu, "board.json").family == "orin"
    beside = {**DOCUMENT, "card": {**gpu["card"], "provider": "onnxruntime CPUExecutionProvider"}}
    assert measured_rates(beside, "board.json").family == "processor"


@pytest.mark.parametrize(
    "document",
    [{}, [], {"card": {}, "ceilings": {"bandwidth": None, "matmul": {}}}, {**DOCUMENT, "ceilings": {"bandwidth": 1}}],
)
def test_what_is_no_bench_document_is_refused(document: object) -> None:
    with pytest.raises(InputError, match=r"mine\.json .*`dimrt bench"):
        measured_rates(document, "mine.json")  # type: ignore[arg-type]


def test_ceilings_of_zero_are_refused() -> None:
    with pytest.raises(InputError, match="aren't above 0"):
        measured_rates({**DOCUMENT, "ceilings": {"bandwidth": 0, "matmul": {"float32": 1}}}, "mine.json")


def test_every_family_has_efficiencies_with_a_source() -> None:
    known = {(entry.family, entry.basis) for entry in efficiencies()}
    assert {"orin", "geforce", "data center", "processor", OTHER} <= {family for family, _ in known}
    assert len(known) == len(efficiencies())
    for entry in efficiencies():
        shares = [entry.bandwidth, entry.unfused, *entry.arithmetic.values()]
        limit = 4 if entry.family == "processor" else 1  # elementwise work isn't bound by memory alone there
        assert all(0 < share <= limit for share in shares) and 0 <= entry.start_s < 0.01
        assert entry.source and (entry.error is None) == (entry.figures == 0)
        assert entry.error is None or entry.error >= 1


def test_an_unknown_gpu_gets_what_is_assumed_of_any() -> None:
    unknown = Rates("new", OTHER, "ceilings", 1e12, {"float16": 1e14})
    assert efficiency_of(unknown).family == OTHER and efficiency_of(unknown).error is None
    same = msgspec.structs.replace(efficiency_of(unknown), family="orin")
    assert efficiency_of(Rates("board", "orin", "data sheet", 1e11)).family == same.family


def test_a_format_whose_share_is_assumed_widens_the_error() -> None:
    cards = next(entry for entry in efficiencies() if entry.family == "geforce")
    assert cards.error_of({"float16", "float32"}) == cards.error
    assert cards.error_of({"float16", "int8"}) == 2.0 and cards.assumed_of({"float16", "int8"}) == {"int8"}
    assert cards.of("int8") < cards.of("float16") == cards.of("float32")
