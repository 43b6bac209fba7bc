"""Which way of distilling? A small velocity painter on points in the plane, where every answer can be counted.

The teacher is a small residual network in the place of the painter's transformer, with the painter's timesteps (whole
numbers up to 999, diffusers' sinusoid) and null condition, trained by the product's flow matching on two classes of
four clusters each, and guided at scale 2 in 30 steps. Its students learn from it by every way that `dimrt distill` has,
for equally many optimizer steps, and are compared with its samples at one, two and four steps:

- distance: energy distance between 4096 samples of each (Szekely and Rizzo 2013), in the plane's units. The floor is
  the same between two runs of the teacher.
- off: the share of samples farther than 0.4 from every cluster of the asked class; blurred averages end up there.
- fewest: the share of the least visited cluster (a quarter each would be even); a collapsed painter has none.

`python benchmarks/distill_choice.py` takes some minutes of one core and writes results/distill-choice.json.

What was chosen by it. One seed: a longer run of the same ways differed by up to 0.04, so smaller differences mean
little. The floor is 0.06; the guided teacher itself has 1.02, 0.82 and 0.41 at one, two and four steps.

- Guidance alone repeats its teacher within the floor at 30 steps and half the cost, and can't do with few: it stays a
  way of its own.
- The exact tangent of consistency diverges (2.5 at one step) on the painter's time embedding, which turns by radians
  from one timestep to the next. Over five whole timesteps the same objective gives 0.12, 0.12 and 0.13. That is the
  default; it also needs no forward derivatives.
- With the critic it is 0.09, 0.10 and 0.11: nearer at every count, though by no more than runs differ, for nearly four
  times the cost of a step. SANA-Sprint's recipe with that tangent is the real model's preset; nano's has no critic.
- Fresh noise and kept noise are equal at two steps; at four the fresh is nearer (0.11 against 0.15), while the kept has
  fewer points off. A consistency function is trained on independent noise, so fresh is taken.
- The teacher's solver on a student works (0.16) and is no better than the student's own steps: it is there on demand.
- Phased consistency is as near or nearer at its own count (0.11 in two steps, 0.08 in four), but a student knows that
  count alone, the graph having no input for where a step ends. One student for one to four steps decides for
  consistency; who needs exactly four has `way = "phased"`.
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from common import write_result
from diffusers.models.embeddings import Timesteps
from msgspec import structs
from torch import Tensor, nn
from torch.nn import functional

from dimrt.export.model.config import PainterConfig
from dimrt.export.model.painter import Painter
from dimrt.export.train.data.batch import Batch
from dimrt.export.train.distill.consistency import ConsistencyDistillation, ConsistencySettings
from dimrt.export.train.distill.critic import CriticSettings
from dimrt.export.train.distill.guidance import GuidanceDistillation, GuidanceSettings
from dimrt.export.train.distill.network import Scene, Teacher
from dimrt.export.train.distill.phased import PhasedDistillation, PhasedSettings
from dimrt.export.train.distill.sampling import paint
from dimrt.export.train.flow import FlowObjective, FlowSettings
from dimrt.export.train.objective import Objective
from dimrt.manifest import Distilled
from dimrt.schedule import Step, few_steps, flow_schedule

CLUSTERS, RADIUS, SPREAD, NEAR = 8, 1.4, 0.1, 0.4
HIDDEN, DEPTH, WIDTH = 96, 3, 16
GUIDANCE, STEPS = 2.0, 30
SECOND = (900, 600, 400)
COUNTED = 4096


@dataclass(frozen=True)
class Plane:
    """Points around a ring of eight clusters; class 0 has the even ones, class 1 the odd ones."""

    rows: Tensor
    """[2, 1, WIDTH]: one condition row a class."""

    def batch(self, count: int, generator: torch.Generator) -> Batch:
        """Random points with their classes."""
        kind = torch.randint(2, (count,), generator=generator)
        cluster = kind + 2 * torch.randint(CLUSTERS // 2, (count,), generator=generator)
        points = centres()[cluster] + SPREAD * torch.randn(count, 2, generator=generator)
        return Batch(
            points[:, :, None, None], None, self.rows[kind], torch.ones(count, 1), [str(n) for n in range(count)]
        )

    def scene(self, kind: int, count: int) -> Scene:
        """`count` times one class."""
        return Scene(self.rows[kind].expand(count, -1, -1), torch.ones(count, 1), None)


def centres() -> Tensor:
    """[8, 2]."""
    angle = torch.arange(CLUSTERS) * (2 * math.pi / CLUSTERS)
    return RADIUS * torch.stack([angle.cos(), angle.sin()], 1)


class Block(nn.Module):
    """A residual layer that time and condition shift: [B, 1, D] to the same."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(HIDDEN, 2 * HIDDEN), nn.Linear(2 * HIDDEN, HIDDEN)
        self.told = nn.Linear(HIDDEN, 2 * HIDDEN)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """told [B, 1, D]: time and condition."""
        return x + self.leave(functional.silu(self.enter(functional.layer_norm(x, x.shape[-1:])) + self.told(told)))


