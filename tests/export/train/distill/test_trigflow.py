"""The flow and TrigFlow are one thing in two sets of coordinates."""

import torch
from torch import Tensor

from dimrt.export.train.distill.trigflow import draw_angles, from_trig, norm, to_angle, to_sigma, to_trig


def points() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Noise levels [64,1] with both ends, data, noise and a velocity [64, 5], float64."""
    generator = torch.Generator().manual_seed(0)
    sigma = torch.linspace(0, 1, 64, dtype=torch.float64)[:, None]
    data, noise, velocity = torch.randn(3, 64, 5, generator=generator, dtype=torch.float64)
    return sigma, data, noise, velocity


def test_angles_and_levels_are_inverse_and_a_latent_is_the_same_mixture() -> None:
    sigma, data, noise, _ = points()
    angle = to_angle(sigma)
    assert torch.allclose(to_sigma(angle), sigma, atol=1e-12)
    latent = (1 - sigma) * data + sigma * noise
    assert torch.allclose(latent / norm(sigma), angle.cos() * data + angle.sin() * noise, atol=1e-12)


def test_the_true_velocity_is_the_true_change_of_the_angle() -> None:
    """F = dx/dt = cos(t) noise - sin(t) data for velocity = noise - data."""
    sigma, data, noise, _ = points()
    angle = to_angle(sigma)
    _, change = to_trig((1 - sigma) * data + sigma * noise, noise - data, sigma)
    assert torch.allclose(change, angle.cos() * noise - angle.sin() * data, atol=1e-12)


def test_both_predict_the_same_data_for_any_velocity() -> None:
    sigma, data, noise, velocity = points()
    latent = (1 - sigma) * data + sigma * noise
    angle = to_angle(sigma)
    trig, change = to_trig(latent, velocity, sigma)
    assert torch.allclose(angle.cos() * trig - angle.sin() * change, latent - sigma * velocity, atol=1e-12)
    back = from_trig(trig, change, sigma)
    assert torch.allclose(back[0], latent, atol=1e-12)
    assert torch.allclose(back[1], velocity, atol=1e-12)


def test_angles_are_drawn_as_said() -> None:
    drawn = draw_angles(20_000, 0.9, 1.6, torch.Generator().manual_seed(1)).tan().log()
    assert abs(drawn.mean() - 0.9) < 0.05
    assert abs(drawn.std() - 1.6) < 0.05
