"""dimrt writes plans of scenes as an edit does: through the designer, with guesses that the same graph confirms.

One run writes every plan once. Its time is told for as many tokens as the peers write, so that it stands beside theirs.
A peer's time for a token doesn't depend on the token; a guesser's does, which is why these plans are real ones.
"""

import json
from pathlib import Path

import numpy as np
from common import versions
from peers.protocol import Json, clocked, serve

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import Bundle
from dimrt.designer import Designer
from dimrt.vision import condition_size, prepare


class DimrtPlan:
    """The designer of a bundle; `keeps` says whether plans written before help to guess, as in an app that runs on."""

    def __init__(self, task: Json) -> None:
        folder = Path(task["scenes"])
        self._pictures = np.load(folder / "pictures.npy")
        self._instructions = json.loads((folder / "instructions.json").read_text(encoding="utf-8"))
        self._bundle = Bundle.open(task["bundle"], verify="layout")
        self._backend = OrtBackend(self._bundle, threads=task["threads"])
        self._keeps, self._count = task["keeps"], task["tokens"]
        self._tokens = self._passes = 0
        self.run()
        self.facts = {
            "versions": versions(("dimrt", "onnxruntime", "numpy")),
            "runs": self._backend.name,
            "recipe": self._bundle.manifest.recipe,
            "plans": len(self._instructions),
            "tokens": self._tokens,
            "tokens_a_run": round(self._tokens / self._passes, 2),
            "differs": "plans of pictures, written to their ends; several tokens a run where they can be guessed",
        }

    def run(self) -> Json:
        """Write the plans; seconds of `tokens` tokens, the first of them written by the reading of the turn."""
        self._tokens = self._passes = 0
        designer = Designer(self._bundle, self._backend)
        seconds = 0.0
        for picture, instruction in zip(self._pictures, self._instructions, strict=True):
            designer = designer if self._keeps else Designer(self._bundle, self._backend)
            seconds += self._write(designer, picture, instruction)
        return {"seconds": {"write": seconds / self._tokens * (self._count - 1)}}

    def _write(self, designer: Designer, picture: np.ndarray, instruction: str) -> float:
        facts = self._bundle.manifest.designer
        view = designer.view(prepare(picture, facts.vision, condition_size(facts.vision)))
        turn = designer.prompts.plan_turn(instruction, view.grid[0] * view.grid[1])
        pieces = designer.write(turn, view, facts.decoding.max_new_tokens, facts.decoding.repetition_penalty)
        next(pieces)
        seconds: dict[str, float] = {}
        with clocked(seconds, "write"):
            last = list(pieces)[-1]
        self._tokens += last.count - 1
        self._passes += last.passes - 1
        return seconds["write"]

    def keep(self, path: Path) -> None:
        """That guesses change no token is for tests to show."""


if __name__ == "__main__":
    serve(DimrtPlan)
