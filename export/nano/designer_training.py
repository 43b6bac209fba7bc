"""Training of nano's designer: the vision tower learns to see scenes, then the whole model learns to write plans."""

import json
import logging
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import Qwen2_5_VLForConditionalGeneration

from dimrt.export.nano.cases import Case, Mixture, draw_case, generator
from dimrt.export.nano.designer import (
    HIDDEN,
    build_designer,
    embed_pictures,
    load_prompts,
    run_text,
    save_designer,
    text_positions,
    view_pictures,
)
from dimrt.export.nano.edits import EDIT_TYPES
from dimrt.export.nano.photos import photo_crop, texture
from dimrt.export.nano.scenes import CELLS, Scene, render, sample_scene
from dimrt.export.nano.shapes import BACKGROUNDS, COLOURS, SHAPES, SIZES, TEXTURES
from dimrt.manifest import Designer
from dimrt.prompt import Prompts

log = logging.getLogger(__name__)

IGNORED = -100
LOOK_WEIGHT = 3.0
"""Weight of the first phase's loss in the second: what the plan says of the picture must be seen first."""
_PADDING = 16
_IMAGE_TOKENS = 16
_POOL = 8
_ITEM_COUNTS = (0.45, 0.3, 0.15, 0.1)
MIXTURE = Mixture(
    photos=0.22,
    textures=0.08,
    kinds=tuple((kind, 0.4 if kind == "compose" else 1.0) for kind in EDIT_TYPES),
    items=_ITEM_COUNTS,
)
"""What the designer learns from."""
FORMS = (
    *("write full", "write brief") * 5,
    *("write short", "write brief", "read full", "read brief") * 2,
    "read short",
    "bare",
)
"""Forms of the turns, in turn (see `encode_turn`)."""


@dataclass(frozen=True)
class Recipe:
    """Length and learning rates. A step of the first phase sees `look_batch` pictures, of the second `batch` turns.

    The lengths are those of the shipped designer: 27 minutes on one core. Its loss was still falling.
    """

    look_steps: int = 300
    look_batch: int = 64
    steps: int = 1150
    batch: int = 24
    muon_rate: float = 3e-3
    adam_rate: float = 2e-3
    warmup: int = 50
    seed: int = 0
    save_every: int = 100


class SceneReader(nn.Module):
    """Reads a scene off the image tokens with one linear layer. It only serves training: it gives the vision tower a
    direct reason to tell shapes, colours, sizes and backgrounds apart."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = [(len(table) + 1) for _ in CELLS for table in (SHAPES, COLOURS, SIZES)]
        self.sizes += [len(TEXTURES) + 1, len(BACKGROUNDS) + 1]
        self.head = nn.Linear(_IMAGE_TOKENS * HIDDEN, sum(self.sizes))

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross entropy and accuracy over all slots. `images` [B,16,hidden], `labels` int64 [B, slots]."""
        parts = self.head(images.flatten(1).float()).split(self.sizes, dim=1)
        losses = [functional.cross_entropy(part, labels[:, index]) for index, part in enumerate(parts)]
        hits = [(part.argmax(1) == labels[:, index]).float().mean() for index, part in enumerate(parts)]
        return torch.stack(losses).mean(), torch.stack(hits).mean()


def scene_labels(scene: Scene | None) -> list[int]:
    """Class of each slot of `SceneReader`: 0 for nothing there, else one more than the place in its table."""
    items = {item.cell: item for item in scene.items} if scene else {}
    labels: list[int] = []
    for cell in CELLS:
        item = items.get(cell)
        names = (item.shape, item.colour, item.size) if item else (None, None, None)
        for name, table in zip(names, (SHAPES, COLOURS, SIZES), strict=True):
            labels.append(list(table).index(name) + 1 if name else 0)
    background = scene.background if scene else None
    labels.append(TEXTURES.index(background.texture) + 1 if background else 0)
    labels.append(list(BACKGROUNDS).index(background.colour) + 1 if background else 0)
    return labels


def look_batch(seed: int, step: int, size: int) -> tuple[list[NDArray[np.uint8]], Tensor]:
    """Pictures and labels of one step of the first phase: mostly scenes, some photographs and colour fields."""
    pictures, labels = [], []
    for index in range(size):
        rng = generator("training", seed + 1000, step * size + index)
        if rng.random() < 0.12:
            pictures.append(photo_crop(rng) if rng.random() < 0.6 else texture(rng))
            labels.append(scene_labels(None))
            continue
        scene = sample_scene(rng, 1 + int(rng.choice(4, p=_ITEM_COUNTS)))
        pictures.append(render(scene))
        labels.append(scene_labels(scene))
    return pictures, torch.tensor(labels)


