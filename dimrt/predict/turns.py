"""How many tokens the designer reads in an edit: counted by the bundle's tokenizer, or from the length of its texts."""

from dataclasses import dataclass

from dimrt.bundle import TOKENIZER, Bundle
from dimrt.prompt import Prompts

INSTRUCTION = "make the sky look like a stormy evening"
"""As long as a usual one."""
CHARACTERS = 4.5
"""Of English text in one token of a large vocabulary such as Qwen's."""
MARKS = 10
"""Tokens of a turn that are no text: starts, ends, roles, line breaks."""
AROUND_PICTURE = 2
"""Marks before and after the picture's tokens, which are part of the condition."""


@dataclass(frozen=True)
class Turns:
    """Tokens that both turns begin with, those of the request after them, and those of an instruction."""

    shared: int
    request: int
    instruction: int


def count_turns(bundle: Bundle, picture: int) -> Turns:
    """Of an edit of a usual instruction, with so many tokens of the picture; a model without a bundle has no tokenizer,
    so its texts' length says about how many there are.
    """
    designer = bundle.manifest.designer
    if (bundle.path / TOKENIZER).is_file():
        prompts = Prompts(bundle.tokenizer_path, designer)
        asked, told = prompts.plan_turn(INSTRUCTION, picture), prompts.condition_turn(INSTRUCTION, picture)
        return Turns(asked.shared, len(asked.ids) - asked.shared, len(told.ids) - told.shared)
    instruction = round(len(INSTRUCTION) / CHARACTERS)
    shared = picture + AROUND_PICTURE + MARKS + round(len(designer.prompt.system) / CHARACTERS)
    return Turns(shared, MARKS + instruction + round(len(designer.prompt.request) / CHARACTERS), instruction)
