"""Speed of the CPU recipes at DIM-4.6B's full width: ONNX Runtime against PyTorch, all in one run.

The model has the published widths and random weights (time doesn't depend on values) and only its first layers, so
that every variant fits in memory beside the others: `--language-layers`, `--step-layers`. Nothing is extrapolated:
what is written down is the time of that many layers, for `language` with the final norm and the whole output head.

- `language` decode: one token behind a cache of `--cache` rows, and the logits of it; tokens a second.
- `language` prefill: the last `--prompt` rows of that cache read in one run, logits of the last; tokens a second.
- `step`: one guided painter step (two rows of `--rows` condition rows) of a `--side` squared latent; seconds.
  `context`, what dimrt computes once an edit and PyTorch's classes in every step, is timed by itself.

Variants take turns, another one first in every round, so that whatever else the machine does hits all of them.
Ratios are of the two times of one round; the spread is over the rounds. Wants an idle machine, and memory for all
variants (`--recipes` and `--torch` choose them; about 12 GB at 4 and 2 layers).

    python benchmarks/precision_speed.py --language-layers 4 --step-layers 2 --rounds 7
"""

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import peak_memory_mib, write_result
from precision_sides import Graphs, OrtPainter, OrtText, PaintInputs, TextInputs, TorchPainter, TorchText, library_part

from dimrt.export.facts import language_facts
from dimrt.export.model.checkpoint import Checkpoint
from dimrt.export.model.random import RandomCheckpoint
from dimrt.export.model.source import Shallow, Source
from dimrt.export.pipeline import NANO
from dimrt.export.precision.recipe import load_recipe
from dimrt.schedule import flow_schedule

RECIPES = "fp32,fp16,int8-cpu,int4-cpu"
TORCH = {"fp32": torch.float32, "bf16": torch.bfloat16}
INSTRUCTIONS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")

Timed = Callable[[], tuple[float, Any]]
"""One run: its wall-clock seconds and what came out."""


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Wall-clock seconds of a call, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def repeated(one: Timed, count: int) -> Timed:
    """Runs one after the other: their mean time, and the last result."""

    def work() -> tuple[float, Any]:
        runs = [one() for _ in range(count)]
        return sum(seconds for seconds, _ in runs) / count, runs[-1][1]

    return work


def rounds(variants: Mapping[str, Timed], count: int) -> dict[str, list[float]]:
    """Seconds of every variant in every round; round n starts with the n-th variant. One round before isn't counted."""
    names = list(variants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-1, count):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            taken, _ = variants[name]()
            if number >= 0:
                seconds[name].append(taken)
    return seconds


def summary(seconds: Mapping[str, list[float]], tokens: int | None = None) -> dict[str, Any]:
    """Per variant the rounds, median and least; ratios against every PyTorch variant, of each round."""
    rows = {}
    for name, runs in seconds.items():
        row: dict[str, Any] = {
            "median_s": round(statistics.median(runs), 5),
            "min_s": round(min(runs), 5),
            "rounds_s": [round(run, 5) for run in runs],
        }
        if tokens is not None:
            row["tokens_per_s_median"] = round(tokens / statistics.median(runs), 2)
            row["tokens_per_s_best"] = round(tokens / min(runs), 2)
        rows[name] = row
    peers = [name for name in seconds if name.startswith("torch")]
    ratios = {
        f"{name} against {peer}": _spread([a / b for a, b in zip(seconds[peer], seconds[name], strict=True)])
        for name in seconds
        for peer in peers
        if name not in peers
    }
    return {"variants": rows, "times_as_fast": ratios}


def _spread(ratios: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(ratios), 2),
        "least": round(min(ratios), 2),
        "most": round(max(ratios), 2),
    }


def differences(variants: Mapping[str, Timed]) -> dict[str, float]:
    """Norm of each variant's difference from PyTorch float32 over that one's norm: are they doing the same work?"""
    results = {name: variant()[1] for name, variant in variants.items()}
    truth = results.get("torch fp32")
    if truth is None:
        return {}
    return {name: float(f"{np.linalg.norm(r - truth) / np.linalg.norm(truth):.2e}") for name, r in results.items()}


