"""Distillation through the loop: exact resume, what is written, and the runtime that reads it."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from distilling import SmallExamples, small_teacher

from dimrt.errors import InputError
from dimrt.export.train.config import TrainConfig, encode_config, load_config
from dimrt.export.train.data.batch import Batch
from dimrt.export.train.distill.consistency import ConsistencyDistillation, ConsistencySettings
from dimrt.export.train.distill.critic import CriticSettings
from dimrt.export.train.distill.launch import open_objective
from dimrt.export.train.distill.lowrank import adapt, merge
from dimrt.export.train.distill.objective import Distillation
from dimrt.export.train.distill.result import painter_tensors, student_schedule, teacher_steps
from dimrt.export.train.distill.sampling import paint
from dimrt.export.train.loop import train
from dimrt.export.train.settings import LoopSettings, OptimizerSettings
from dimrt.export.train.start import Widened, open_start
from dimrt.manifest import Distilled, Schedule
from dimrt.schedule import painter_schedule

TEACHER = Schedule(steps=30, guidance_scale=7.5, shift=3.0, seed=233)
FEW = Distilled(((999,), (999, 780), (999, 850, 600, 300)), "fresh", 30, 7.5)


def objective() -> ConsistencyDistillation:
    torch.manual_seed(3)
    settings = ConsistencySettings(critic=CriticSettings(width=8), warmup=2)
    return ConsistencyDistillation(small_teacher(), settings)


def settings() -> LoopSettings:
    rates = {name: OptimizerSettings(rate=1e-3) for name in ("student", "critic")}
    return LoopSettings(steps=4, batch=4, optimizer=rates, log_every=1, save_every=2, average=0.5)


def learned(way: Distillation) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in way.named_parameters()}


def test_an_adversarial_run_resumes_exactly(tmp_path: Path) -> None:
    """Two players with their optimizers, averages and noise: stopped after two steps and resumed is the same run."""
    whole = objective()
    train(whole, SmallExamples(), settings(), tmp_path / "whole")
    train(objective(), SmallExamples(), settings(), tmp_path / "parts", until=2)
    resumed = objective()
    train(resumed, SmallExamples(), settings(), tmp_path / "parts")
    before, one, other = learned(objective()), learned(whole), learned(resumed)
    assert all(torch.equal(one[name], other[name]) for name in one)
    moved = {name.split(".")[0] for name in one if not torch.equal(one[name], before[name])}
    assert moved == {"student", "critic"}
    assert torch.equal(one["student.null_condition"], before["student.null_condition"])


def test_a_students_facts() -> None:
    schedule = student_schedule(TEACHER, FEW)
    assert (schedule.steps, schedule.guidance_scale, schedule.shift, schedule.seed) == (2, 1.0, 3.0, 233)
    assert teacher_steps(schedule) == teacher_steps(TEACHER) == 30
    assert student_schedule(TEACHER, FEW, 4).steps == 4
    phased = msgspec.structs.replace(FEW, timesteps=((999, 700, 300),), noise="kept")
    assert student_schedule(TEACHER, phased).steps == 3
    assert student_schedule(TEACHER, msgspec.structs.replace(FEW, timesteps=())).steps == 30
    with pytest.raises(ValueError, match="steps it supports"):
        student_schedule(TEACHER, FEW, 3)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_the_runtimes_schedule_is_consistency_sampling(steps: int) -> None:
    """The update by coefficients against (1 - s) f(x) + s noise written out, with the same fresh noise."""
    teacher = small_teacher(guidance=1.0)
    batch = SmallExamples().batch([0, 1])
    scene = teacher.scene(batch)
    noise = torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(0))
    schedule = painter_schedule(student_schedule(TEACHER, FEW, steps), steps, "student")
    found = paint(teacher.painter, scene, noise, schedule, fresh=torch.Generator().manual_seed(1))
    row = next(row for row in FEW.timesteps if len(row) == steps)
    fresh, latent = torch.Generator().manual_seed(1), noise
    with torch.no_grad():
        for time, following in zip(row, (*row[1:], 0), strict=True):
            sigma, level = torch.tensor(time / 1000), torch.tensor(float(time))
            data = teacher.painter.data(latent, sigma, level, scene.condition, scene.mask, scene.source)
            drawn = torch.randn(noise.shape, generator=fresh) if following else torch.zeros_like(noise)
            latent = (1 - following / 1000) * data + following / 1000 * drawn
    assert torch.allclose(found, latent, atol=1e-6)


class Weights:
    """A source of the teacher's own painter."""

    def __init__(self, way: Distillation) -> None:
        self.state = {f"painter.{name}": value for name, value in way.teacher.painter.state_dict().items()}

    def read(self, name: str) -> torch.Tensor:
        return self.state[name]


