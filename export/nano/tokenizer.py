"""Nano's tokenizer: byte-level BPE over its own instructions and plans, so that any text still encodes."""

from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from dimrt.export.nano.cases import draw_case, generator
from dimrt.export.nano.filters import FILTERS
from dimrt.export.nano.plans import HEADINGS
from dimrt.export.nano.wordings import word_look

END = "<|endoftext|>"
IM_START, IM_END = "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
IMAGE_PAD, VIDEO_PAD = "<|image_pad|>", "<|video_pad|>"
SPECIALS = (END, IM_START, IM_END, VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD)

HEADING_TOKENS = (HEADINGS[0], *(f"\n{heading}" for heading in HEADINGS[1:]), HEADINGS[1], HEADINGS[2])
"""The plan's headings are one token each (with the line break before them), which makes plans short. The last two open
the shorter styles of a plan."""

VOCABULARY = 1202
_CASES = 1200
_WORDINGS = 6000
_ENGLISH = """
the a an and or of to in on at by for from with without into onto over under behind before after between near around
is are was were be been has have had do does did can could should would will may might must not no yes this that these
those it its he she they we you my your his her their our who what where when which how all any some more most less few
make made change turn put add remove delete erase replace swap keep cut move shift bring take give show use set apply
look style color colour light dark bright sky sea water river lake mountain tree grass flower house building street road
car bike boat train plane dog cat bird horse fish man woman child boy girl people person face hair eye hand hat shirt
dress coat table chair window door wall floor lamp book cup bottle plate food fruit bread snow rain sun moon star cloud
fire smoke sand stone wood metal glass paper winter summer spring autumn morning evening left right top bottom center
front back big small large tiny long short old new young hot cold red orange yellow green blue purple pink brown black
white gray gold silver picture photo image background foreground scene portrait landscape city forest beach garden room
"""


def corpus() -> Iterator[str]:
    """Texts the vocabulary is learned from: plans, wordings of the photographic edits, plain English words."""
    for index in range(_CASES):
        yield draw_case("training", 0, index).plan.text()
    names = list(FILTERS)
    for index in range(_WORDINGS):
        rng = generator("training", 1, index)
        yield " " + word_look(rng, names[index % len(names)])
    for _ in range(8):
        yield from (" " + word for word in _ENGLISH.split())


def train_tokenizer() -> Tokenizer:
    """A fresh tokenizer; the same on every run."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    headings = [AddedToken(text, normalized=False, special=False) for text in HEADING_TOKENS]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(headings),
        special_tokens=[AddedToken(text, normalized=False, special=True) for text in SPECIALS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_tokens(headings)
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`, or train one and write it there when there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        train_tokenizer().save(str(path))
    return Tokenizer.from_file(str(path))
