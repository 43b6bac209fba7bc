"""The optimizer's arithmetic, the average, the course of the rate, and states of earlier versions."""

from pathlib import Path

import pytest
import torch
from loop_training import Line, Points, losses, settings
from torch import nn

from dimrt.errors import CheckpointError, InputError
from dimrt.export.train.average import Average
from dimrt.export.train.checkpoint import States, import_state, load_averages
from dimrt.export.train.hooks import Hooks
from dimrt.export.train.loop import Run, train
from dimrt.export.train.optimizer import hidden_matrices, orthogonal
from dimrt.export.train.settings import OptimizerSettings


def test_orthogonal_pushes_all_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((3, 8, 8), (2, 4, 16), (2, 16, 4)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert values.max() < 1.3
        assert values.min() > 0.3


def test_pointwise_convolutions_are_matrices_and_outer_layers_can_be_left_out():
    module = nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8, 2), nn.LayerNorm(2))
    assert hidden_matrices(module) == {"0.weight", "3.weight"}
    assert hidden_matrices(module, ("3",)) == {"0.weight"}
    assert Line().matrices_of("painter") == {"net.0.weight", "net.2.weight"}


def test_the_average_moves_towards_the_parameters_and_can_be_swapped_in():
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(0)
        average = Average(dict(module.named_parameters()), 0.9)
        module.weight.fill_(1)
    average.update(step=10**6)
    assert average.values["weight"].item() == pytest.approx(0.1)
    average.swap()
    assert module.weight.item() == pytest.approx(0.1)
    average.swap()
    assert module.weight.item() == 1


def test_the_rate_rises_holds_and_falls_to_nearly_nothing(tmp_path: Path):
    run = Run(Line(), Points(), settings(steps=40, warmup=5, decay=0.3), tmp_path, Hooks())
    factors = []
    for run.step in range(40):
        factors.append(run.factor())
    run.close()
    assert factors[0] == pytest.approx(0.2)
    assert factors[10] == 1.0
    assert factors[-1] == pytest.approx(1 / 12)


def test_the_single_file_state_of_earlier_versions_is_read_and_gone_on_with(tmp_path: Path):
    chosen = settings(optimizer={"painter": OptimizerSettings(name="muon", rate=5e-3)})
    train(Line(), Points(), chosen, tmp_path / "whole")
    train(Line(), Points(), chosen, tmp_path / "begun", until=5)
    state = States(tmp_path / "begun", 1).load()
    assert state is not None
    old = {"step": state["step"], "module": state["parameters"], "average": state["average"]}
    torch.save({**old, "optimizer": state["optimizers"]["painter"]}, tmp_path / "state.pt")
    assert load_averages(tmp_path).keys() == dict(Line().named_parameters()).keys()
    assert import_state(tmp_path / "state.pt", tmp_path / "goes on") == 5
    train(Line(), Points(), chosen, tmp_path / "goes on")
    whole, part = losses(tmp_path / "whole"), losses(tmp_path / "goes on")
    assert part == {step: loss for step, loss in whole.items() if step > 5}


def test_what_is_no_state_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no training state"):
        load_averages(tmp_path)
    torch.save({"weights": torch.zeros(1)}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="not a training state"):
        load_averages(tmp_path)
    train(Line(), Points(), settings(steps=2), tmp_path / "run")
    (tmp_path / "run" / "state" / "step-00000002" / "process-00000.pt").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="step-00000002"):
        train(Line(), Points(), settings(), tmp_path / "run")
