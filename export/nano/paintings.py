"""What the painter learns from, computed once and kept on disk: latents of cases, and the designer's conditions.

Latents need the autoencoder's basis alone and conditions the frozen designer alone, so the two are written in two
passes over the same shards. A shard that is there is complete (folders appear by a rename) and is never computed twice.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from dimrt.errors import InputError
from dimrt.export.nano.autoencoder import Basis, project
from dimrt.export.nano.cases import Case, Mixture, Stream, draw_case, generator
from dimrt.export.nano.designer import embed_pictures, run_text, text_positions, view_pictures
from dimrt.export.nano.edits import EDIT_TYPES
from dimrt.export.nano.filters import FILTERS
from dimrt.export.train.data.batch import Batch, pad_conditions
from dimrt.files import atomic_folder
from dimrt.manifest import Designer
from dimrt.prompt import Prompts

IMAGE_TOKENS = 16
_CHUNK = 32
_PADDING = 16

EVEN = tuple((kind, 1.5 if kind in ("add", "replace", "action", "compose") else 1.0) for kind in EDIT_TYPES)
"""Weights of the scene edits: a little more of those that draw something new."""


@dataclass(frozen=True)
class Collection:
    """Which cases make up a training set: `shards` of `size` cases of a stream. `styles` weighs what the condition is
    made of: a plan of a style, or `bare`, the instruction alone, for editing without a plan."""

    name: str
    shards: int
    mixture: Mixture
    styles: tuple[tuple[str, float], ...]
    size: int = 2048
    seed: int = 11
    stream: Stream = "training"

    def cases(self, shard: int) -> Iterator[Case]:
        """The cases of one shard, always the same."""
        for index in range(shard * self.size, (shard + 1) * self.size):
            yield draw_case(self.stream, self.seed, index, self.mixture)

    def text(self, index: int, case: Case) -> str:
        """What the designer reads as the condition turn of case `index`."""
        names, weights = zip(*self.styles, strict=True)
        rng = generator(self.stream, self.seed + 500, index)
        style = names[int(rng.choice(len(names), p=np.array(weights) / sum(weights)))]
        return case.instruction if style == "bare" else case.plan.text(style)


DRAWING = Collection(
    name="drawing",
    shards=32,
    mixture=Mixture(
        photos=0.05,
        textures=0.03,
        kinds=(("many", 5.0), ("background", 1.0), ("extract", 1.0), ("action", 1.0), ("style", 0.5)),
        items=(0.2, 0.2, 0.2, 0.15, 0.15, 0.1),
    ),
    styles=(("brief", 1.0),),
)
"""The first lesson: short plans with one to five edits, so that an example teaches several places of the picture."""

EDITING = Collection(
    name="editing",
    shards=40,
    seed=12,
    mixture=Mixture(photos=0.2, textures=0.06, kinds=EVEN, items=(0.4, 0.35, 0.15, 0.1)),
    styles=(("full", 0.3), ("brief", 0.4), ("short", 0.1), ("bare", 0.2)),
)
"""The second lesson: the edit types as they are asked for, under plans of every style and bare instructions."""


def write_latents(folder: Path, collection: Collection, shard: int, basis: Basis) -> None:
    """Write `folder/latents-NNN`: float16 `latents` [n, 2, C, h, w] (source, target), uint8 `sources`, `cases.json`."""
    target = folder / f"latents-{shard:03d}"
    if target.exists():
        return
    cases = list(collection.cases(shard))
    sources = np.stack([case.source for case in cases])
    targets = np.stack([case.target for case in cases])
    latents = np.stack([project(sources, basis), project(targets, basis)], axis=1).astype(np.float16)
    texts = [collection.text(shard * collection.size + i, case) for i, case in enumerate(cases)]
    facts = {"texts": texts, "labels": [label(case) for case in cases]}
    with atomic_folder(target) as partial:
        np.save(partial / "latents.npy", latents)
        np.save(partial / "sources.npy", sources)
        (partial / "cases.json").write_text(json.dumps(facts))


def label(case: Case) -> str:
    """Name under which figures of this case are reported: the filter, or the scene edit's detail."""
    if case.kind == "style":
        return f"{'scene' if case.origin == 'scene' else 'photo'} {case.detail}"
    return case.detail if case.kind == "adjust" else case.kind


