"""Natural wordings of the edits. Instructions are drawn from here; a few are kept back to test on unseen words."""

from dimrt.export.nano.looks import LOOKS, Look
from dimrt.export.nano.scenes import Rng, pick

PICTURE_WORDS = ("it", "this", "the picture", "this picture", "the photo", "this photo", "the image", "this image")
PICTURE_WORDS_OFTEN = ("it", "the picture", "this photo", "the photo", "the image")
PREFIXES = (
    "please ",
    "can you ",
    "could you ",
    "could you please ",
    "I want you to ",
    "I'd like you to ",
    "now ",
    "just ",
)
SUFFIXES = (" please", ", please", ".", "!", " thanks")


_NOUNS = ("look", "tone", "filter", "effect", "feel", "style", "mood", "touch", "vibe")
_BECOME = ("turn {it} into", "convert {it} to", "change {it} to", "transform {it} into")
_ADD = ("apply a", "add a", "use a", "put a", "give {it} a", "I want a", "go for a")


def _with_article(phrase: str) -> str:
    """`phrase` with `a sepia …` turned into `an antique …` where English wants it."""
    for vowel in "aeiou":
        phrase = phrase.replace(f" a {vowel}", f" an {vowel}")
    return phrase


def _look_template(rng: Rng, look: Look) -> str:
    form = int(rng.integers(10))
    if form < 3:
        template = pick(rng, ("make {it}", "make {it}", "turn {it}", "render {it}", "I want {it} to be"))
        adjective = pick(rng, look.adjectives)
        return f"make {{it}} {adjective}" if adjective.startswith("look") else f"{template} {adjective}"
    if form < 5:
        noun = f" {pick(rng, _NOUNS)}"
        choice = pick(rng, look.looks)
        return _with_article(f"{pick(rng, _ADD)} {choice.removesuffix(' tone')}{noun}")
    if form == 5:
        return f"{pick(rng, look.verbs)} {{it}}"
    if form == 6:
        return f"{pick(rng, _BECOME)} {pick(rng, look.into)}"
    if form == 7:
        return pick(rng, (*look.looks, *look.into)) + pick(
            rng, ("", " version", " photo", " look", " filter", " style")
        )
    return pick(rng, look.sentences)


def word_look(rng: Rng, name: str, *, held_out: bool = False) -> str:
    """An instruction for the photographic edit `name`; with `held_out` one that training never draws."""
    look = LOOKS[name]
    if held_out:
        return pick(rng, look.held_out)
    while True:
        words = pick(rng, PICTURE_WORDS if rng.random() < 0.5 else PICTURE_WORDS_OFTEN)
        instruction = polite(rng, _look_template(rng, look).replace("{it}", words))
        if instruction not in look.held_out:
            return instruction


def polite(rng: Rng, instruction: str) -> str:
    """The instruction with, at times, a prefix, a suffix or a capital letter, as people write."""
    if rng.random() < 0.15:
        instruction = pick(rng, PREFIXES) + instruction
    if rng.random() < 0.12:
        instruction += pick(rng, SUFFIXES)
    if rng.random() < 0.15:
        instruction = instruction[0].upper() + instruction[1:]
    return instruction


SCENE_VERBS: dict[str, tuple[str, ...]] = {
    "add": ("add", "put", "draw", "place", "insert"),
    "remove": ("remove {ref}", "delete {ref}", "erase {ref}", "take away {ref}", "get rid of {ref}"),
    "extract": ("extract {ref}", "keep only {ref}", "cut out {ref}", "isolate {ref}", "remove everything except {ref}"),
    "replace": ("replace {ref} with {new}", "swap {ref} for {new}", "change {ref} into {new}", "turn {ref} into {new}"),
    "recolour": (
        "make {ref} {new}",
        "change {ref} to {new}",
        "paint {ref} {new}",
        "color {ref} {new}",
        "turn {ref} {new}",
    ),
    "resize": ("make {ref} {new}", "resize {ref} to {new}", "change the size of {ref} to {new}"),
    "move": (
        "move {ref} to the {new}",
        "shift {ref} to the {new}",
        "drag {ref} to the {new}",
        "bring {ref} to the {new}",
    ),
    "background": (
        "change the background to {new}",
        "make the background {new}",
        "set the background to {new}",
        "use a {new} background",
        "put everything on a {new} background",
    ),
}
"""Wordings of the scene edits; `{ref}` is the object, `{new}` what it becomes or where it goes."""
