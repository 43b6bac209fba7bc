"""ONNX Runtime GenAI reads a prompt and writes greedily: the text model by its own model builder.

Qwen2.5-VL's text model is tried first, as its builder makes it; where its runtime doesn't take that, the same weights
as Qwen2 are, and the record says so.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime_genai as genai
from peers.protocol import Json, clocked, convert, explained, serve

OPTIONS = {
    "fp32": ("fp32",),
    "int8": ("int8", "block_size=128", "accuracy_level=4", "algo_config=rtn"),
    "int4": ("int4", "block_size=128", "accuracy_level=4", "algo_config=rtn_last"),
}
"""Precision and extra options of the model builder."""


class GenaiText:
    """The model in ONNX Runtime GenAI."""

    def __init__(self, task: Json) -> None:
        self._prompt = np.array(task["prompt"], np.int32)
        self._count = task["tokens"]
        refused = {}
        for form, source in (("vl", task["library"]), ("qwen2", task["text"])):
            folder = Path(task["folder"]) / f"genai-{form}-{task['precision']}"
            try:
                build(Path(source), folder, task["precision"])
                self._model = load(folder, task["threads"])
                self.run()
            except Exception as error:  # the other form may do
                refused[form] = explained(error)
                continue
            break
        else:
            raise RuntimeError(f"neither form works: {refused}")
        self.facts = {
            "versions": {name: version(name) for name in ("onnxruntime-genai", "onnxruntime")},
            "form": {"vl": "Qwen2.5-VL text model", "qwen2": "the same weights as Qwen2"}[form],
            "refused": refused,
            "builder": list(OPTIONS[task["precision"]]),
            "weight_bytes": sum(file.stat().st_size for file in folder.glob("model.onnx*")),
            "differs": (
                "the embedding is in the graph; GroupQueryAttention over a shared cache; logits of the last row only"
            ),
        }

    def run(self) -> Json:
        """Read the prompt, write the tokens."""
        seconds: dict[str, float] = {}
        options = genai.GeneratorParams(self._model)
        rows = len(self._prompt) + self._count
        options.set_search_options(max_length=rows, min_length=rows, do_sample=False, past_present_share_buffer=True)
        with clocked(seconds, "read"):
            generator = genai.Generator(self._model, options)
            generator.append_tokens(self._prompt)
            generator.generate_next_token()
        with clocked(seconds, "write"):
            for _ in range(self._count - 1):
                generator.generate_next_token()
        written = np.asarray(generator.get_sequence(0))[len(self._prompt) :]
        return {"seconds": seconds, "tokens": written.tolist()}

    def keep(self, path: Path) -> None:
        """Tokens are in every result."""


def build(source: Path, folder: Path, precision: str) -> None:
    """Run the model builder, once."""
    if (folder / "genai_config.json").is_file():
        return
    kind, *extra = OPTIONS[precision]
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(folder)]
    command += ["-p", kind, "-e", "cpu", "-c", str(folder.parent / "genai-cache")]
    convert(command + (["--extra_options", *extra] if extra else []), folder.parent)


def load(folder: Path, threads: int) -> genai.Model:
    """The model with so many threads."""
    path = folder / "genai_config.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    facts["model"]["decoder"]["session_options"]["intra_op_num_threads"] = threads
    path.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return genai.Model(str(folder))


if __name__ == "__main__":
    serve(GenaiText)
