"""The ways of distilling: whom they train, in which order, where they are at rest, and what they say of sampling."""

from typing import Any

import pytest
import torch
from distilling import small_batch, small_teacher
from torch import Tensor

from dimrt.errors import InputError
from dimrt.export.train.distill.consistency import ConsistencyDistillation, ConsistencySettings
from dimrt.export.train.distill.critic import Critic, CriticSettings
from dimrt.export.train.distill.guidance import GuidanceDistillation, GuidanceSettings
from dimrt.export.train.distill.levels import noised
from dimrt.export.train.distill.network import predict
from dimrt.export.train.distill.objective import Distillation
from dimrt.export.train.distill.phased import PhasedDistillation, PhasedSettings

ALONE = CriticSettings(weight=0.0)
KINDS = [("velocity", "generate"), ("velocity", "edit"), ("residual", "edit")]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ways(prediction: str, task: str) -> list[Distillation]:
    teacher = small_teacher(prediction, task)
    return [
        GuidanceDistillation(teacher, GuidanceSettings()),
        PhasedDistillation(teacher, PhasedSettings()),
        ConsistencyDistillation(teacher, ConsistencySettings(critic=ALONE)),
        ConsistencyDistillation(teacher, ConsistencySettings(critic=ALONE, tangent="jvp")),
        ConsistencyDistillation(teacher, ConsistencySettings(critic=CriticSettings(width=8))),
    ]


@pytest.mark.parametrize(("prediction", "task"), KINDS)
def test_every_way_trains_the_student_alone_and_repeats_itself(prediction: str, task: str) -> None:
    batch = small_batch(3, task)
    for way in ways(prediction, task):
        teacher = {name: value.clone() for name, value in way.teacher.painter.state_dict().items()}
        loss, _ = way.loss("student", batch, 0, generator())
        again, _ = way.loss("student", batch, 0, generator())
        assert torch.equal(loss, again)
        loss.backward()
        named = dict(way.parameters_of("student"))
        assert "student.null_condition" not in named
        assert all(name.startswith("student.") for name in named)
        assert sum(float(p.grad.abs().sum()) for p in named.values() if p.grad is not None) > 0
        assert all(p.grad is None for p in way.teacher.painter.parameters())
        assert all(torch.equal(value, teacher[name]) for name, value in way.teacher.painter.state_dict().items())
        assert not any(name.startswith("_teacher") for name, _ in way.named_parameters())


def test_an_unguided_student_is_at_rest_where_its_teacher_is() -> None:
    """At guidance 1 the copy already says what the teacher says: no loss, and no gradient of the near part."""
    teacher = small_teacher(guidance=1.0)
    batch = small_batch()
    loss, _ = GuidanceDistillation(teacher, GuidanceSettings()).loss("student", batch, 0, generator())
    assert loss.item() < 1e-10
    guided = GuidanceDistillation(small_teacher(guidance=3.0), GuidanceSettings())
    assert guided.loss("student", batch, 0, generator())[0].item() > 1e-4


def test_guidance_of_velocity_is_the_samplers_guidance_of_data() -> None:
    teacher = small_teacher(guidance=4.0)
    batch = small_batch()
    scene = teacher.scene(batch)
    sigma = torch.tensor([0.25, 0.5, 0.999])
    velocity = teacher.velocity(batch.target, sigma, scene)
    null = teacher.painter.null_condition[:5].expand(3, -1, -1)
    level = sigma[:, None, None, None]
    data = []
    for condition in (null, scene.condition):
        data.append(teacher.painter.data(batch.target, sigma, sigma * 1000, condition, scene.mask, scene.source))
    guided = data[0] + 4.0 * (data[1] - data[0])
    assert torch.allclose(batch.target - level * velocity, guided, atol=2e-5)


