"""The derivative along the teacher's trajectory, through diffusers' transformer: forward derivatives, differences."""

import pytest
import torch
from distilling import small_batch, small_teacher

from dimrt.export.train.distill.network import Scene, broad, plain_attention, predict
from dimrt.export.train.distill.tangent import tangent
from dimrt.export.train.distill.trigflow import norm, to_angle, to_sigma, to_trig

KINDS = [("velocity", "generate"), ("velocity", "edit"), ("residual", "edit")]


@pytest.mark.parametrize(("prediction", "task"), KINDS)
def test_forward_derivatives_are_central_differences(prediction: str, task: str) -> None:
    teacher = small_teacher(prediction, task)
    batch = small_batch(3, task)
    scene = teacher.scene(batch)
    teacher.painter.double()
    scene = Scene(
        scene.condition.double(), scene.mask.double(), None if scene.source is None else scene.source.double()
    )
    generator = torch.Generator().manual_seed(5)
    latent, velocity = torch.randn(2, 3, 2, 4, 4, generator=generator, dtype=torch.float64)
    sigma = torch.tensor([0.3, 0.7, 0.999], dtype=torch.float64)
    painter = teacher.painter.eval()
    data, _ = predict(painter, latent, sigma, scene)
    change = tangent(painter, latent, sigma, velocity, scene, data, "jvp", 0.005)

    def at(step: float) -> torch.Tensor:
        with torch.no_grad():
            return predict(painter, latent + step * velocity, sigma + step, scene)[0]

    h = 1e-4
    central = (at(h) - at(-h)) / (2 * h)
    # the library computes the sinusoid of 1000 sigma in float32 (6e-5 at 700, of a step of 0.2); (0.1)^2 / 6 is cut off
    assert (change - central).norm() / central.norm() < 1e-2


def test_the_difference_nears_the_derivative() -> None:
    teacher = small_teacher()
    batch = small_batch(3)
    scene = teacher.scene(batch)
    generator = torch.Generator().manual_seed(5)
    latent, velocity = torch.randn(2, 3, 2, 4, 4, generator=generator)
    sigma = torch.tensor([0.3, 0.7, 0.9])
    data, _ = predict(teacher.painter, latent, sigma, scene)
    exact = tangent(teacher.painter, latent, sigma, velocity, scene, data, "jvp", 0.0)
    errors = []
    for step in (1e-3, 3e-4):
        found = tangent(teacher.painter, latent, sigma, velocity, scene, data, "difference", step)
        errors.append(float((found - exact).norm() / exact.norm()))
    assert errors[1] < errors[0] / 2  # of first order
    assert errors[1] < 0.2


def test_forward_derivatives_pass_mixed_precision() -> None:
    """Under autocast the network computes in bfloat16 (2^-9 a rounding); what comes back is float32."""
    teacher = small_teacher()
    batch = small_batch(3)
    scene = teacher.scene(batch)
    velocity = torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(5))
    sigma = torch.tensor([0.3, 0.7, 0.9])
    data, _ = predict(teacher.painter, batch.target, sigma, scene)
    exact = tangent(teacher.painter, batch.target, sigma, velocity, scene, data, "jvp", 0.0)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = tangent(teacher.painter, batch.target, sigma, velocity, scene, data, "jvp", 0.0)
    assert mixed.dtype == torch.float32
    assert (mixed - exact).norm() / exact.norm() < 0.05


def test_the_clock_does_not_matter() -> None:
    """cos t df/dt of sCM, written out in TrigFlow's coordinates, is (1 - sigma) n times our derivative in sigma."""
    teacher = small_teacher()
    batch = small_batch(3)
    scene = teacher.scene(batch)
    generator = torch.Generator().manual_seed(5)
    latent, velocity = torch.randn(2, 3, 2, 4, 4, generator=generator)
    sigma = torch.tensor([0.3, 0.7, 0.9])
    data, own = predict(teacher.painter, latent, sigma, scene)
    change = tangent(teacher.painter, latent, sigma, velocity, scene, data, "jvp", 0.0)
    level, n = broad(sigma), broad(norm(sigma))
    angle = broad(to_angle(sigma))
    trig, guided = to_trig(latent, velocity, level)
    _, mine = to_trig(latent, own, level)

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        s = to_sigma(t)
        flow = x * broad(norm(s))
        return to_trig(flow, predict(teacher.painter, flow, s, scene)[1], broad(s))[1]

    with plain_attention(), torch.no_grad():
        _, turn = torch.func.jvp(network, (trig, to_angle(sigma)), (guided, torch.ones(3)))
    written_out = -angle.cos().square() * (mine - guided) - angle.cos() * angle.sin() * (trig + turn)
    ours = (1 - level) * n * change
    assert (written_out - ours).norm() / ours.norm() < 1e-4
    near = (1 - level).square() / n * (velocity - own)
    assert torch.allclose(near, -angle.cos().square() * (mine - guided), atol=1e-5)
    assert torch.allclose(data, angle.cos() * trig - angle.sin() * mine, atol=1e-5)
