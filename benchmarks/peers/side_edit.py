"""A whole edit: dimrt's chain, or the original's semantics in PyTorch (`benchmarks/original.py`), eager or compiled."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from chain import PHOTO, shifted
from common import versions
from gpu_torch import compiled, whole_dim
from original import Original
from peers.models import shallow_source
from peers.protocol import Json, clocked, serve

from dimrt import EditOptions, Editor
from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import Bundle
from dimrt.events import PlanText
from dimrt.export.pipeline import NANO
from dimrt.photo.read import read_photo


class Edit:
    """One editor; every run edits a picture that it has not seen."""

    def __init__(self, task: Json) -> None:
        self._task = task
        self._photo = read_photo(PHOTO)
        self._number = 0
        self._held: Any = None
        torch.set_num_threads(task["threads"])
        self._editor: Any
        bundle = Bundle.open(task["bundle"], verify="layout")
        if task["who"] == "dimrt":
            backend = OrtBackend(bundle, threads=task["threads"])
            backend.steady_rows = backend.steady_rows and task["guesses"]
            self._editor = Editor(bundle, backend)
        else:
            model: Any = NANO
            if task["shallow"] is not None:
                model = whole_dim(shallow_source(**task["shallow"]), "cpu", torch.float32)
            self._editor = Original(model, bundle.manifest, bundle.tokenizer_path)
            if task["who"] == "compiled":
                self._held = compiled(self._editor.dim, "inductor")
                self._held.__enter__()
        self._painted = np.empty(0, np.float32)
        self.facts = {"versions": versions(), "differs": task["differs"]}

    def run(self) -> Json:
        """One edit of the photo, moved round by some columns."""
        task, seconds = self._task, {}
        self._number += 1
        photo = shifted(self._photo, self._number)
        with clocked(seconds, "edit"):
            result, pieces = self._edit(photo, task)
        self._painted = result.painted.astype(np.float32)
        return {
            "seconds": seconds | result.timings,
            "tokens": pieces,
            "shape": list(self._painted.shape),
            "sum": float(self._painted.sum()),
        }

    def keep(self, path: Path) -> None:
        """The last painted picture, in levels of 255."""
        np.save(path, self._painted)

    def _edit(self, photo: Any, task: Json) -> tuple[Any, list[str]]:
        pieces: list[str] = []
        if isinstance(self._editor, Editor):
            options = EditOptions(
                steps=task["steps"],
                guidance_scale=task["guidance"],
                schedule=task["schedule"],
                seed=task["seed"],
                max_new_tokens=task["plan_tokens"],
                composite="none",
            )
            result = self._editor.edit(
                photo,
                task["instruction"],
                options,
                on_event=lambda event: pieces.append(event.text) if isinstance(event, PlanText) else None,
            )
            return result, list("".join(pieces))
        wanted = {
            "steps": task["steps"],
            "guidance_scale": task["guidance"],
            "seed": task["seed"],
            "max_new_tokens": task["plan_tokens"],
        }
        result = self._editor.edit(photo, task["instruction"], **wanted)
        return result, list(self._editor.prompts.decode(np.array(result.plan_tokens)).strip())


if __name__ == "__main__":
    serve(Edit)
