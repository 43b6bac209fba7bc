"""The edit types on toy scenes: each gives an instruction, the resolved edit in words, its area and the new scene."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dimrt.export.nano.references import ONLY_REASONING, USUAL, Kinds, reasoning_share, refer
from dimrt.export.nano.scenes import (
    CELLS,
    Background,
    Cell,
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
NEIGHBOURS = {"above": (-1, 0), "below": (1, 0), "left of": (0, -1), "right of": (0, 1)}
"""Words to the step from an item's cell (row, column)."""
_BESIDE = 0.2
"""Of usual additions, the share whose place is named by a neighbour."""


@dataclass(frozen=True)
class Change:
    """One edit of a scene: `edit` and `area` are the plan's words for what happens and where.

    Every item in `edit` is called as in the scene's layout, place included, so that each of several edits is bound to
    its own place. The place comes first, too: a designer that writes word by word settles which item is meant before it
    says what that is like. Without, it took the wrong one of several shapes in half of the cases that need reasoning.
    """

    detail: str
    instruction: str
    edit: str
    area: str
    scene: Scene


def _word(rng: Rng, kind: str, words: str, new: str = "") -> str:
    return pick(rng, SCENE_VERBS[kind]).format(ref=words, new=new)


def _at(item: Item, edit: str) -> str:
    return f"at {item.place} {edit}"


def _others(scene: Scene, item: Item) -> list[Item]:
    return [other for other in scene.items if other is not item]


def _free_cells(scene: Scene) -> list[Cell]:
    return [cell for cell in CELLS if cell not in {item.cell for item in scene.items}]


def _placed(item: Item, cell: Cell) -> Item:
    """The item in the middle of a cell: words say no more than the cell."""
    x, y = centred(cell)
    return replace(item, cell=cell, x=x, y=y)


def _recolour(rng: Rng, scene: Scene, item: Item, words: str) -> Change:
    taken = {other.colour for other in scene.items if other.shape == item.shape}
    new = pick(rng, [name for name in COLOURS if name not in taken and stands_out(name, scene.background)])
    changed = scene.with_items([*_others(scene, item), replace(item, colour=new)])
    instruction = _word(rng, "recolour", words, new)
    return Change("colour", instruction, _at(item, f"recolor {item.placed_name} to {new}"), item.place, changed)


def _resize(rng: Rng, scene: Scene, item: Item, words: str) -> Change:
    new = pick(rng, [size for size in SIZES if size != item.size])
    changed = scene.with_items([*_others(scene, item), replace(item, size=new)])
    instruction = _word(rng, "resize", words, new)
    return Change("size", instruction, _at(item, f"resize {item.placed_name} to {new}"), item.place, changed)


def _adjust(rng: Rng, scene: Scene, item: Item, words: str) -> Change:
    return (_recolour if rng.random() < 0.6 else _resize)(rng, scene, item, words)


def _extract(rng: Rng, scene: Scene, item: Item, words: str) -> Change | None:
    if not stands_out(item.colour, WHITE):
        return None
    instruction = _word(rng, "extract", words)
    return Change("extract", instruction, _at(item, f"extract {item.placed_name}"), item.place, Scene(WHITE, (item,)))


def _replace(rng: Rng, scene: Scene, item: Item, words: str) -> Change:
    taken = {(other.colour, other.shape) for other in scene.items}
    while True:
        shape, colour = pick(rng, [name for name in SHAPES if name != item.shape]), pick(rng, COLOURS)
        if stands_out(colour, scene.background) and (colour, shape) not in taken:
            break
    new = replace(item, shape=shape, colour=colour)
    instruction = _word(rng, "replace", words, f"a {colour} {shape}")
    changed = scene.with_items([*_others(scene, item), new])
    edit = _at(item, f"replace {item.placed_name} with {new.name}")
    return Change("replace", instruction, edit, item.place, changed)


def _remove(rng: Rng, scene: Scene, item: Item, words: str) -> Change:
    instruction = _word(rng, "remove", words)
    changed = scene.with_items(_others(scene, item))
    return Change("remove", instruction, _at(item, f"remove {item.placed_name}"), item.place, changed)


def _move(rng: Rng, scene: Scene, item: Item, words: str) -> Change:
    free = _free_cells(scene)
    cell = free[int(rng.integers(len(free)))]
    changed = scene.with_items([*_others(scene, item), _placed(item, cell)])
    instruction = _word(rng, "move", words, place_name(cell))
    area = f"{item.place} and {place_name(cell)}"
    edit = _at(item, f"move {item.placed_name} to {place_name(cell)}")
    return Change("move", instruction, edit, area, changed)


