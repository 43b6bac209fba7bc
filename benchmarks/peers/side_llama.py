"""llama.cpp reads a prompt and writes greedily: the text model as a GGUF file of architecture qwen2vl.

Its server's completion call is used inside the process, without HTTP; the seconds are the ones it reports itself, which
leave its own overhead between two calls out.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import xllamacpp
from gguf import GGMLQuantizationType as Kind
from peers.protocol import Json, serve
from safetensors.numpy import load_file

MATRIX = {"fp32": Kind.F32, "int8": Kind.Q8_0, "int4": Kind.Q4_0}
"""Format of the layers' matrices in each precision."""
HEAD = {"fp32": Kind.F32, "int8": Kind.Q8_0, "int4": Kind.Q8_0}
"""Of the embedding, which is also the output head."""
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


class LlamaText:
    """The model in llama.cpp."""

    def __init__(self, task: Json) -> None:
        precision = task["precision"]
        path = Path(task["folder"]) / f"{precision}.gguf"
        if not path.is_file():
            write_gguf(Path(task["text"]), Path(task["library"]), path, precision)
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx = len(task["prompt"]) + task["tokens"] + 8
        parameters.n_parallel = 1
        parameters.n_batch = parameters.n_ubatch = 512
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = task["threads"]
        kind = xllamacpp.ggml_type.GGML_TYPE_F32 if precision == "fp32" else xllamacpp.ggml_type.GGML_TYPE_F16
        parameters.cache_type_k = parameters.cache_type_v = kind
        parameters.warmup = False
        self._server = xllamacpp.Server(parameters)
        self._request = {
            "prompt": task["prompt"],
            "n_predict": task["tokens"],
            "temperature": 0.0,
            "top_k": 1,
            "repeat_penalty": 1.0,
            "cache_prompt": False,
        }
        self.facts = {
            "versions": {"xllamacpp": xllamacpp.__version__, "gguf": version("gguf")},
            "instructions": xllamacpp.get_system_info(),
            "matrices": MATRIX[precision].name,
            "head": HEAD[precision].name,
            "cache": "float32" if precision == "fp32" else "float16",
            "weight_bytes": path.stat().st_size,
            "differs": (
                "quantized matrices are multiplied by activations rounded to 8 bits in blocks of 32; the cache is "
                "float16 except in fp32; seconds are the ones llama.cpp reports of itself"
            ),
        }

    def run(self) -> Json:
        """Read the prompt, write the tokens."""
        answer: Any = self._server.handle_completions(self._request)
        if isinstance(answer, str):
            answer = json.loads(answer)
        if "timings" not in answer:
            raise RuntimeError(f"no completion: {str(answer)[:300]}")
        spent = answer["timings"]
        if spent["prompt_n"] != len(self._request["prompt"]):
            raise RuntimeError(f"read {spent['prompt_n']} of {len(self._request['prompt'])} prompt tokens anew")
        seconds = {"read": spent["prompt_ms"] / 1e3, "write": spent["predicted_ms"] / 1e3}
        # The answer holds text alone, in the names that `write_gguf` gave the tokens.
        names = answer["choices"][0]["text"].split("t")[1:]
        return {"seconds": seconds, "tokens": [int(name) for name in names]}

    def keep(self, path: Path) -> None:
        """Tokens are in every result."""


def write_gguf(text: Path, library: Path, path: Path, precision: str) -> None:
    """The text model as GGUF. Tokens get names without meaning: only their numbers are used, none ends the text."""
    config = json.loads((text / "config.json").read_text(encoding="utf-8"))
    vision = json.loads((library / "config.json").read_text(encoding="utf-8"))
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "qwen2vl")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    rope = vision["text_config"]["rope_parameters"]
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_sections([*rope["mrope_section"], 0])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([f"t{n}" for n in range(config["vocab_size"])])
    writer.add_token_types([gguf.TokenType.NORMAL] * config["vocab_size"])
    writer.add_token_merges(["t 1"])
    for name in ("bos", "eos", "pad"):
        getattr(writer, f"add_{name}_token_id")(config["vocab_size"] - 1)
    writer.add_add_bos_token(False)
    for name, tensor in load_file(text / "model.safetensors").items():
        given, kind = _entry(name, tensor, precision)
        data = tensor.astype(np.float32)
        writer.add_tensor(given, data if kind == Kind.F32 else gguf.quants.quantize(data, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _entry(name: str, tensor: np.ndarray, precision: str) -> tuple[str, Kind]:
    """Name and format of a tensor in the file."""
    if name == "model.embed_tokens.weight":
        return "token_embd.weight", HEAD[precision]
    if name == "lm_head.weight":
        return "output.weight", HEAD[precision]
    if name == "model.norm.weight":
        return "output_norm.weight", Kind.F32
    _, _, layer, rest = name.split(".", 3)
    module, _, leaf = rest.rpartition(".")
    kind = MATRIX[precision] if tensor.ndim == 2 else Kind.F32
    return f"blk.{layer}.{NAMES[module]}.{leaf}", kind


if __name__ == "__main__":
    serve(LlamaText)