class Network(nn.Module):
    """Called as diffusers' SANA transformer is."""

    def __init__(self) -> None:
        super().__init__()
        self.sinusoid = Timesteps(HIDDEN, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN))
        self.condition = nn.Linear(WIDTH, HIDDEN)
        self.enter, self.leave = nn.Linear(2, HIDDEN), nn.Linear(HIDDEN, 2)
        self.transformer_blocks = nn.ModuleList(Block() for _ in range(DEPTH))

    def forward(
        self, latent: Tensor, condition: Tensor, timestep: Tensor, encoder_attention_mask: Tensor, return_dict: bool
    ) -> tuple[Tensor]:
        """latent [B, 2, 1, 1], condition [B, 1, WIDTH], timestep [B]."""
        told = self.time(self.sinusoid(timestep))[:, None] + self.condition(condition)
        x = self.enter(latent.flatten(2).transpose(1, 2))
        for block in self.transformer_blocks:
            x = block(x, told)
        return (self.leave(x).transpose(1, 2)[..., None],)


class PlanePainter(Painter):
    """The painter around that network: two channels on a grid of one token."""

    def __init__(self, seed: int) -> None:
        nn.Module.__init__(self)
        torch.manual_seed(seed)
        self.config = PainterConfig("generate", 2, HIDDEN, DEPTH, 4, 16, WIDTH, 1)
        self.transformer = Network()
        self.null_condition = nn.Parameter(torch.randn(1, WIDTH))


