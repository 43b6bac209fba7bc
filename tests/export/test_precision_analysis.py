"""Sensitivity: the layers that cost most come first, and recipes made from it keep their budget."""

from pathlib import Path

import numpy as np
import pytest
from quantizing import made_up, traced
from tiny import write_tiny_checkpoint

from dimrt.errors import InputError
from dimrt.export.graphs.weights import Piece
from dimrt.export.model.assembly import DIM
from dimrt.export.model.dim import load_dim
from dimrt.export.precision import FP16, load_recipe
from dimrt.export.precision.analysis import OFFERED, Analysis, Layer, analyze_graph, left_out
from dimrt.export.precision.sites import widths
from dimrt.export.precision.statistics import assumed_statistics


@pytest.fixture(scope="module")
def dim(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> DIM:
    return load_dim(write_tiny_checkpoint(reference, tmp_path_factory.mktemp("model") / "tiny", "edit"))


@pytest.fixture(scope="module")
def analysis(dim: DIM) -> Analysis:
    """Of all graphs, on made-up activations."""
    layers: list[Layer] = []
    for graph in OFFERED:
        _, model, pieces = traced(dim, graph, FP16)
        layers += analyze_graph(model, pieces, graph, made_up(model, graph))
    return Analysis("tiny", tuple(layers), "made-up activations")


def test_every_layer_is_there_but_the_small_ones_at_the_ends(analysis: Analysis) -> None:
    names = {(layer.graph, layer.weight) for layer in analysis.layers}
    assert {("language", "head.weight"), ("step", "blocks.0.contract.weight"), ("vision", "merge_in.weight")} <= names
    assert not names & {("step", "embed.weight"), ("step", "time.first.weight"), ("step", "out.weight")}
    assert left_out("vision", "embed.weight") and left_out("decode", "anything")


def test_errors_are_those_of_the_formats(analysis: Analysis) -> None:
    """Normal weights and activations: about 1 % for int8, 10 % for int4, each a little more or less."""
    for layer in analysis.layers:
        assert 0.002 < layer.errors["w8a16"] < 0.02
        assert 0.04 < layer.errors["w4a16"] < 0.2
        assert layer.errors["w8a16"] < layer.errors["w8a8"] < 0.04
        assert 0.015 < layer.errors["fp8"] < 0.06


def test_a_layer_with_planted_outliers_comes_first(dim: DIM) -> None:
    """Pairs of channels get large opposite values that their equal weights cancel: what is left drowns in rounding."""
    graph, victim = "step", "blocks.1.cross_out.weight"
    _, model, pieces = traced(dim, graph, FP16)
    statistics = made_up(model, graph)
    assert (
        Analysis("tiny", tuple(analyze_graph(model, pieces, graph, statistics)), "").worst_first()[0].weight != victim
    )
    entry = statistics.of(graph, victim)
    large = 40 * np.random.default_rng(0).standard_normal((len(entry.rows), 1)).astype(np.float32)
    entry.rows[:, 0::2] += large
    entry.rows[:, 1::2] -= large
    entry.largest, entry.mean = np.abs(entry.rows).max(0), np.abs(entry.rows).mean(0)
    planted = [paired(piece) if piece.slots[0].name == victim else piece for piece in pieces]
    layers = tuple(analyze_graph(model, planted, graph, statistics))
    assert Analysis("tiny", layers, "").worst_first()[0].weight == victim


def paired(piece: Piece) -> Piece:
    """The same weight with every second row equal to the one before."""
    return Piece(piece.slots, lambda: (np.repeat(piece.make()[0][0::2], 2, 0),))


def test_the_table_is_sorted_and_cut(analysis: Analysis) -> None:
    lines = analysis.table(5).splitlines()
    assert len(lines) == 6
    assert lines[0].split() == ["layer", "half", "MB", "w8a16", "w4a16", "w8a8", "fp8"]
    first = analysis.worst_first()[0]
    assert lines[1].startswith(f"{first.graph} {first.weight}")
    assert f"{first.errors['w4a16']:.2%}" in lines[1]


@pytest.mark.parametrize("budget", [0.005, 0.03, 0.1, 0.5])
def test_a_recipe_keeps_its_budget(analysis: Analysis, budget: float) -> None:
    chosen = analysis.chosen(budget)
    assert set(chosen) == set(analysis.layers)
    for graph in OFFERED:
        squares = [
            layer.errors[form] ** 2 for layer, form in chosen.items() if layer.graph == graph and form != "float"
        ]
        assert sum(squares) <= budget**2


def test_more_budget_never_costs_more_bytes(analysis: Analysis) -> None:
    sizes = [
        sum(layer.size(form) for layer, form in analysis.chosen(budget).items()) for budget in (1e-6, 0.02, 0.1, 0.3, 9)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert set(analysis.chosen(1e-6).values()) == {"float"}
    assert set(analysis.chosen(9).values()) == {"w4a16", "w8a8"}


def test_what_is_written_is_a_recipe(analysis: Analysis, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    written = analysis.write(path, 0.1)
    assert load_recipe(path) == written
    for layer, form in analysis.chosen(0.1).items():
        rule = written.rule(layer.graph, layer.weight)
        assert (rule.format if rule else "float") == form
    assert written.rule("step", "embed.weight") is None
    assert written.limits["encode"] == FP16.limits["encode"]
    with pytest.raises(InputError, match="--budget"):
        analysis.write(path, 0.0)


def test_assumed_activations_give_errors_too(dim: DIM) -> None:
    _, model, pieces = traced(dim, "connector", FP16)
    assumed = assumed_statistics({"connector": widths(model)})
    layers = list(analyze_graph(model, pieces, "connector", assumed))
    assert len(layers) == 2 and all(0 < layer.errors["w8a16"] < 0.02 for layer in layers)