@dataclass(frozen=True)
class TurnBatch:
    """`ids` int64 [B, L] padded at the end; `targets` the same with `IGNORED` where nothing is learned; `labels`
    [B, slots] say what each picture shows (`scene_labels`)."""

    pictures: list[NDArray[np.uint8]]
    ids: Tensor
    targets: Tensor
    labels: Tensor


def encode_turn(case: Case, form: str, prompts: Prompts, facts: Designer) -> tuple[NDArray[np.int64], int]:
    """Ids of one turn, and where the part to learn starts.

    `form` is `bare` (the instruction as condition), or what happens with a plan of which style: `write full` asks for
    the plan, `read full` has it as condition.
    """
    stop = np.array([facts.tokens.im_end], np.int64)
    act, _, style = form.partition(" ")
    if act == "write":
        turn = prompts.plan_turn(case.instruction, _IMAGE_TOKENS, style)
        return np.concatenate([turn.ids, prompts.encode(case.plan.text(style)), stop]), len(turn.ids)
    turn = prompts.condition_turn(case.plan.text(style) if act == "read" else case.instruction, _IMAGE_TOKENS)
    return np.concatenate([turn.ids, stop]), turn.shared


def turn_batch(cases: list[Case], forms: list[str], prompts: Prompts, facts: Designer) -> TurnBatch:
    """Encode cases as turns, padded to a multiple of 16 tokens (few shapes keep the kernels compiled)."""
    rows = [encode_turn(case, form, prompts, facts) for case, form in zip(cases, forms, strict=True)]
    length = -(-max(len(ids) for ids, _ in rows) // _PADDING) * _PADDING
    ids = np.full((len(rows), length), facts.tokens.stop[1], np.int64)
    targets = np.full((len(rows), length), IGNORED, np.int64)
    for row, (tokens, start) in enumerate(rows):
        ids[row, : len(tokens)] = tokens
        targets[row, start : len(tokens)] = tokens[start:]
    labels = torch.tensor([scene_labels(case.before) for case in cases])
    return TurnBatch([case.source for case in cases], torch.from_numpy(ids), torch.from_numpy(targets), labels)


@lru_cache(maxsize=1)
def _pool(recipe: Recipe, number: int, prompts: Prompts, facts: Designer) -> tuple[tuple[Case, str], ...]:
    """Cases and forms of `_POOL` steps, sorted by length, so that the turns of one step need little padding."""
    size = recipe.batch * _POOL
    turns = []
    for index in range(number * size, (number + 1) * size):
        turns.append((draw_case("training", recipe.seed, index, MIXTURE), FORMS[index % len(FORMS)]))
    return tuple(sorted(turns, key=lambda turn: len(encode_turn(*turn, prompts, facts)[0])))


def training_turns(recipe: Recipe, step: int, prompts: Prompts, facts: Designer) -> TurnBatch:
    """The turns of one step of the second phase, all of about the same length."""
    number, place = divmod(step, _POOL)
    order = np.random.default_rng((recipe.seed, number)).permutation(_POOL)
    start = int(order[place]) * recipe.batch
    turns = _pool(recipe, number, prompts, facts)[start : start + recipe.batch]
    return turn_batch([case for case, _ in turns], [form for _, form in turns], prompts, facts)


def turn_loss(
    model: Qwen2_5_VLForConditionalGeneration, images: Tensor, batch: TurnBatch, facts: Designer
) -> tuple[Tensor, Tensor]:
    """Mean next-token loss and accuracy over the learned tokens."""
    positions = text_positions(batch.ids[0].numpy(), facts.tokens)
    hidden = run_text(model, batch.ids, images, positions)
    targets = batch.targets[:, 1:]
    learned = targets != IGNORED
    logits = model.lm_head(hidden[:, :-1][learned]).float()
    return functional.cross_entropy(logits, targets[learned]), (logits.argmax(1) == targets[learned]).float().mean()


def optimisers(modules: list[nn.Module], recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the inner matrices, AdamW for embeddings, norms, biases and heads."""
    named = {name: p for module in modules for name, p in module.named_parameters()}
    matrices = [p for name, p in named.items() if p.ndim == 2 and ("blocks." in name or "layers." in name)]
    chosen = {id(p) for p in matrices}
    others = [p for p in named.values() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=recipe.muon_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.adam_rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def rate_at(fraction: float, step: int, warmup: int) -> float:
    """Share of the full learning rate: linear warm-up, flat, then linearly down over the last 40 %."""
    return min(1.0, (step + 1) / warmup, max(0.02, (1 - fraction) / 0.4))


def _update(optims: list[torch.optim.Optimizer], bases: list[float], scale: float, loss: Tensor) -> None:
    for optim, base in zip(optims, bases, strict=True):
        for group in optim.param_groups:
            group["lr"] = base * scale
        optim.zero_grad(set_to_none=True)
    loss.backward()
    for optim in optims:
        nn.utils.clip_grad_norm_([p for group in optim.param_groups for p in group["params"]], 1.0)
        optim.step()


def train_designer(
    folder: Path, recipe: Recipe, *, finish_at: float | None = None
) -> Qwen2_5_VLForConditionalGeneration:
    """Train, or go on where `folder/state.pt` stands, and save the result in `folder/qwen`.

    Args:
        folder: working folder; holds `tokenizer.json`, `state.pt`, `log.jsonl` and, at the end, `qwen/`.
        recipe: lengths and rates.
        finish_at: wall-clock time (epoch seconds) to be done by; the learning rate then falls towards that moment
            instead of towards the last step.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = folder / "tokenizer.json"
    prompts, facts = load_prompts(tokenizer)
    model, reader = build_designer(tokenizer, recipe.seed), SceneReader()
    model.train()
    optims = optimisers([model, reader], recipe)
    state = folder / "state.pt"
    step = 0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"])
        reader.load_state_dict(saved["reader"])
        for optim, content in zip(optims, saved["optims"], strict=True):
            optim.load_state_dict(content)
        step = saved["step"]
    bases = [recipe.muon_rate, recipe.adam_rate]
    total = recipe.look_steps + recipe.steps
    begun = time.time()
    while step < total:
        looking = step < recipe.look_steps
        done = step - recipe.look_steps
        fraction = 0.0 if looking else done / recipe.steps
        if finish_at is not None:
            fraction = (time.time() - begun) / max(finish_at - begun, 1e-9)
            if fraction >= 1:
                break
        loss, record = _step(model, reader, recipe, step, prompts, facts)
        _update(optims, bases, rate_at(fraction, step if looking else done, recipe.warmup), loss)
        step += 1
        if step % 20 == 0:
            record |= {"step": step, "seconds": round(time.time() - begun, 1)}
            with (folder / "log.jsonl").open("a") as lines:
                lines.write(json.dumps(record) + "\n")
            log.info("%s", record)
        if step % recipe.save_every == 0:
            _save_state(state, model, reader, optims, step)
    _save_state(state, model, reader, optims, step)
    model.eval()
    save_designer(model, tokenizer, folder / "qwen")
    return model


def _step(
    model: Qwen2_5_VLForConditionalGeneration,
    reader: SceneReader,
    recipe: Recipe,
    step: int,
    prompts: Prompts,
    facts: Designer,
) -> tuple[Tensor, dict[str, float]]:
    """Loss of one step and what to log of it."""
    if step < recipe.look_steps:
        pictures, labels = look_batch(recipe.seed, step, recipe.look_batch)
        images = embed_pictures(model, view_pictures(pictures, facts.vision))
        loss, hits = reader.loss(images, labels)
        return loss, {"look_loss": round(loss.item(), 4), "seen": round(hits.item(), 4)}
    batch = training_turns(recipe, step - recipe.look_steps, prompts, facts)
    images = embed_pictures(model, view_pictures(batch.pictures, facts.vision))
    loss, hits = turn_loss(model, images, batch, facts)
    look, seen = reader.loss(images, batch.labels)
    record = {"loss": loss, "tokens_right": hits, "look_loss": look, "seen": seen}
    return loss + LOOK_WEIGHT * look, {name: round(value.item(), 4) for name, value in record.items()}


def _save_state(
    path: Path, model: nn.Module, reader: nn.Module, optims: list[torch.optim.Optimizer], step: int
) -> None:
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "model": model.state_dict(),
            "reader": reader.state_dict(),
            "optims": [optim.state_dict() for optim in optims],
            "step": step,
        },
        partial,
    )
    partial.replace(path)
