"""diffusers does what one of dimrt's graphs does: its SANA transformer or its AutoencoderDC, eager or compiled.

A step projects the condition and makes the cross-attention's keys and values anew, as the original does in every step.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import versions
from peers.pictures import painter_source
from peers.protocol import Json, clocked, serve
from torch import Tensor

from dimrt.export.model.source import load_part


class TorchGraph:
    """The library's module, its inputs, and what is done around it."""

    def __init__(self, task: Json) -> None:
        torch.set_num_threads(task["threads"])
        with np.load(task["inputs"]) as arrays:
            self._inputs = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        source = painter_source(task["model"])
        self._module = load_part(source, "painter" if task["graph"] == "step" else "autoencoder")
        self._edit = source.config.painter.task == "edit"
        if task["compiled"]:
            part = {"step": "transformer", "encode": "encoder", "decode": "decoder"}[task["graph"]]
            getattr(self._module, part).compile(dynamic=False)
        self._work: Callable[[], Tensor] = getattr(self, f"_{task['graph']}")
        self._result = np.empty(0, np.float32)
        self.facts = {
            "versions": versions(("torch", "diffusers")),
            "differs": (
                "the condition is projected in the step, as the original does" if task["graph"] == "step" else ""
            ),
        }

    @torch.inference_mode()
    def run(self) -> Json:
        """Once."""
        seconds: dict[str, float] = {}
        with clocked(seconds, "run"):
            result = self._work()
        self._result = result.numpy()
        return {"seconds": seconds, "shape": list(self._result.shape), "sum": float(self._result.sum())}

    def keep(self, path: Path) -> None:
        """What the module gave."""
        np.save(path, self._result)

    def _step(self) -> Tensor:
        given = self._inputs
        latent = given["latent"]
        sigma, keep, fresh, older = given["coefficients"]
        both = self._module.data(
            latent.expand(2, -1, -1, -1),
            sigma,
            given["timestep"].expand(2),
            given["condition"],
            source=given["source"] if self._edit else None,
        )
        data = both[:1] + given["guidance"] * (both[1:] - both[:1])
        return keep * latent + fresh * data + older * given["previous"]

    def _encode(self) -> Tensor:
        return self._module.encode(self._inputs["pixels"]).latent * self._module.config.scaling_factor

    def _decode(self) -> Tensor:
        return self._module.decode(self._inputs["latent"] / self._module.config.scaling_factor).sample


if __name__ == "__main__":
    serve(TorchGraph)
