"""Words that single out one item of a scene: by what it is, by where it is, or by reasoning over all items."""

from collections.abc import Callable

from dimrt.export.nano.scenes import Item, Rng, Scene, pick
from dimrt.export.nano.shapes import SIZES

DIRECT = ("name", "place")
REASONING = ("superlative", "relation", "ordinal", "odd", "ambiguous")
"""Kinds whose words name neither all of the item's properties nor its place: one must look at the others too."""

_ORDINALS = ("first", "second", "third")
_SIDES = {"left": (1, -1), "right": (1, 1), "top": (0, -1), "bottom": (0, 1)}
"""Side to (axis of the cell, direction)."""


def _name(rng: Rng, scene: Scene, item: Item) -> str | None:
    return f"the {item.colour} {item.shape}"


def _place(rng: Rng, scene: Scene, item: Item) -> str | None:
    return f"the shape in the {item.place}"


def _superlative(rng: Rng, scene: Scene, item: Item) -> str | None:
    options = []
    ranks = [list(SIZES).index(other.size) for other in scene.items]
    own = list(SIZES).index(item.size)
    if ranks.count(own) == 1 and own in (max(ranks), min(ranks)):
        options.append("the largest shape" if own == max(ranks) else "the smallest shape")
    for side, (axis, sign) in _SIDES.items():
        others = [other.cell[axis] * sign for other in scene.items if other is not item]
        if others and item.cell[axis] * sign > max(others):
            options.append(f"the {side}most shape" if axis else f"the {'highest' if sign < 0 else 'lowest'} shape")
    return pick(rng, options) if options else None


def _relation(rng: Rng, scene: Scene, item: Item) -> str | None:
    options = []
    words = {"left": "left of", "right": "right of", "top": "above", "bottom": "below"}
    for anchor in scene.items:
        for side, (axis, sign) in _SIDES.items():
            beyond = [other for other in scene.items if other.cell[axis] * sign > anchor.cell[axis] * sign]
            if anchor is not item and beyond == [item]:
                options.append(f"the shape {words[side]} the {anchor.colour} {anchor.shape}")
    return pick(rng, options) if options else None


def _ordinal(rng: Rng, scene: Scene, item: Item) -> str | None:
    options = []
    for side, (axis, sign) in _SIDES.items():
        order = sorted((other.cell[axis] * sign for other in scene.items), reverse=True)
        if len(set(order)) == len(order) > 1:
            place = order.index(item.cell[axis] * sign)
            options.append(f"the {_ORDINALS[place]} shape from the {side}")
    return pick(rng, options) if options else None


def _odd(rng: Rng, scene: Scene, item: Item) -> str | None:
    """All other items share a colour or a shape that this one lacks, and there are at least two of them."""
    options = []
    others = [other for other in scene.items if other is not item]
    for name in ("colour", "shape", "size"):
        values = {getattr(other, name) for other in others}
        if len(others) > 1 and len(values) == 1 and getattr(item, name) not in values:
            (value,) = values
            options.append(f"the shape that is not {value}" if name != "shape" else f"the one that is not a {value}")
            options.append(f"the odd {name if name != 'colour' else 'color'} out")
    return pick(rng, options) if options else None


def _ambiguous(rng: Rng, scene: Scene, item: Item) -> str | None:
    """Two items of one shape or colour, told apart by a side."""
    options = []
    comparatives = {"left": "on the left", "right": "on the right", "top": "higher up", "bottom": "lower down"}
    for name in ("colour", "shape"):
        twins = [other for other in scene.items if getattr(other, name) == getattr(item, name) and other is not item]
        if len(twins) != 1:
            continue
        noun = item.shape if name == "shape" else f"{item.colour} shape"
        for side, (axis, sign) in _SIDES.items():
            if item.cell[axis] * sign > twins[0].cell[axis] * sign:
                options.append(f"the {noun} {comparatives[side]}")
    return pick(rng, options) if options else None


_WORDS: dict[str, Callable[[Rng, Scene, Item], str | None]] = {
    "name": _name,
    "place": _place,
    "superlative": _superlative,
    "relation": _relation,
    "ordinal": _ordinal,
    "odd": _odd,
    "ambiguous": _ambiguous,
}

Kinds = tuple[tuple[str, float], ...]
"""Kinds of reference and how often each is tried."""

USUAL: Kinds = (("name", 0.5), ("place", 0.12), *((kind, 0.38 / len(REASONING)) for kind in REASONING))
"""What cases use unless asked otherwise; where a scene gives no such words the item is called by its name."""
ONLY_REASONING: Kinds = tuple((kind, 1.0) for kind in REASONING)


def reasoning_share(kinds: Kinds) -> float:
    """The weight of the kinds that need reasoning, of all."""
    return sum(weight for name, weight in kinds if name in REASONING) / sum(weight for _, weight in kinds)


def refer(rng: Rng, scene: Scene, item: Item, kinds: Kinds = USUAL) -> str | None:
    """Words for `item` that fit no other item of the scene. `kinds` weighs what is tried, without repetition.

    None when none of the kinds can single the item out.
    """
    left = dict(kinds)
    while left:
        names, weights = list(left), list(left.values())
        name = names[int(rng.choice(len(names), p=[weight / sum(weights) for weight in weights]))]
        words = _WORDS[name](rng, scene, item)
        if words is not None:
            return words
        del left[name]
    return None
