"""`dimrt estimate` from the command line."""

from pathlib import Path

from cli_harness import Dimrt


def test_nano_fits_an_orin(dimrt: Dimrt) -> None:
    outcome = dimrt("estimate", "nano", "--target", "orin-nano-super-8gb")
    assert outcome.code == 0, outcome.err
    assert "fits" in outcome.out and "painter   decode" in outcome.out


def test_json_adds_up(dimrt: Dimrt) -> None:
    document = dimrt("estimate", "nano", "--target", "orin-nano-super-8gb", "--json").document
    assert document["fits"] and document["peak"] <= document["available"]
    assert document["peak"] == document["overhead"] + max(document["designer"], document["painter"])


def test_a_target_too_small_exits_1(dimrt: Dimrt, tmp_path: Path) -> None:
    from dimrt.engines.target import FOLDER

    lines = (FOLDER / "orin-nano-super-8gb.toml").read_text().replace("5_200_000_000", "1_000_000")
    (tmp_path / "tight.toml").write_text(lines.replace('name = "orin-nano-super-8gb"', 'name = "tight"'))
    outcome = dimrt("estimate", "nano", "--target", tmp_path / "tight.toml")
    assert outcome.code == 1
    assert "doesn't fit" in outcome.out
    assert dimrt("estimate", "nano", "--target", tmp_path / "tight.toml", "--json").code == 1


def test_bad_arguments(dimrt: Dimrt) -> None:
    assert dimrt("estimate", "nano", "--target", "orin-nano").code == 2
    outcome = dimrt("estimate", "nano", "--size", "big")
    assert outcome.code == 2
    assert "--size big" in outcome.err