def learn(objective: Objective, plane: Plane, steps: int, rates: dict[str, float], batch: int = 256) -> float:
    """Train with Adam, rates falling linearly over the second half, weights averaged. Returns seconds a step."""
    objective.train()
    named = {name: dict(objective.parameters_of(name)) for name in objective.players}
    optimizers = {
        name: torch.optim.Adam(held.values(), lr=rates[name], betas=(0.9, 0.99)) for name, held in named.items()
    }
    first = list(named[objective.players[0]].values())
    average = [value.detach().clone() for value in first]
    began = time.process_time()
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        drawn = plane.batch(batch, generator)
        for player in objective.turns(step):
            for name, held in named.items():
                for value in held.values():
                    value.requires_grad_(name == player)
            for group in optimizers[player].param_groups:
                group["lr"] = rates[player] * min(1.0, (step + 1) / 50, 2 * (1 - step / steps))
            optimizers[player].zero_grad()
            objective.loss(player, drawn, step, generator)[0].backward()
            nn.utils.clip_grad_norm_(named[player].values(), 1.0)
            optimizers[player].step()
        decay = min(0.995, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(average, [value.detach() for value in first], 1 - decay)
    with torch.no_grad():
        for value, averaged in zip(first, average, strict=True):
            value.copy_(averaged)
    objective.eval()
    return (time.process_time() - began) / steps


def sampled(painter: Painter, plane: Plane, schedule: Sequence[Step], guidance: float, seed: int) -> list[Tensor]:
    """Points [COUNTED / 2, 2] of each class."""
    points = []
    for kind in (0, 1):
        generator = torch.Generator().manual_seed(seed * 2 + kind)
        noise = torch.randn(COUNTED // 2, 2, 1, 1, generator=generator)
        scene = plane.scene(kind, len(noise))
        points.append(paint(painter, scene, noise, schedule, guidance, generator)[:, :, 0, 0])
    return points


def judged(points: list[Tensor], wanted: list[Tensor]) -> dict[str, float]:
    """The figures of the module's docstring, means over the classes."""
    rows = []
    for kind, (found, true) in enumerate(zip(points, wanted, strict=True)):
        apart = torch.cdist(found, centres()[kind::2])
        nearest, place = apart.min(1)
        here = torch.bincount(place[nearest < NEAR], minlength=CLUSTERS // 2) / len(found)
        energy = 2 * torch.cdist(found, true).mean() - torch.cdist(found, found).mean() - torch.cdist(true, true).mean()
        rows.append((energy.clamp_min(0).sqrt(), (nearest >= NEAR).float().mean(), here.min()))
    names = ("distance", "off", "fewest")
    return {name: round(float(sum(row[i] for row in rows) / 2), 4) for i, name in enumerate(names)}


def students(teacher: Teacher, warmup: int) -> dict[str, Callable[[], Any]]:
    """Every way, by name."""
    alone, judged_too = CriticSettings(weight=0.0), CriticSettings(weight=0.5, width=64)

    def consistent(**given: Any) -> Any:
        return ConsistencyDistillation(teacher, ConsistencySettings(warmup=warmup, **given))

    return {
        "guidance alone": lambda: GuidanceDistillation(teacher, GuidanceSettings()),
        "consistency, exact tangent": lambda: consistent(critic=alone, tangent="jvp"),
        "consistency, tangent over 5 timesteps": lambda: consistent(critic=alone),
        "consistency, over 5, with critic": lambda: consistent(critic=judged_too),
        "phased, 2": lambda: PhasedDistillation(teacher, PhasedSettings(edges=(999, 780))),
        "phased, 4": lambda: PhasedDistillation(teacher, PhasedSettings()),
    }


def schedules(facts: Distilled) -> dict[str, tuple[Step, ...]]:
    """What a student is sampled with: its own schedules; the consistent ones also with other second steps, with the
    noise kept, and by the teacher's solver."""
    if not facts.timesteps:
        return {f"{count}": flow_schedule(count, 3.0) for count in (1, 2, 4, STEPS)}
    own = {f"{len(row)}": few_steps(facts, len(row)) for row in facts.timesteps}
    if facts.noise == "kept":
        return own
    for second in SECOND:
        own[f"2, second at {second}"] = few_steps(structs.replace(facts, timesteps=((999, second),)), 2)
    kept = structs.replace(facts, noise="kept")
    own |= {f"{count}, noise kept": few_steps(kept, count) for count in (2, 4)}
    return own | {f"{STEPS}, the teacher's solver": flow_schedule(STEPS, 3.0)}


def main() -> None:
    """Train, distil, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher-steps", type=int, default=2500)
    parser.add_argument("--steps", type=int, default=1200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    plane = Plane(torch.randn(2, 1, WIDTH, generator=torch.Generator().manual_seed(0)))
    painter = PlanePainter(0)
    seconds = learn(FlowObjective(painter, nn.Identity(), FlowSettings()), plane, args.teacher_steps, {"painter": 2e-3})
    teacher = Teacher(painter, nn.Identity(), GUIDANCE)
    wanted = sampled(painter, plane, flow_schedule(STEPS, 3.0), GUIDANCE, 0)
    measured: dict[str, Any] = {"teacher": {"seconds_per_step": round(seconds, 4)}}
    for count in (1, 2, 4, STEPS):
        points = sampled(painter, plane, flow_schedule(count, 3.0), GUIDANCE, 1)
        measured["teacher"][str(count)] = judged(points, wanted)
    print(measured, flush=True)
    for name, make in students(teacher, args.steps // 4).items():
        objective = make()
        seconds = learn(objective, plane, args.steps, {"student": 5e-4, "critic": 5e-4})
        row: dict[str, Any] = {"seconds_per_step": round(seconds, 4)}
        for label, schedule in schedules(objective.facts(STEPS)).items():
            row[label] = judged(sampled(objective.student, plane, schedule, 1.0, 1), wanted)
        measured[name] = row
        print(name, row, flush=True)
    write_result("distill-choice", {**vars(args), "guidance": GUIDANCE, "clusters": CLUSTERS}, measured)


if __name__ == "__main__":
    main()