def language(source: Source, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Decode and prefill of the text model."""
    facts = language_facts(source.parts.designer, source.parts.designer_folder / "config.json")
    inputs = TextInputs(facts, args.cache, args.prompt)
    decode, prefill, weights = {}, {}, {}
    for recipe in args.recipes:
        graphs = Graphs(source, load_recipe(recipe), ("language",), folder / f"language-{recipe}")
        weights[f"ort {recipe}"] = graphs.bytes["language"]
        side = OrtText(graphs, inputs, args.threads)
        decode[f"ort {recipe}"] = lambda side=side: timed(lambda: side.read(1))
        prefill[f"ort {recipe}"] = lambda side=side: timed(lambda: side.read(args.prompt))
    for name in args.torch:
        text = TorchText(library_part(source, "designer", TORCH[name]), inputs)
        weights[f"torch {name}"] = _bytes(text.model.layers, text.model.norm, text.head)
        decode[f"torch {name}"] = lambda text=text: _read(text, 1)
        prefill[f"torch {name}"] = lambda text=text: _read(text, args.prompt)
        gc.collect()
    measured = {
        "layers": facts.layers,
        "hidden_size": facts.hidden_size,
        "vocab_size": facts.vocab_size,
        "weight_bytes": weights,
        "difference_from_torch_fp32": {"decode": differences(decode), "prefill": differences(prefill)},
        "decode": summary(rounds({name: repeated(one, args.tokens) for name, one in decode.items()}, args.rounds), 1),
        "prefill": summary(rounds(prefill, args.rounds), args.prompt),
    }
    return measured | {"peak_rss_mib_of_all_variants_together": peak_memory_mib()}


def _read(text: TorchText, count: int) -> tuple[float, Any]:
    """The cache of the rows before is made outside of the time."""
    cache = text.cache(text.inputs.rows - count)
    return timed(lambda: text.read(count, cache))


def _bytes(*modules: torch.nn.Module) -> int:
    return sum(p.numel() * p.element_size() for module in modules for p in module.parameters())


def step(source: Source, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One guided painter step, and the context that goes before."""
    facts = source.config.schedule
    call = flow_schedule(facts.steps, facts.shift)[facts.steps // 2]
    inputs = PaintInputs(source, args.side, args.rows, call, 7.5)
    steps, contexts, weights = {}, {}, {}
    for recipe in args.recipes:
        graphs = Graphs(source, load_recipe(recipe), ("context", "step"), folder / f"step-{recipe}")
        weights[f"ort {recipe}"] = graphs.bytes["step"]
        side = OrtPainter(graphs, inputs, args.threads)
        side.prepare()
        contexts[f"ort {recipe}"] = lambda side=side: timed(side.prepare)
        steps[f"ort {recipe}"] = lambda side=side: timed(side.step)
    for name in args.torch:
        painter = library_part(source, "painter", TORCH[name])
        peer = TorchPainter(painter, inputs)
        steps[f"torch {name}"] = lambda peer=peer: timed(peer.step)
        weights[f"torch {name}"] = _bytes(painter.transformer)
    measured = {
        "layers": source.config.painter.depth,
        "hidden_size": source.config.painter.hidden_size,
        "weight_bytes": weights,
        "difference_from_torch_fp32": differences(steps),
        "step": summary(rounds(steps, args.rounds)),
        "context": summary(rounds(contexts, args.rounds)),
    }
    return measured | {"peak_rss_mib_of_all_variants_together": peak_memory_mib()}


def instructions() -> list[str]:
    """Which of the processor's matrix and vector instructions matter here."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text().split("flags", 1)[-1].split("\n", 1)[0].split() if info.is_file() else []
    return [name for name in INSTRUCTIONS if name in flags]


def table(measured: Mapping[str, Any]) -> str:
    """The medians, and the ratios with their spread, as text."""
    lines = []
    for part, what in (("language", "decode"), ("language", "prefill"), ("step", "step"), ("step", "context")):
        if part not in measured:
            continue
        rows = measured[part][what]
        lines.append(f"{part} {what}, {measured[part]['layers']} layers")
        for name, row in rows["variants"].items():
            speed = f"{row['tokens_per_s_median']:>10.2f} tokens/s" if "tokens_per_s_median" in row else ""
            lines.append(f"  {name:<14}{row['median_s']:>10.4f} s (least {row['min_s']:.4f}){speed}")
        for name, ratio in rows["times_as_fast"].items():
            lines.append(f"    {name:<32}{ratio['median']:>6.2f} x ({ratio['least']:.2f} to {ratio['most']:.2f})")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="dim-4.6b-edit", help="a published size with random weights, or nano")
    parser.add_argument("--parts", default="language,step", help="what to measure")
    parser.add_argument("--recipes", default=RECIPES, help="recipes in ONNX Runtime")
    parser.add_argument("--torch", default="fp32,bf16", help="dtypes in PyTorch")
    parser.add_argument("--language-layers", type=int, default=4)
    parser.add_argument("--step-layers", type=int, default=2)
    parser.add_argument("--cache", type=int, default=2048, help="rows of the key/value cache")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prefill")
    parser.add_argument("--tokens", type=int, default=8, help="decoded tokens in each round")
    parser.add_argument("--rows", type=int, default=1700, help="condition rows")
    parser.add_argument("--side", type=int, default=32, help="side of the latent (32: a picture of 1024 x 1024)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the graphs are written for the time of the run")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    args.parts, args.recipes, args.torch = (v.split(",") for v in (args.parts, args.recipes, args.torch))
    return args


def main() -> None:
    """Measure, record, print."""
    args = parse()
    torch.set_num_threads(args.threads)
    whole = Checkpoint.open(NANO) if args.model == "nano" else RandomCheckpoint.published(args.model)
    measured: dict[str, Any] = {"instructions": instructions()}
    for part, work, layers in (("language", language, args.language_layers), ("step", step, args.step_layers)):
        if part in args.parts:
            with tempfile.TemporaryDirectory(dir=args.folder) as folder:
                measured[part] = work(Shallow(whole, layers), args, Path(folder))
            gc.collect()
    settings = {name: value for name, value in vars(args).items() if name not in ("folder", "out")}
    write_result("precision_speed", settings, measured, args.out)
    print(table(measured))


if __name__ == "__main__":
    main()
