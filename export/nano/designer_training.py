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
from dimrt.export.nano.readers import IMAGE_TOKENS, Readers, scene_labels
from dimrt.export.nano.scenes import render, sample_scene
from dimrt.manifest import Designer
from dimrt.prompt import Prompts

log = logging.getLogger(__name__)

IGNORED = -100
LOOK_WEIGHT = 3.0
"""Weight of the first phase's loss in the second: what the plan says of the picture must be seen first."""
RECALL_WEIGHT = 0.3
_PADDING = 16
_POOL = 8
_ITEM_COUNTS = (0.45, 0.3, 0.15, 0.1)
MIXTURE = Mixture(
    photos=0.22,
    textures=0.08,
    kinds=(*((kind, 0.4 if kind == "compose" else 1.0) for kind in EDIT_TYPES), ("many", 0.5)),
    items=_ITEM_COUNTS,
)
"""What the designer learns from. Many edits at once are only read, never planned."""
FORMS = (
    *("write full", "write brief") * 5,
    *("write short", "write brief", "read full", "read brief") * 2,
    "read short",
    "read brief",
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
    """`ids` int64 [B, L] padded at the end; `targets` the same with `IGNORED` where nothing is learned; `read` bool
    [B, L] marks the text of conditions; `labels` [B, slots] say what each picture shows (`scene_labels`)."""

    pictures: list[NDArray[np.uint8]]
    ids: Tensor
    targets: Tensor
    read: Tensor
    labels: Tensor


def encode_turn(case: Case, form: str, prompts: Prompts, facts: Designer) -> tuple[NDArray[np.int64], int]:
    """Ids of one turn, and where the part to learn starts.

    `form` is `bare` (the instruction as condition), or what happens with a plan of which style: `write full` asks for
    the plan, `read full` has it as condition.
    """
    stop = np.array([facts.tokens.im_end], np.int64)
    act, _, style = form.partition(" ")
    if act == "write":
        turn = prompts.plan_turn(case.instruction, IMAGE_TOKENS, style)
        return np.concatenate([turn.ids, prompts.encode(case.plan.text(style)), stop]), len(turn.ids)
    turn = prompts.condition_turn(case.plan.text(style) if act == "read" else case.instruction, IMAGE_TOKENS)
    return np.concatenate([turn.ids, stop]), turn.shared


def turn_batch(cases: list[Case], forms: list[str], prompts: Prompts, facts: Designer) -> TurnBatch:
    """Encode cases as turns, padded to a multiple of 16 tokens (few shapes keep the kernels compiled)."""
    rows = [encode_turn(case, form, prompts, facts) for case, form in zip(cases, forms, strict=True)]
    length = -(-max(len(ids) for ids, _ in rows) // _PADDING) * _PADDING
    ids = np.full((len(rows), length), facts.tokens.stop[1], np.int64)
    targets = np.full((len(rows), length), IGNORED, np.int64)
    read = np.zeros((len(rows), length), np.bool_)
    for row, (tokens, start) in enumerate(rows):
        ids[row, : len(tokens)] = tokens
        targets[row, start : len(tokens)] = tokens[start:]
        read[row, start : len(tokens) - 1] = not forms[row].startswith("write")
    labels = torch.tensor([scene_labels(case.before) for case in cases])
    tables = (torch.from_numpy(table) for table in (ids, targets, read))
    return TurnBatch([case.source for case in cases], *tables, labels)


@lru_cache(maxsize=1)
def _pool(recipe: Recipe, number: int, prompts: Prompts, facts: Designer) -> tuple[tuple[Case, str], ...]:
    """Cases and forms of `_POOL` steps, sorted by length, so that the turns of one step need little padding."""
    size = recipe.batch * _POOL
    turns = []
    for index in range(number * size, (number + 1) * size):
        case = draw_case("training", recipe.seed, index, MIXTURE)
        turns.append((case, "read brief" if case.kind == "many" else FORMS[index % len(FORMS)]))
    return tuple(sorted(turns, key=lambda turn: len(encode_turn(*turn, prompts, facts)[0])))


def training_turns(recipe: Recipe, step: int, prompts: Prompts, facts: Designer) -> TurnBatch:
    """The turns of one step of the second phase, all of about the same length."""
    number, place = divmod(step, _POOL)
    order = np.random.default_rng((recipe.seed, number)).permutation(_POOL)
    start = int(order[place]) * recipe.batch
    turns = _pool(recipe, number, prompts, facts)[start : start + recipe.batch]
    return turn_batch([case for case, _ in turns], [form for _, form in turns], prompts, facts)


def turn_loss(model: Qwen2_5_VLForConditionalGeneration, hidden: Tensor, batch: TurnBatch) -> tuple[Tensor, Tensor]:
    """Mean next-token loss and accuracy over the learned tokens. `hidden` [B, L, hidden]."""
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
    model, readers = build_designer(tokenizer, recipe.seed), Readers()
    model.train()
    optims = optimisers([model, readers], recipe)
    state = folder / "state.pt"
    step = 0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"])
        readers.load_state_dict(saved["readers"])
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
        loss, record = _step(model, readers, recipe, step, prompts, facts)
        _update(optims, bases, rate_at(fraction, step if looking else done, recipe.warmup), loss)
        step += 1
        if step % 20 == 0:
            record |= {"step": step, "seconds": round(time.time() - begun, 1)}
            with (folder / "log.jsonl").open("a") as lines:
                lines.write(json.dumps(record) + "\n")
            log.info("%s", record)
        if step % recipe.save_every == 0:
            _save_state(state, model, readers, optims, step)
    _save_state(state, model, readers, optims, step)
    model.eval()
    save_designer(model, tokenizer, folder / "qwen")
    return model


def _step(
    model: Qwen2_5_VLForConditionalGeneration,
    readers: Readers,
    recipe: Recipe,
    step: int,
    prompts: Prompts,
    facts: Designer,
) -> tuple[Tensor, dict[str, float]]:
    """Loss of one step and what to log of it."""
    if step < recipe.look_steps:
        pictures, labels = look_batch(recipe.seed, step, recipe.look_batch)
        images = embed_pictures(model, view_pictures(pictures, facts.vision))
        loss, hits = readers.scene.loss(images, labels)
        return loss, {"look_loss": round(loss.item(), 4), "seen": round(hits.item(), 4)}
    batch = training_turns(recipe, step - recipe.look_steps, prompts, facts)
    images = embed_pictures(model, view_pictures(batch.pictures, facts.vision))
    hidden = run_text(model, batch.ids, images, text_positions(batch.ids[0].numpy(), facts.tokens))
    loss, hits = turn_loss(model, hidden, batch)
    look, seen = readers.scene.loss(images, batch.labels)
    record = {"loss": loss, "tokens_right": hits, "look_loss": look, "seen": seen}
    total = loss + LOOK_WEIGHT * look
    if batch.read.any():
        recall, recalled = readers.text.loss(hidden, batch.ids, batch.read, model.lm_head.weight)
        record |= {"recall_loss": recall, "recalled": recalled}
        total = total + RECALL_WEIGHT * recall
    return total, {name: round(value.item(), 4) for name, value in record.items()}


def _save_state(
    path: Path, model: nn.Module, readers: nn.Module, optims: list[torch.optim.Optimizer], step: int
) -> None:
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "model": model.state_dict(),
            "readers": readers.state_dict(),
            "optims": [optim.state_dict() for optim in optims],
            "step": step,
        },
        partial,
    )
    partial.replace(path)