def test_the_step_against_the_tangent_makes_a_student_more_consistent() -> None:
    """A small gradient step of the full tangent brings f(x, s) nearer to f a little earlier on the trajectory."""
    way = ConsistencyDistillation(small_teacher(), ConsistencySettings(critic=ALONE, warmup=0))
    frozen = way.teacher.student()
    batch = small_batch(1)
    scene = way.teacher.scene(batch)

    @torch.no_grad()
    def apart() -> Tensor:
        drawn = generator(4)
        sigma = way.draw(1, drawn)
        latent, sigma = noised(batch.target, sigma, drawn)
        velocity = way.teacher.velocity(latent, sigma, scene)
        now = predict(way.student, latent, sigma, scene)[0]
        before = predict(frozen, latent - 0.002 * velocity, sigma - 0.002, scene)[0]
        return (now - before).square().sum()

    first = apart()
    way.match(batch.target, scene, 0, generator(4))[0].backward()
    with torch.no_grad():
        for _, parameter in way.parameters_of("student"):
            if parameter.grad is not None:
                parameter -= 1e-6 * parameter.grad
    assert apart() < first


def test_student_then_critic_and_neither_moves_the_other() -> None:
    way = ConsistencyDistillation(small_teacher(), ConsistencySettings(critic=CriticSettings(width=8)))
    assert way.players == ("student", "critic")
    assert way.turns(0) == ("student", "critic")
    student, critic = (dict(way.parameters_of(player)) for player in way.players)
    assert student and critic and not student.keys() & critic.keys()
    assert set(student) | set(critic) == {n for n, p in way.named_parameters() if p.requires_grad}
    loss, figures = way.loss("critic", small_batch(), 0, generator())
    loss.backward()
    assert all(p.grad is None for p in student.values())
    assert all(p.grad is not None for p in critic.values())
    assert set(figures) == {"real", "painted"}


def test_a_critic_learns_to_tell_and_the_student_follows_its_score() -> None:
    """Ten steps of the critic alone widen real - painted; the student's gradient comes through the frozen teacher."""
    teacher = small_teacher()
    torch.manual_seed(1)
    critic = Critic(teacher.painter, CriticSettings(width=16, misplaced=False))
    batch = small_batch(8)
    scene = teacher.scene(batch)
    painted = torch.zeros_like(batch.target)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-2)
    gaps = []
    for _ in range(10):
        loss, figures = critic.judge(teacher.painter, painted, batch.target, scene, generator())
        gaps.append(float(figures["real"] - figures["painted"]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert gaps[-1] > gaps[0] + 0.5
    latent = painted.requires_grad_(True)
    critic.score(teacher.painter, latent, scene, generator()).backward()
    assert latent.grad is not None
    assert float(latent.grad.abs().sum()) > 0


def test_the_teacher_counts_in_the_memory_of_a_run() -> None:
    way = GuidanceDistillation(small_teacher(), GuidanceSettings())
    numbers = sum(value.numel() for value in way.student.parameters())
    assert way.frozen_bytes() > 4 * numbers


def test_what_the_student_says_of_its_sampling() -> None:
    teacher = small_teacher(guidance=7.5)
    guided = GuidanceDistillation(teacher, GuidanceSettings()).facts(30)
    assert (guided.timesteps, guided.teacher_steps, guided.guidance_scale) == ((), 30, 7.5)
    few = ConsistencyDistillation(teacher, ConsistencySettings(critic=ALONE)).facts(30)
    assert [len(row) for row in few.timesteps] == [1, 2, 4]
    assert few.noise == "fresh"
    phased = PhasedDistillation(teacher, PhasedSettings(edges=(999, 500))).facts(30)
    assert (phased.timesteps, phased.noise) == (((999, 500),), "kept")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda t: PhasedDistillation(t, PhasedSettings(edges=(900, 500))), "the first is 999"),
        (lambda t: PhasedDistillation(t, PhasedSettings(edges=(999, 999))), "falling"),
        (lambda t: ConsistencyDistillation(t, ConsistencySettings(timesteps=((500, 700),))), "fall"),
        (
            lambda t: ConsistencyDistillation(t, ConsistencySettings(critic=CriticSettings(blocks=(9,)))),
            "blocks 0 to 1",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make(small_teacher())


def test_an_edit_needs_its_source() -> None:
    way = GuidanceDistillation(small_teacher(), GuidanceSettings())
    with pytest.raises(InputError, match="example 0"):
        way.loss("student", small_batch(task="generate"), 0, generator())
