"""OpenVINO GenAI reads a prompt and writes greedily: the text model converted by optimum-intel, as Qwen2.

Its pipeline for Qwen2.5-VL takes text and pictures only, no token ids, so that no side could be given the same tokens;
the text pipeline does, and without a picture both are the same function.
"""

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import openvino
import openvino_genai
from peers.protocol import Json, convert, serve

FORMAT = {
    "fp32": ("--weight-format", "fp32"),
    "int8": ("--weight-format", "int8"),
    "int4": ("--weight-format", "int4", "--sym", "--group-size", "128", "--ratio", "1.0"),
}
"""Arguments of optimum-cli in each precision; the embedding, which is also the head, stays int8 in the last two."""


class OpenvinoText:
    """The model in OpenVINO GenAI."""

    def __init__(self, task: Json) -> None:
        precision = task["precision"]
        folder = Path(task["folder"]) / f"openvino-{precision}"
        write_model(Path(task["text"]), folder, precision)
        properties = {"INFERENCE_NUM_THREADS": task["threads"], "INFERENCE_PRECISION_HINT": "f32"}
        if precision == "fp32":
            properties |= {"KV_CACHE_PRECISION": "f32"}
        schedule = openvino_genai.SchedulerConfig()
        schedule.enable_prefix_caching = False  # every run reads the whole prompt, as with the other sides
        self._pipeline = openvino_genai.LLMPipeline(str(folder), "CPU", scheduler_config=schedule, **properties)
        self._prompt = openvino.Tensor(np.array([task["prompt"]], np.int64))
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = config.min_new_tokens = task["tokens"]
        config.do_sample, config.ignore_eos = False, True
        config.apply_chat_template = False
        self._config = config
        self.facts = {
            "versions": {
                name: version(name) for name in ("openvino", "openvino-genai", "optimum-intel", "transformers", "nncf")
            },
            "form": "the same weights as Qwen2",
            "converter": list(FORMAT[precision]),
            "properties": {name: str(value) for name, value in properties.items()},
            "weight_bytes": (folder / "openvino_model.bin").stat().st_size,
            "differs": (
                "float32 arithmetic is asked for; with int8 and int4 weights activations are rounded to 8 bits in "
                "groups and the cache is held in 8 bits, as it does by itself; seconds of the first token and of the "
                "rest are the ones it reports of itself"
            ),
        }

    def run(self) -> Json:
        """Read the prompt, write the tokens."""
        result = self._pipeline.generate(openvino_genai.TokenizedInputs(self._prompt, self._mask()), self._config)
        spent = result.perf_metrics
        first = spent.get_ttft().mean / 1e3
        whole = spent.get_generate_duration().mean / 1e3
        return {"seconds": {"read": first, "write": whole - first}, "tokens": [int(t) for t in result.tokens[0]]}

    def keep(self, path: Path) -> None:
        """Tokens are in every result."""

    def _mask(self) -> openvino.Tensor:
        return openvino.Tensor(np.ones(self._prompt.shape, np.int64))


def write_model(text: Path, folder: Path, precision: str) -> None:
    """Run optimum-intel's converter, once."""
    if (folder / "openvino_model.bin").is_file():
        return
    program = Path(sys.executable).parent / "optimum-cli"
    command = [str(program), "export", "openvino", "-m", str(text), "--task", "text-generation-with-past"]
    convert([*command, *FORMAT[precision], str(folder)], folder.parent)


if __name__ == "__main__":
    serve(OpenvinoText)
