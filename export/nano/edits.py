"""The edit types on toy scenes: each gives an instruction, the resolved edit in words, its area and the new scene."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dimrt.export.nano.scenes import (
    CELLS,
    Background,
    Item,
    Rng,
    Scene,
    centred,
    pick,
    place_name,
    sample_background,
    sample_item,
    stands_out,
)
from dimrt.export.nano.shapes import COLOURS, SHAPES, SIZES
from dimrt.export.nano.wordings import SCENE_VERBS

EDIT_TYPES = ("add", "adjust", "extract", "replace", "remove", "background", "style", "compose", "action")
WHITE = Background("plain", "white", 0)


@dataclass(frozen=True)
class Change:
    """One edit of a scene: `edit` and `area` are the plan's words for what happens and where."""

    detail: str
    instruction: str
    edit: str
    area: str
    scene: Scene


def refer(rng: Rng, scene: Scene, item: Item) -> str:
    """Words that single out `item`: by name, by place, or by size where that is unambiguous."""
    kind = rng.random()
    if kind < 0.75:
        return f"the {item.colour} {item.shape}"
    ranks = [list(SIZES).index(other.size) for other in scene.items]
    own = list(SIZES).index(item.size)
    if kind < 0.85 and len(ranks) > 1 and ranks.count(own) == 1 and own in (max(ranks), min(ranks)):
        return "the largest shape" if own == max(ranks) else "the smallest shape"
    return f"the shape in the {item.place}"


def _choose(rng: Rng, scene: Scene) -> Item:
    return scene.items[int(rng.integers(len(scene.items)))]


def _word(rng: Rng, kind: str, ref: str, new: str = "") -> str:
    return pick(rng, SCENE_VERBS[kind]).format(ref=ref, new=new)


def _others(scene: Scene, item: Item) -> list[Item]:
    return [other for other in scene.items if other is not item]


def _free_cell(rng: Rng, scene: Scene) -> tuple[int, int]:
    free = [cell for cell in CELLS if cell not in {item.cell for item in scene.items}]
    return free[int(rng.integers(len(free)))]


def _add(rng: Rng, scene: Scene) -> Change:
    cell = _free_cell(rng, scene)
    x, y = centred(cell)
    item = replace(sample_item(rng, cell, scene.background, scene.items), x=x, y=y)
    instruction = f"{pick(rng, SCENE_VERBS['add'])} a {item.name} in the {item.place}"
    return Change("add", instruction, f"add {item.name}", item.place, scene.with_items([*scene.items, item]))


def _recolour(rng: Rng, scene: Scene) -> Change:
    item = _choose(rng, scene)
    taken = {other.colour for other in scene.items if other.shape == item.shape}
    new = pick(rng, [name for name in COLOURS if name not in taken and stands_out(name, scene.background)])
    changed = scene.with_items([*_others(scene, item), replace(item, colour=new)])
    instruction = _word(rng, "recolour", refer(rng, scene, item), new)
    return Change("colour", instruction, f"recolor {item.name} to {new}", item.place, changed)


def _resize(rng: Rng, scene: Scene) -> Change:
    item = _choose(rng, scene)
    new = pick(rng, [size for size in SIZES if size != item.size])
    changed = scene.with_items([*_others(scene, item), replace(item, size=new)])
    instruction = _word(rng, "resize", refer(rng, scene, item), new)
    return Change("size", instruction, f"resize {item.name} to {new}", item.place, changed)


def _adjust(rng: Rng, scene: Scene) -> Change:
    return _recolour(rng, scene) if rng.random() < 0.6 else _resize(rng, scene)


def _extract(rng: Rng, scene: Scene) -> Change | None:
    visible = [item for item in scene.items if stands_out(item.colour, WHITE)]
    if not visible:
        return None
    item = visible[int(rng.integers(len(visible)))]
    instruction = _word(rng, "extract", refer(rng, scene, item))
    return Change("extract", instruction, f"extract {item.name}", item.place, Scene(WHITE, (item,)))


def _replace(rng: Rng, scene: Scene) -> Change:
    item = _choose(rng, scene)
    taken = {(other.colour, other.shape) for other in scene.items}
    while True:
        shape, colour = pick(rng, [name for name in SHAPES if name != item.shape]), pick(rng, COLOURS)
        if stands_out(colour, scene.background) and (colour, shape) not in taken:
            break
    new = replace(item, shape=shape, colour=colour)
    instruction = _word(rng, "replace", refer(rng, scene, item), f"a {colour} {shape}")
    changed = scene.with_items([*_others(scene, item), new])
    return Change("replace", instruction, f"replace {item.name} with {new.name}", item.place, changed)


def _remove(rng: Rng, scene: Scene) -> Change:
    item = _choose(rng, scene)
    instruction = _word(rng, "remove", refer(rng, scene, item))
    return Change("remove", instruction, f"remove {item.name}", item.place, scene.with_items(_others(scene, item)))


def _background(rng: Rng, scene: Scene) -> Change:
    while True:
        # The texture's pitch follows from its name alone, so that the words fix the target.
        new = replace(sample_background(rng), seed=0)
        differs = new.colour != scene.background.colour and new.texture != "cloudy"
        if differs and all(stands_out(item.colour, new) for item in scene.items):
            break
    instruction = _word(rng, "background", "", new.name)
    return Change("background", instruction, f"background to {new.name}", "background", replace(scene, background=new))


def _action(rng: Rng, scene: Scene) -> Change:
    item = _choose(rng, scene)
    cell = _free_cell(rng, scene)
    x, y = centred(cell)
    changed = scene.with_items([*_others(scene, item), replace(item, cell=cell, x=x, y=y)])
    instruction = _word(rng, "move", refer(rng, scene, item), place_name(cell))
    area = f"{item.place} and {place_name(cell)}"
    return Change("move", instruction, f"move {item.name} to {place_name(cell)}", area, changed)


def _compose(rng: Rng, scene: Scene) -> Change | None:
    names = ("add", "adjust", "replace", "remove", "background")
    first_name, second_name = (names[index] for index in rng.permutation(len(names))[:2])
    first = SCENE_EDITS[first_name](rng, scene)
    if first is None or not first.scene.items:
        return None
    second = SCENE_EDITS[second_name](rng, first.scene)
    if second is None:
        return None
    return Change(
        f"{first.detail}+{second.detail}",
        f"{first.instruction} and {second.instruction}",
        f"{first.edit} then {second.edit}",
        f"{first.area} and {second.area}",
        second.scene,
    )


SCENE_EDITS: dict[str, Callable[[Rng, Scene], Change | None]] = {
    "add": _add,
    "adjust": _adjust,
    "extract": _extract,
    "replace": _replace,
    "remove": _remove,
    "background": _background,
    "compose": _compose,
    "action": _action,
}
"""Every edit type but `style`, which is a filter over the whole picture (`dimrt.export.nano.filters`)."""


def changes_enough(source: np.ndarray, target: np.ndarray) -> bool:
    """Whether two pictures (uint8) differ visibly; a composed edit may undo itself."""
    return bool((abs(source.astype(np.int16) - target).max(axis=2) > 24).mean() > 0.004)
