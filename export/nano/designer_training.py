"""Training of nano's designer: the vision tower learns to see scenes, then the whole model learns to write plans, easy
ones first."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Qwen2_5_VLForConditionalGeneration

from dimrt.export.nano.designer import build_designer, embed_pictures, load_prompts, run_text, save_designer
from dimrt.export.nano.readers import Readers
from dimrt.export.nano.turns import HARD_FORMS, HARD_MIXTURE, IGNORED, LookBatch, Looks, TurnBatch, Turns
from dimrt.export.train.hooks import Hooks, TrainEvent
from dimrt.export.train.loop import train
from dimrt.export.train.objective import Objective
from dimrt.export.train.settings import LoopSettings, OptimizerSettings

log = logging.getLogger(__name__)

LOOK_WEIGHT = 3.0
"""Weight of the first phase's loss in the later ones: what the plan says of the picture must be seen first."""
RECALL_WEIGHT = 0.3
OPTIMIZER = OptimizerSettings("muon", rate=2e-3, matrix_rate=3e-3, weight_decay=0.01, betas=(0.9, 0.98))


@dataclass(frozen=True)
class Recipe:
    """Length of the three phases and examples of a step."""

    look_steps: int = 800
    look_batch: int = 64
    steps: int = 14000
    hard_steps: int = 5000
    batch: int = 24
    warmup: int = 50
    seed: int = 0
    save_every: int = 100


class Lesson(Objective):
    """A designer and what reads its states."""

    players: ClassVar[tuple[str, ...]] = ("designer",)
    outer: ClassVar[tuple[str, ...]] = (
        "model.model.language_model.embed_tokens",
        "model.model.visual.patch_embed",
        "model.model.visual.merger",
        "model.lm_head",
        "readers",
    )

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration, readers: Readers) -> None:
        super().__init__()
        self.model, self.readers = model, readers


class LookLesson(Lesson):
    """The first phase: see what a picture shows."""

    def loss(
        self, player: str, batch: LookBatch, step: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cross entropy over what the pictures show."""
        loss, seen = self.readers.scene.loss(embed_pictures(self.model, batch.views), batch.labels)
        return loss, {"seen": seen}


class PlanLesson(Lesson):
    """The second and third phase: write plans, and keep in mind what was seen and read."""

    def loss(
        self, player: str, batch: TurnBatch, step: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Next-token loss, with the readers' losses beside it."""
        images = embed_pictures(self.model, batch.views)
        hidden = run_text(self.model, batch.ids, images, batch.positions)
        words, right = next_token_loss(self.model, hidden, batch.targets)
        look, seen = self.readers.scene.loss(images, batch.labels)
        total = words + LOOK_WEIGHT * look
        figures = {"words": words.detach(), "tokens_right": right, "seen": seen}
        if batch.read.any():
            recall, recalled = self.readers.text.loss(hidden, batch.ids, batch.read, self.model.lm_head.weight)
            total = total + RECALL_WEIGHT * recall
            figures["recalled"] = recalled
        return total, figures


def next_token_loss(
    model: Qwen2_5_VLForConditionalGeneration, hidden: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean next-token loss and accuracy where `targets` [B, L] aren't `IGNORED`. `hidden` [B, L, hidden]."""
    following = targets[:, 1:]
    learned = following != IGNORED
    logits = model.lm_head(hidden[:, :-1][learned]).float()
    hits = logits.argmax(1) == following[learned]
    return functional.cross_entropy(logits, following[learned]), hits.float().mean()


def train_designer(folder: Path, recipe: Recipe) -> Qwen2_5_VLForConditionalGeneration:
    """Train, or go on where the runs in `folder` stand, and save the result (averaged weights) in `folder/qwen`.

    Args:
        folder: working folder; holds `tokenizer.json`, the runs `look/`, `plan/` and `hard/` and, at the end, `qwen/`.
        recipe: length of the phases.

    Raises:
        Cancelled: interrupted; the state is saved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = folder / "tokenizer.json"
    prompts, facts = load_prompts(tokenizer)
    torch.manual_seed(recipe.seed)
    model, readers = build_designer(tokenizer, recipe.seed), Readers()
    looks = Looks(recipe.look_steps * recipe.look_batch, recipe.seed, facts.vision)
    turns = Turns(recipe.steps * recipe.batch, recipe.seed, prompts, facts)
    hard = Turns(recipe.hard_steps * recipe.batch, recipe.seed + 1, prompts, facts, HARD_MIXTURE, HARD_FORMS)
    phases = (
        ("look", LookLesson(model, readers), looks, recipe.look_steps, recipe.look_batch, 0.0),
        ("plan", PlanLesson(model, readers), turns, recipe.steps, recipe.batch, 0.4),
        ("hard", PlanLesson(model, readers), hard, recipe.hard_steps, recipe.batch, 0.6),
    )
    for name, lesson, examples, steps, batch, decay in phases:
        settings = LoopSettings(
            steps=steps,
            batch=batch,
            seed=recipe.seed,
            warmup=recipe.warmup,
            decay=decay,
            average=0.998,
            optimizer={"designer": OPTIMIZER},
            log_every=20,
            save_every=recipe.save_every,
        )
        train(lesson, examples, settings, folder / name, Hooks(on_event=_say(name)))
    save_designer(model.cpu(), tokenizer, folder / "qwen")
    return model


def _say(phase: str) -> Callable[[TrainEvent], None]:
    def on_event(event: TrainEvent) -> None:
        figures = ", ".join(f"{name.split('/')[-1]} {value:.4g}" for name, value in event.figures.items())
        log.info("%s: step %d of %d: %s", phase, event.step, event.steps, figures)

    return on_event
