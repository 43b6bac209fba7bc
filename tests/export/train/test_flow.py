"""The flow matching objective: its noise levels, what it asks of the painter, and dropped conditions."""

from dataclasses import replace

import pytest
import torch
from checkpoint_folders import PAINTER
from torch import Tensor, nn

from dimrt.errors import InputError
from dimrt.export.model.assembly import make_connector
from dimrt.export.model.config import PainterConfig
from dimrt.export.model.painter import Painter
from dimrt.export.train.data.batch import Batch
from dimrt.export.train.flow import FlowObjective, FlowSettings, conditioned, draw_levels, last_rows, level_table, mix
from dimrt.schedule import flow_schedule

T2I = replace(PAINTER, task="generate")


def seeded(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def some_batch(count: int = 3, rows: int = 7, source: bool = True) -> Batch:
    draw = torch.Generator().manual_seed(5)
    shape = (count, PAINTER.latent_channels, 4, 4)
    mask = torch.ones(count, rows)
    mask[0, 4:] = 0
    target, condition, given = (
        torch.randn(shape, generator=draw),
        torch.randn(count, rows, 64, generator=draw) * mask[..., None],
        torch.randn(shape, generator=draw),
    )
    keys = [f"example-{index}" for index in range(count)]
    return Batch(target, given if source else None, condition, mask, keys)


class Oracle(nn.Module):
    """A painter that knows the targets of one batch, and remembers what it was given."""

    def __init__(self, config: PainterConfig, batch: Batch) -> None:
        super().__init__()
        self.config, self.batch = config, batch
        self.null_condition = nn.Parameter(torch.zeros(config.max_condition, config.caption_channels))

    def forward(self, latent: Tensor, timestep: Tensor, condition: Tensor, mask: Tensor, source: Tensor | None):
        self.given = (latent, timestep, condition, mask, source)
        if self.config.prediction == "residual":
            return self.batch.target - source
        table = level_table(3.0)
        sigma = table[(table * 1000).trunc() == timestep[0].double()][0].float()
        noise = (latent - (1 - sigma) * self.batch.target) / sigma
        return noise - self.batch.target


def test_levels_reach_as_far_as_the_sampler_and_never_pure_noise():
    table = level_table(3.0)
    assert table[0] == 0
    assert float(table[-1]) == pytest.approx(flow_schedule(30, 3.0)[0].sigma, abs=1e-6)
    assert int((table[-1] * 1000).trunc()) == flow_schedule(30, 3.0)[0].timestep == 999


def test_levels_are_logit_normal_and_shifted():
    drawn = draw_levels(20_000, FlowSettings(), seeded())
    base = drawn / (3 - 2 * drawn)
    logits = torch.logit(base.clamp(1e-3, 1 - 1e-3))
    assert logits.mean().item() == pytest.approx(0, abs=0.03)
    assert logits.std().item() == pytest.approx(1, abs=0.03)
    plain = draw_levels(20_000, FlowSettings(shift=1.0, mean=1.0, spread=0.5), seeded())
    assert torch.logit(plain).mean().item() == pytest.approx(1, abs=0.03)


def test_latents_are_mixed_with_noise_and_the_painter_is_told_an_integer():
    target = torch.randn(4, 2, 3, 3, generator=seeded(1))
    sigma = torch.tensor([0.0, 0.25, 0.7777, 0.99967], dtype=torch.float64)
    noised = mix(target, sigma, seeded(2))
    assert torch.equal(noised.latent[0], target[0])
    torch.testing.assert_close(noised.latent[1], 0.75 * target[1] + 0.25 * noised.noise[1])
    assert noised.timestep.tolist() == [0, 250, 777, 999]


def test_a_painter_that_knows_the_velocity_has_no_loss():
    batch = some_batch(count=1)
    objective = FlowObjective(Oracle(PAINTER, batch), make_connector(64, 48), FlowSettings())
    loss, figures = objective.loss("painter", batch, 0, seeded(3))
    assert loss.item() < 1e-5  # float32 of (x - (1 - sigma) target) / sigma
    assert len(figures) == 1
    assert objective.painter.given[4] is batch.source


def test_a_residual_painter_learns_the_clean_latent():
    batch = some_batch()
    oracle = Oracle(replace(PAINTER, prediction="residual"), batch)
    loss, _ = FlowObjective(oracle, make_connector(64, 48), FlowSettings()).loss("painter", batch, 0, seeded())
    assert loss.item() == 0


def test_dropped_conditions_give_way_to_the_null_condition_under_the_same_mask():
    painter, connector, batch = Painter(PAINTER), make_connector(64, 48), some_batch()
    condition, mask = conditioned(painter, connector, batch, torch.tensor([False, True, False]))
    torch.testing.assert_close(condition[0], connector(batch.condition)[0])
    assert torch.equal(condition[1], painter.null_condition[:7])
    assert torch.equal(mask, batch.mask)


def test_the_null_condition_learns_in_its_first_rows_alone():
    torch.manual_seed(0)
    objective = FlowObjective(Painter(PAINTER), make_connector(64, 48), FlowSettings(drop=1.0))
    objective.loss("painter", some_batch(), 0, seeded())[0].backward()
    gradient = objective.painter.null_condition.grad
    assert (gradient[:7].abs().sum(1) > 0).all()
    assert gradient[7:].abs().sum() == 0
    assert objective.connector[0].weight.grad.abs().sum() == 0


def test_a_long_condition_keeps_its_last_rows():
    condition = torch.arange(12.0).reshape(2, 6, 1)
    mask = torch.tensor([[1.0, 1, 1, 1, 1, 0], [1, 1, 0, 0, 0, 0]])
    rows, kept = last_rows(condition, mask, 3)
    assert rows[0, :, 0].tolist() == [2, 3, 4]
    assert rows[1, :2, 0].tolist() == [6, 7]
    assert kept.tolist() == [[1, 1, 1], [1, 1, 0]]


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        objective = FlowObjective(Painter(PAINTER), make_connector(64, 48), FlowSettings(checkpointing=checkpointing))
        objective.train()
        objective.loss("painter", some_batch(), 0, seeded())[0].backward()
        gradients.append({name: value.grad for name, value in objective.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name])


def test_an_edit_needs_a_source_and_text_to_image_ignores_one():
    connector = make_connector(64, 48)
    with pytest.raises(InputError, match="example-0"):
        FlowObjective(Painter(PAINTER), connector, FlowSettings()).loss(
            "painter", some_batch(source=False), 0, seeded()
        )
    torch.manual_seed(0)
    objective = FlowObjective(Painter(T2I), connector, FlowSettings())
    with_source, without = (
        objective.loss("painter", some_batch(source=given), 0, seeded())[0] for given in (True, False)
    )
    assert torch.equal(with_source, without)