ITEM_EDITS: dict[str, Callable[[Rng, Scene, Item, str], Change | None]] = {
    "adjust": _adjust,
    "extract": _extract,
    "replace": _replace,
    "remove": _remove,
    "action": _move,
}


def _add(rng: Rng, scene: Scene, kinds: Kinds) -> Change | None:
    """A new item in a free place, named as such or, where the instruction must be thought through, by a neighbour."""
    options = [(cell, f"in the {place_name(cell)}") for cell in _free_cells(scene)]
    if kinds == ONLY_REASONING or rng.random() < (_BESIDE if kinds == USUAL else reasoning_share(kinds)):
        options = _beside(scene) or ([] if kinds == ONLY_REASONING else options)
    if not options:
        return None
    cell, where = options[int(rng.integers(len(options)))]
    return _added(rng, scene, cell, where)


def _added(rng: Rng, scene: Scene, cell: Cell, where: str) -> Change:
    item = _placed(sample_item(rng, cell, scene.background, scene.items), cell)
    instruction = f"{pick(rng, SCENE_VERBS['add'])} a {item.name} {where}"
    return Change(
        "add", instruction, _at(item, f"add {item.placed_name}"), item.place, scene.with_items([*scene.items, item])
    )


def _beside(scene: Scene) -> list[tuple[Cell, str]]:
    """Free cells next to an item, and words for them that name the item."""
    free = _free_cells(scene)
    found = []
    for item in scene.items:
        for words, (row, column) in NEIGHBOURS.items():
            cell = (item.cell[0] + row, item.cell[1] + column)
            if cell in free:
                found.append((cell, f"{words} the {item.colour} {item.shape}"))
    return found


def _background(rng: Rng, scene: Scene) -> Change:
    while True:
        # The texture's pitch follows from its name alone, so that the words fix the target.
        new = replace(sample_background(rng), seed=0)
        differs = new.colour != scene.background.colour and new.texture != "cloudy"
        if differs and all(stands_out(item.colour, new) for item in scene.items):
            break
    instruction = _word(rng, "background", "", new.name)
    return Change("background", instruction, f"background to {new.name}", "background", replace(scene, background=new))


def _compose(rng: Rng, scene: Scene, kinds: Kinds) -> Change | None:
    names = ("add", "adjust", "replace", "remove", "background")
    first_name, second_name = (names[index] for index in rng.permutation(len(names))[:2])
    first = change_scene(rng, scene, first_name, kinds)
    if first is None or not first.scene.items:
        return None
    second = change_scene(rng, first.scene, second_name, kinds)
    return None if second is None else _joined([first, second])


def _many(rng: Rng, scene: Scene) -> Change:
    """One to five edits in different places, items called by their names. Only a lesson: from each place of such a
    picture a painter learns what it otherwise learns from the one place that an edit touches."""
    changes: list[Change] = []
    for index in rng.permutation(len(CELLS))[: int(rng.integers(1, 6))]:
        scene = changes[-1].scene if changes else scene
        item = next((item for item in scene.items if item.cell == CELLS[index]), None)
        if item is None:
            changes.append(_added(rng, scene, CELLS[index], f"in the {place_name(CELLS[index])}"))
        else:
            edit = (_recolour, _resize, _replace, _remove)[int(rng.integers(4))]
            changes.append(edit(rng, scene, item, f"the {item.colour} {item.shape}"))
    return _joined(changes)


def _joined(changes: list[Change]) -> Change:
    return Change(
        "+".join(change.detail for change in changes),
        " and ".join(change.instruction for change in changes),
        " then ".join(change.edit for change in changes),
        " and ".join(change.area for change in changes),
        changes[-1].scene,
    )


def change_scene(rng: Rng, scene: Scene, kind: str, kinds: Kinds = USUAL) -> Change | None:
    """An edit of a type of `EDIT_TYPES` other than `style` (a filter, `dimrt.export.nano.filters`), or `many`.

    `kinds` weighs how its item is referred to. None when the scene gives no such edit; draw another scene then.
    """
    match kind:
        case "add":
            return _add(rng, scene, kinds)
        case "background":
            return _background(rng, scene) if kinds != ONLY_REASONING else None
        case "compose":
            return _compose(rng, scene, kinds)
        case "many":
            return _many(rng, scene)
    for index in rng.permutation(len(scene.items)):
        item = scene.items[int(index)]
        words = refer(rng, scene, item, kinds)
        change = ITEM_EDITS[kind](rng, scene, item, words) if words else None
        if change is not None:
            return change
    return None


def changes_enough(source: np.ndarray, target: np.ndarray) -> bool:
    """Whether two pictures (uint8) differ visibly; a composed edit may undo itself."""
    return bool((abs(source.astype(np.int16) - target).max(axis=2) > 24).mean() > 0.004)
