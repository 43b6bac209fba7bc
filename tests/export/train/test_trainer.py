"""The training loop: exact resume, and what its parts promise."""

import json
from pathlib import Path

import pytest
import torch
from small_training import half_loss, small_module, train_beside
from torch import nn

from dimrt.export.train.average import Average
from dimrt.export.train.optimizer import Rates, hidden_matrices, orthogonal
from dimrt.export.train.trainer import Settings, Trainer, averaged


def _trainer(folder: Path, steps: int = 40) -> Trainer:
    module = small_module()

    def loss(step: int, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        x = torch.randn(16, 6, generator=generator)
        y = torch.stack([x[:, 0] * x[:, 1], x.sum(1)], dim=1)
        return (module(x) - y).square().mean(), {"step_seen": float(step)}

    settings = Settings(steps=steps, rates=Rates(2e-2, 5e-3), warmup=5, average=0.9, log_every=1, seed=4)
    return Trainer(module, loss, settings, folder, adamw=("4.",))


def _losses(folder: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines}


def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path):
    whole = _trainer(tmp_path / "whole")
    whole.run()
    _trainer(tmp_path / "parts").run(until=17)
    resumed = _trainer(tmp_path / "parts")
    assert resumed.step == 17
    resumed.run()
    assert _losses(tmp_path / "whole") == _losses(tmp_path / "parts")
    for one, other in zip(whole.parameters, resumed.parameters, strict=True):
        assert torch.equal(one, other)
    for name, value in whole.average.values.items():
        assert torch.equal(value, resumed.average.values[name])


def test_training_lowers_the_loss_and_the_average_can_be_loaded(tmp_path: Path):
    trainer = _trainer(tmp_path, steps=150)
    trainer.run()
    losses = _losses(tmp_path)
    assert sum(losses[step] for step in range(141, 151)) < 0.5 * sum(losses[step] for step in range(1, 11))
    module = averaged(small_module(), tmp_path)
    torch.testing.assert_close(module.state_dict()["0.weight"], trainer.average.values["0.weight"], rtol=0, atol=0)
    assert not torch.equal(module.state_dict()["0.weight"], trainer.module.state_dict()["0.weight"])


def test_the_rate_rises_holds_and_falls_to_nearly_nothing(tmp_path: Path):
    trainer = _trainer(tmp_path)
    factors = []
    for trainer.step in range(40):
        factors.append(trainer.factor())
    assert factors[0] == pytest.approx(0.2)
    assert factors[10] == 1.0
    assert factors[-1] == pytest.approx(1 / 12)


def test_orthogonal_pushes_all_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((3, 8, 8), (2, 4, 16), (2, 16, 4)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert values.max() < 1.3
        assert values.min() > 0.3


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_processes_equal_one_with_both_halves(tmp_path: Path):
    torch.multiprocessing.spawn(train_beside, (tmp_path,), nprocs=2)
    module = small_module()

    def loss(step: int, _generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        return (half_loss(module, step, 0) + half_loss(module, step, 1)) / 2, {}

    Trainer(module, loss, Settings(steps=5, warmup=1), tmp_path / "one").run()
    two = averaged(small_module(), tmp_path / "two").state_dict()
    for name, value in averaged(small_module(), tmp_path / "one").state_dict().items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5)


def test_pointwise_convolutions_are_matrices_and_outer_layers_can_be_left_out():
    module = nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8, 2), nn.LayerNorm(2))
    assert hidden_matrices(module) == {"0.weight", "3.weight"}
    assert hidden_matrices(module, ("3",)) == {"0.weight"}


def test_the_average_moves_towards_the_parameters():
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(0)
        average = Average(dict(module.named_parameters()), 0.9)
        module.weight.fill_(1)
    average.update(step=10**6)
    assert average.values["weight"].item() == pytest.approx(0.1)
