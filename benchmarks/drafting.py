"""How many tokens of a plan one run of the designer confirms: guesses judged on written plans, without the model.

A plan that is known stands in for the designer: a guess is right where the plan goes on that way, which is what the
designer itself would say when it writes greedily. Each plan is written after its instruction and after so many other
plans of the same writer.

    python benchmarks/drafting.py --plans PLANS.jsonl --field plan_gpt_4o      # plans of your own designer or corpus
    python benchmarks/drafting.py                                             # nano's true plans, nano's tokens

Of plans from a file, tokens are words and marks unless --tokenizer names a tokenizer.json: in English prose a large
vocabulary splits little more than that.
"""

import argparse
import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import RESULTS, write_result

from dimrt.bundle import NANO, Bundle
from dimrt.drafts import CONTEXT, DOUBT, KEPT, LIKELY, MOST, Drafts
from dimrt.export.model.published import REQUEST
from dimrt.prompt import Ids, Prompts

if TYPE_CHECKING:
    from dimrt.export.nano.cases import Case

WORDS = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]| ?[^\sA-Za-z0-9]+|\s+")
EARLIER = (0, 8, 32, 128)
ITEMS = (0.4, 0.35, 0.15, 0.1)
"""Shares of scenes with one, two, three and four items."""
END = 0
"""Stands for the token that ends a plan."""
Encode = Callable[[str], Ids]
Pairs = list[tuple[str, str]]
"""Instructions and their plans."""


def words() -> Encode:
    """Numbers words and marks as they come; 0 is the end of a plan."""
    numbers: dict[str, int] = {}
    return lambda text: np.array([numbers.setdefault(word, len(numbers) + 1) for word in WORDS.findall(text)], np.int64)


def from_file(path: Path, field: str) -> Pairs:
    """Instructions and plans of a JSONL file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [(row["instruction"], row[field]) for row in rows if row.get(field)]


def nano_scenes(count: int) -> "list[Case]":
    """Held-out cases of nano's scenes, of each edit type in turn."""
    from dimrt.export.nano.cases import generator, scene_case
    from dimrt.export.nano.edits import EDIT_TYPES

    kinds = [EDIT_TYPES[number % len(EDIT_TYPES)] for number in range(count)]
    return [scene_case(generator("held-out", 5, number), kind, ITEMS) for number, kind in enumerate(kinds)]


def of_nano(count: int) -> Pairs:
    """Instructions and true plans of nano's scenes."""
    return [(case.instruction, case.plan.text()) for case in nano_scenes(count)]


def confirmed(pairs: Pairs, encode: Encode, request: str, earlier: int, count: int) -> dict[str, Any]:
    """Tokens and guesses for each run, over `count` plans written after `earlier` others."""
    tokens = runs = guesses = 0
    for index in random.Random(0).sample(range(len(pairs)), count):
        drafts = Drafts()
        others = [number for number in range(len(pairs)) if number != index]
        for other in random.Random(index).sample(others, min(earlier, len(others))):
            drafts.keep(np.append(encode(pairs[other][1]), END))
        instruction, text = pairs[index]
        drafts.begin(encode(f"{request} {instruction}"))
        plan = [*(int(token) for token in encode(text)), END]
        at = 0
        while at < len(plan):
            guessed = drafts.guess() if at else []
            right = _agreeing(guessed, plan[at:])
            for token in plan[at : at + right + 1]:
                drafts.add(token)
            at += right + 1
            runs += 1
            guesses += len(guessed)
        tokens += len(plan)
    return {
        "tokens_per_plan": round(tokens / count, 1),
        "tokens_per_run": round(tokens / runs, 2),
        "guesses_per_run": round(guesses / runs, 2),
    }


def _agreeing(guessed: Sequence[int], plan: Sequence[int]) -> int:
    """How many first guesses are right; the token behind them comes with the same run."""
    right = 0
    while right < len(guessed) and right < len(plan) - 1 and guessed[right] == plan[right]:
        right += 1
    return right


def main() -> None:
    """Print and record the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plans", type=Path, help="JSONL with `instruction` and a field of plans")
    parser.add_argument("--field", action="append", help="name of a field of plans; may be given again")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json of the designer that wrote them")
    parser.add_argument("--count", type=int, default=60, help="plans that are judged")
    parser.add_argument("--out", type=Path, default=RESULTS / "drafting.json")
    args = parser.parse_args()
    facts = Bundle.open(NANO, verify="layout")
    encode: Encode
    if args.plans is None:
        encode, corpora = Prompts(facts.tokenizer_path, facts.manifest.designer).encode, {"nano": of_nano(400)}
        request = facts.manifest.designer.prompt.request
    else:
        request = REQUEST
        corpora = {field: from_file(args.plans, field) for field in args.field}
        if args.tokenizer is None:
            encode = words()
        else:
            from tokenizers import Tokenizer

            known = Tokenizer.from_file(str(args.tokenizer))
            encode = lambda text: np.array(known.encode(text).ids, np.int64)  # noqa: E731
    measured = {
        name: {
            str(earlier): confirmed(pairs, encode, request, earlier, min(args.count, len(pairs))) for earlier in EARLIER
        }
        for name, pairs in corpora.items()
    }
    settings = {
        "plans": {name: len(pairs) for name, pairs in corpora.items()},
        "tokens": "words and marks" if args.plans and not args.tokenizer else "of the tokenizer",
        "judged": args.count,
        "drafts": {"context": CONTEXT, "most": MOST, "likely": LIKELY, "doubt": DOUBT, "kept": KEPT},
    }
    write_result("drafting", settings, measured, args.out)


if __name__ == "__main__":
    main()