def write_conditions(
    folder: Path, shard: int, designer: Qwen2_5_VLForConditionalGeneration, prompts: Prompts, facts: Designer
) -> None:
    """Write `folder/conditions-NNN`: float16 `rows` [total, hidden] and int64 `starts` [n + 1] of each case's rows."""
    target = folder / f"conditions-{shard:03d}"
    if target.exists():
        return
    content = folder / f"latents-{shard:03d}"
    texts = json.loads((content / "cases.json").read_text())["texts"]
    sources = np.load(content / "sources.npy", mmap_mode="r")
    order = np.argsort([len(text) for text in texts], kind="stable")
    conditions: dict[int, NDArray[np.float16]] = {}
    for start in range(0, len(order), _CHUNK):
        chosen = order[start : start + _CHUNK]
        found = read_conditions(designer, prompts, facts, [sources[i] for i in chosen], [texts[i] for i in chosen])
        conditions |= {int(i): rows.half().numpy() for i, rows in zip(chosen, found, strict=True)}
    rows = [conditions[i] for i in range(len(texts))]
    with atomic_folder(target) as partial:
        np.save(partial / "rows.npy", np.concatenate(rows))
        np.save(partial / "starts.npy", np.cumsum([0, *(len(part) for part in rows)]))


@torch.no_grad()
def read_conditions(
    designer: Qwen2_5_VLForConditionalGeneration,
    prompts: Prompts,
    facts: Designer,
    pictures: list[NDArray[np.uint8]],
    texts: list[str],
) -> list[Tensor]:
    """The designer's hidden states [N, hidden] of picture and text, for each pair."""
    turns = [prompts.condition_turn(text, IMAGE_TOKENS) for text in texts]
    length = -(-max(len(turn.ids) for turn in turns) // _PADDING) * _PADDING
    ids = np.full((len(turns), length), facts.tokens.stop[-1], np.int64)
    for row, turn in enumerate(turns):
        ids[row, : len(turn.ids)] = turn.ids
    device = designer.device
    images = embed_pictures(designer, view_pictures(pictures, facts.vision).to(device))
    positions = text_positions(ids[0], facts.tokens).to(device)
    hidden = run_text(designer, torch.from_numpy(ids).to(device), images, positions).float().cpu()
    return [hidden[row, turn.condition] for row, turn in enumerate(turns)]


EMPHASIS = {
    **dict.fromkeys(("photo negative", "photo contrast", "photo vivid", "photo vignette", "photo blur"), 1.5),
    **dict.fromkeys(("photo warmer", "photo cooler", "photo night", "photo faded", "photo darker"), 0.7),
    **dict.fromkeys((f"scene {name}" for name in FILTERS), 0.6),
}
"""How often a case of this label is drawn, against one of any other. Easy tones less."""
LABELS = {
    "many",
    "colour",
    "size",
    *(kind for kind in EDIT_TYPES if kind not in ("adjust", "style")),
    *(f"{origin} {name}" for origin in ("scene", "photo") for name in FILTERS),
}
"""All that `label` says."""


class Paintings:
    """Random access to the shards of a folder (memory-mapped), each label's cases as often as EMPHASIS says, or
    `emphasis` where it has something else.

    Raises:
        InputError: `emphasis` has a word that is no label.
    """

    def __init__(self, folder: Path, shards: int, emphasis: Mapping[str, float] | None = None) -> None:
        self.emphasis = EMPHASIS | dict(emphasis or {})
        if unknown := self.emphasis.keys() - LABELS:
            names = ", ".join(sorted(LABELS))
            raise InputError(f"nano.emphasis: {min(unknown)!r} is no label; there are {names}")
        self.latents, self.rows, self.starts, self.labels = [], [], [], []
        for shard in range(shards):
            content, conditions = folder / f"latents-{shard:03d}", folder / f"conditions-{shard:03d}"
            self.latents.append(np.load(content / "latents.npy", mmap_mode="r"))
            self.rows.append(np.load(conditions / "rows.npy", mmap_mode="r"))
            self.starts.append(np.load(conditions / "starts.npy"))
            self.labels.append(json.loads((content / "cases.json").read_text())["labels"])
        self.size = len(self.latents[0])

    def __len__(self) -> int:
        return self.size * len(self.latents)

    def sizes(self) -> Sequence[tuple[int, int]]:
        """Latent height and width of each case."""
        height, width = self.latents[0].shape[-2:]
        return [(height, width)] * len(self)

    def weights(self) -> Sequence[float]:
        """How often each case is drawn in an epoch."""
        return [self.emphasis.get(label, 1.0) for shard in self.labels for label in shard]

    def batch(self, indices: Sequence[int]) -> Batch:
        """The cases of these numbers."""
        places = [divmod(index, self.size) for index in indices]
        latents = np.stack([self.latents[shard][i] for shard, i in places]).astype(np.float32)
        found = [self.rows[s][self.starts[s][i] : self.starts[s][i + 1]] for s, i in places]
        condition, mask = pad_conditions([torch.from_numpy(rows.astype(np.float32)) for rows in found], _PADDING)
        pair = torch.from_numpy(latents)
        keys = [f"{self.labels[s][i]} {index}" for index, (s, i) in zip(indices, places, strict=True)]
        return Batch(target=pair[:, 1], source=pair[:, 0], condition=condition, mask=mask, keys=keys)
