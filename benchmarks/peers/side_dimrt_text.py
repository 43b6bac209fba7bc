"""dimrt reads a prompt and writes greedily: its own export of the designer's text model, through its own decoder loop.

Guesses (drafts) are off: every token is one pass, as with every peer.
"""

from pathlib import Path

import numpy as np
from common import versions
from peers.protocol import Json, clocked, serve

from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import Bundle
from dimrt.language import Language
from dimrt.rope import text_positions


class DimrtText:
    """The `language` graph of a bundle behind `dimrt.language`."""

    def __init__(self, task: Json) -> None:
        bundle = Bundle.open(task["bundle"], verify="layout")
        self._backend = OrtBackend(bundle, threads=task["threads"])
        self._language = Language(bundle, self._backend)
        self._table = bundle.table("embeddings")
        self._prompt = np.array(task["prompt"], np.int64)
        self._count = task["tokens"]
        self._backend.engine("language")
        self.facts = {
            "versions": versions(("dimrt", "onnxruntime", "numpy")),
            "runs": self._backend.name,
            "recipe": bundle.manifest.recipe,
            "weight_bytes": bundle.graph_bytes("language"),
            "differs": "embedding rows are looked up by the host; the cache is written in place; no drafts",
        }

    def run(self) -> Json:
        """Read the prompt, write the tokens."""
        seconds: dict[str, float] = {}
        prompt, language = self._prompt, self._language
        with clocked(seconds, "read"):
            cache = language.cache(len(prompt) + self._count)
            _, logits = language.read(cache, self._embed(prompt), text_positions(0, len(prompt), 0), 0)
            written = [int(np.argmax(logits[-1]))]
        with clocked(seconds, "write"):
            for place in range(len(prompt), len(prompt) + self._count - 1):
                row = self._embed(np.array(written[-1:]))
                _, logits = language.read(cache, row, text_positions(place, 1, 0), place)
                written.append(int(np.argmax(logits[-1])))
        return {"seconds": seconds, "tokens": written}

    def keep(self, path: Path) -> None:
        """Tokens are in every result."""

    def _embed(self, ids: np.ndarray) -> np.ndarray:
        return np.array(self._table[ids])


if __name__ == "__main__":
    serve(DimrtText)