def test_adapters_are_merged_into_what_is_written() -> None:
    way = objective()
    adapt(way.student, rank=4, scale=2.0)
    named = dict(way.parameters_of("student"))
    with torch.no_grad():
        for value in named.values():
            value += 0.02 * torch.randn_like(value)
    tensors = painter_tensors(way, Weights(way), named)  # type: ignore[arg-type]
    merge(way.student)
    state = {f"painter.{name}": value for name, value in way.student.state_dict().items()}
    assert tensors.keys() < state.keys()
    assert all(torch.equal(value, state[name]) for name, value in tensors.items())
    changed = {name for name in state if not torch.equal(state[name], Weights(way).read(name))}
    assert changed == set(tensors)


def test_whole_weights_are_written_under_the_painters_names() -> None:
    way = objective()
    tensors = painter_tensors(way, Weights(way), dict(way.parameters_of("student")))  # type: ignore[arg-type]
    names = {f"painter.{name}" for name, _ in way.student.named_parameters()}
    assert set(tensors) == names - {"painter.null_condition"}


def test_nano_is_a_teacher_of_its_preset() -> None:
    """A residual painter with positions and patches: what its student says first is what it says itself."""
    config = load_config("nano-sprint")
    start = open_start(config.model, "edit", 0, offline=True)
    way = open_objective(config, start)
    painter = start.config.painter
    shape = (2, painter.latent_channels, 16, 16)
    generator = torch.Generator().manual_seed(0)
    target, source, noise = torch.randn(3, *shape, generator=generator)
    rows = torch.randn(2, 9, start.parts.designer.text_config.hidden_size, generator=generator)
    batch = Batch(target, source, rows, torch.ones(2, 9), ["a", "b"])
    loss, figures = way.loss("student", batch, 0, generator)
    loss.backward()
    assert torch.isfinite(loss)
    assert float(figures["tangent"]) > 0
    scene = way.teacher.scene(batch)
    schedule = painter_schedule(student_schedule(start.config.schedule, way.facts(1), 1), 1, "student")
    assert torch.equal(paint(way.student, scene, noise, schedule), paint(way.teacher.painter, scene, noise, schedule))


def test_a_start_that_was_never_trained_is_no_teacher() -> None:
    config = load_config("nano-sprint")
    start = Widened(open_start(config.model, "edit", 0, offline=True))
    with pytest.raises(InputError, match="a teacher is a trained"):
        open_objective(config, start)


@pytest.mark.parametrize("name", ["dim-4.6b-sprint", "nano-sprint"])
def test_presets_are_read_and_written_back_whole(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    assert config.objective == "distill"
    assert isinstance(config.distill.method, ConsistencySettings)
    (tmp_path / "config.toml").write_bytes(encode_config(config))
    assert load_config(tmp_path / "config.toml") == config


@pytest.mark.parametrize(("way", "kind"), [("guidance", "GuidanceSettings"), ("phased", "PhasedSettings")])
def test_the_method_is_chosen_by_its_way(way: str, kind: str) -> None:
    raw = {"loop": {"steps": 1, "batch": 1}, "objective": "distill", "distill": {"method": {"way": way}}}
    assert type(msgspec.convert(raw, TrainConfig).distill.method).__name__ == kind


def test_a_wrong_key_of_the_method_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('base = "nano-sprint"\n[distill.method]\nedges = [999]\n')
    with pytest.raises(InputError, match=r"c\.toml.*edges"):
        load_config(tmp_path / "c.toml")


def test_the_torch_and_the_numpy_update_are_one() -> None:
    """Coefficients of the kept kind, in float64, against the flow's straight step."""
    kept = msgspec.structs.replace(FEW, noise="kept")
    rng = np.random.default_rng(0)
    latent, velocity = rng.normal(size=(2, 8))
    for call in painter_schedule(student_schedule(TEACHER, kept, 4), 4, "student")[:-1]:
        sigma, a, b, c = call.coefficients
        lower = sigma * a
        assert np.allclose(a * latent + b * (latent - sigma * velocity), latent - (sigma - lower) * velocity)
        assert c == 0
