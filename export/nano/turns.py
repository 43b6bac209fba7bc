"""What nano's designer learns from: pictures with what they show, and turns that ask for a plan or read one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimrt.export.nano.cases import Case, Mixture, draw_case, generator
from dimrt.export.nano.designer import Views, text_positions, view_pictures
from dimrt.export.nano.edits import EDIT_TYPES
from dimrt.export.nano.photos import photo_crop, texture
from dimrt.export.nano.readers import IMAGE_TOKENS, scene_labels
from dimrt.export.nano.references import REASONING
from dimrt.export.nano.scenes import render, sample_scene
from dimrt.manifest import Designer, Vision
from dimrt.prompt import Prompts

IGNORED = -100
_PADDING = 16
_ITEM_COUNTS = (0.45, 0.3, 0.15, 0.1)
MIXTURE = Mixture(
    photos=0.22,
    textures=0.08,
    kinds=tuple((kind, 0.4 if kind == "compose" else 1.0) for kind in EDIT_TYPES),
    items=_ITEM_COUNTS,
)
HARD_MIXTURE = Mixture(
    photos=0.06,
    textures=0.03,
    kinds=tuple((kind, {"compose": 1.8, "background": 0.4, "style": 0.3}.get(kind, 1.0)) for kind in EDIT_TYPES),
    items=(0.1, 0.35, 0.3, 0.25),
    references=(("name", 0.2), ("place", 0.08), *((kind, 0.72 / len(REASONING)) for kind in REASONING)),
)
"""Crowded scenes, instructions that must be thought through, two edits at once: of `MIXTURE` they are a tenth."""
MANY = Mixture(photos=0, textures=0, kinds=(("many", 1.0),), items=_ITEM_COUNTS)
"""Many edits at once: only read, never planned."""
FORMS = (
    *("write full", "write brief") * 5,
    *("write short", "read full", "read brief") * 2,
    *("read brief", "read short", "bare", "many"),
)
"""Forms of the turns, in turn (see `encode_turn`)."""
HARD_FORMS = (
    *("write full", "write brief") * 4,
    *("write short",) * 3,
    *("read full", "read brief", "read short", "bare"),
)


@dataclass(frozen=True)
class LookBatch:
    """Pictures and int64 `labels` [B, slots] of what they show (`scene_labels`)."""

    views: Views
    labels: Tensor
    keys: list[str]

    def to(self, device: torch.device | str) -> "LookBatch":
        """The same batch on a device."""
        return replace(self, views=self.views.to(device), labels=self.labels.to(device))


class Looks:
    """The pictures of the first phase, drawn as they are asked for: mostly scenes, some photographs and colour fields.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int, seed: int, vision: Vision) -> None:
        self.count, self.seed, self.vision = count, seed, vision

    def __len__(self) -> int:
        return self.count

    def sizes(self) -> Sequence[tuple[int, int]]:
        """All are alike."""
        return [(1, 1)] * self.count

    def weights(self) -> Sequence[float]:
        """Each counts once."""
        return [1.0] * self.count

    def batch(self, indices: Sequence[int]) -> LookBatch:
        """The pictures of these numbers."""
        pictures, labels = zip(*(self._draw(index) for index in indices), strict=True)
        return LookBatch(
            view_pictures(list(pictures), self.vision), torch.tensor(labels), [f"look {index}" for index in indices]
        )

    def _draw(self, index: int) -> tuple[NDArray[np.uint8], list[int]]:
        rng = generator("training", self.seed + 1000, index)
        if rng.random() < 0.12:
            return (photo_crop(rng) if rng.random() < 0.6 else texture(rng)), scene_labels(None)
        scene = sample_scene(rng, 1 + int(rng.choice(4, p=_ITEM_COUNTS)))
        return render(scene), scene_labels(scene)


@dataclass(frozen=True)
class TurnBatch:
    """Turns padded at the end to one length L.

    Attributes:
        ids: int64 [B, L].
        targets: the same with `IGNORED` where nothing is learned.
        read: bool [B, L], True on the text of conditions.
        positions: int64 [3, L], the same for all.
        labels: int64 [B, slots], what each picture shows (`scene_labels`).
    """

    views: Views
    ids: Tensor
    targets: Tensor
    read: Tensor
    positions: Tensor
    labels: Tensor
    keys: list[str]

    def to(self, device: torch.device | str) -> "TurnBatch":
        """The same batch on a device."""
        names = ("views", "ids", "targets", "read", "positions", "labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


class Turns:
    """The turns of the second phase, drawn as they are asked for. A batch has turns of one form: they are about
    equally long, and need little padding.

    Args:
        count: how many there are.
        mixture: what the cases are drawn from.
        forms: forms of the turns, in turn.
    """

    def __init__(
        self,
        count: int,
        seed: int,
        prompts: Prompts,
        facts: Designer,
        mixture: Mixture = MIXTURE,
        forms: tuple[str, ...] = FORMS,
    ) -> None:
        self.count, self.seed, self.prompts, self.facts = count, seed, prompts, facts
        self.mixture, self.forms = mixture, forms

    def __len__(self) -> int:
        return self.count

    def sizes(self) -> Sequence[tuple[int, int]]:
        """The number of each turn's form, in place of a latent's size."""
        numbers = {form: number for number, form in enumerate(self.forms)}
        return [(numbers[self.forms[index % len(self.forms)]], 1) for index in range(self.count)]

    def weights(self) -> Sequence[float]:
        """Each counts once."""
        return [1.0] * self.count

    def batch(self, indices: Sequence[int]) -> TurnBatch:
        """The turns of these numbers."""
        forms = [self.forms[index % len(self.forms)] for index in indices]
        mixtures = [MANY if form == "many" else self.mixture for form in forms]
        drawn = zip(indices, mixtures, strict=True)
        cases = [draw_case("training", self.seed, index, mixture) for index, mixture in drawn]
        return turn_batch(cases, forms, self.prompts, self.facts)


def encode_turn(case: Case, form: str, prompts: Prompts, facts: Designer) -> tuple[NDArray[np.int64], int]:
    """Ids of one turn, and where the part to learn starts.

    `form` says what happens with a plan of which style: `write full` asks for the plan, `read full` has it as
    condition. `bare` has the instruction alone as condition, `many` the brief plan of many edits.
    """
    stop = np.array([facts.tokens.im_end], np.int64)
    act, _, style = form.partition(" ")
    if act == "write":
        turn = prompts.plan_turn(case.instruction, IMAGE_TOKENS, style)
        return np.concatenate([turn.ids, prompts.encode(case.plan.text(style)), stop]), len(turn.ids)
    text = case.instruction if act == "bare" else case.plan.text(style or "brief")
    turn = prompts.condition_turn(text, IMAGE_TOKENS)
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
    return TurnBatch(
        views=view_pictures([case.source for case in cases], facts.vision),
        ids=torch.from_numpy(ids),
        targets=torch.from_numpy(targets),
        read=torch.from_numpy(read),
        positions=text_positions(ids[0], facts.tokens),
        labels=torch.tensor([scene_labels(case.before) for case in cases]),
        keys=[f"{form}: {case.instruction}" for form, case in zip(forms, cases, strict=True)],
    )
