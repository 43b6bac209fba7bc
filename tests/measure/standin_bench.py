"""A stand-in for a document of `dimrt bench`: the form of the real thing, with numbers that nobody measured."""

from typing import Any

import numpy as np

PHASES = {"read": 0.01, "vision": 0.2, "plan": 3.1, "condition": 0.1, "encode": 0.12, "paint": 1.4, "decode": 0.3}
GRAPHS = {
    "vision": ("vision", {"patches": 1024}, 1, 0.19, 0.55, "float16"),
    "language.read": ("language", {"tokens": 412, "cache": 0}, 1, 0.31, 0.61, "float16"),
    "language.token": ("language", {"tokens": 1, "cache": 500}, 255, 0.0107, 0.83, "bandwidth"),
    "encoder": ("encoder", {}, 1, 0.11, 0.42, "cache"),
    "step": ("step", {"condition": 320}, 4, 0.34, 0.72, "float16"),
    "decoder": ("decoder", {}, 1, 0.28, 0.38, "float16"),
}


def standin_document(seed: int = 0, *, count: int = 40, scale: float = 1.0, power: bool = True) -> dict[str, Any]:
    """A Jetson AGX Orin that never was: `count` edits, `scale` times the usual times."""
    random = np.random.default_rng(seed)

    def samples(middle: float, number: int = count, spread: float = 0.02) -> list[float]:
        return [round(float(each), 7) for each in middle * scale * np.exp(spread * random.standard_normal(number))]

    phases = {name: samples(seconds) for name, seconds in PHASES.items()}
    edits = [round(sum(parts), 7) for parts in zip(*phases.values(), strict=True)]
    second = samples(4.8)
    slower = [1 + 0.08 * i / count for i in range(count)]
    lasting = [round(each * factor, 7) for each, factor in zip(edits, slower, strict=True)]
    at = [0.0, *np.cumsum(lasting)[:-1].round(4).tolist()]
    return {
        "format": 1,
        "dimrt": "0.1.0",
        "when": "2026-11-22T14:00:00+00:00",
        "command": "dimrt bench --bundle dim-int8 -o orin.json",
        "card": {
            "board": "Stand-in Jetson AGX Orin Developer Kit",
            "processor": "ARMv8 Processor rev 1 (v8l)",
            "features": ["asimd", "asimddp"],
            "cores": {"logical": 12, "physical": 12, "allowed": 12, "quota": None},
            "threads": None,
            "memory_bytes": 64_349_000_000,
            "memory_free_bytes": 58_000_000_000,
            "system": "Linux 5.15.148-tegra aarch64, Ubuntu 22.04.5 LTS",
            "power_mode": "MAXN (mode 0)",
            "clocks": {"cpu_mhz": 2201, "cpu_max_mhz": 2201, "gpu_mhz": 1300, "gpu_max_mhz": 1300},
            "gpu": "Orin (nvgpu)",
            "driver": "540.4.0",
            "provider": "tensorrt 10.3",
            "versions": {"python": "3.10.12", "dimrt": "0.1.0", "numpy": "2.2.1", "tensorrt": "10.3.0"},
            "state": {"clocks": {}, "temperatures": {"cpu-thermal": 52.3, "gpu-thermal": 49.1}},
        },
        "bundle": {
            "name": "dim-4.6b",
            "recipe": "int8",
            "task": "edit",
            "digest": "0f3c",
            "bytes": 6_100_000_000,
            "random": False,
        },
        "settings": {
            "quick": False,
            "device": "auto",
            "target": None,
            "threads": None,
            "steps": 4,
            "guidance_scale": 1.0,
            "side": 512,
            "plan_tokens": None,
            "photo": [1600, 1200],
            "instructions": ["make it warmer", "add a vignette"],
            "warm_up": 2,
            "sustained_s": 60.0,
            "query": "one edit: from the bytes of a JPEG to the picture's pixels",
            "cold": "a new process",
        },
        "ceilings": {
            "bandwidth": 176e9,
            "copy": 168e9,
            "cached": 410e9,
            "matmul": {"float32": 4.9e12, "float16": 68e12, "int8": 121e12},
            "missing": {"fp8": "this GPU has no fp8"},
            "settings": {},
            "samples_s": {},
        },
        "cold": [
            {
                "seconds": 21.4,
                "import_s": 0.9,
                "open_s": 6.2,
                "edit_s": 14.1,
                "page_cache": "cold",
                "peak_rss_bytes": 7_300_000_000,
            }
        ],
        "edit": {
            "cold_s": 21.4,
            "first_s": float(np.median(edits)),
            "samples_s": edits,
            "p50": _at(edits, 0.5),
            "p90": _at(edits, 0.9) if count >= 10 else None,
            "p90_at_most": max(edits) if count >= 44 else None,
            "p99": None,
            "phases": phases,
            "second_edit_s": second,
            "second": {"samples_s": second, "p50": _at(second, 0.5), "p90": _at(second, 0.9), "p99": None},
        },
        "decode": {
            "tokens_per_s": 255 / PHASES["plan"] / scale,
            "tokens_per_pass": 2.4,
            "tokens": [255] * count,
            "passes": [106] * count,
            "plan_s": phases["plan"],
        },
        "graphs": {
            name: {
                "graph": graph,
                "axes": axes,
                "runs_per_edit": runs,
                **_percentiles(samples(seconds, 100, 0.01)),
                "cold_s": seconds * 3,
                "share": share,
                "bound": bound,
                "least_s": seconds * share,
            }
            for name, (graph, axes, runs, seconds, share, bound) in GRAPHS.items()
        },
        "memory": {"peak_rss_bytes": 7_300_000_000, "device_bytes": 6_900_000_000},
        "sustained": {
            "seconds": sum(lasting),
            "at_s": at,
            **_percentiles(lasting),
            "drift": 0.05,
            "phases": {
                name: [round(each * factor, 7) for each, factor in zip(parts, slower, strict=True)]
                for name, parts in phases.items()
            },
        },
        "power": _power(lasting, random) if power else None,
        **({} if power else {"power_why": "no tegrastats: this is no Jetson"}),
        "after": {},
        "throttled": False,
    }


def _at(samples: list[float], share: float) -> float:
    return sorted(samples)[min(int(len(samples) * share), len(samples) - 1)]


def _percentiles(samples: list[float]) -> dict[str, Any]:
    return {
        "samples_s": samples,
        "p50": _at(samples, 0.5),
        "p90": _at(samples, 0.9) if len(samples) >= 10 else None,
        "p90_at_most": None,
        "p99": _at(samples, 0.99) if len(samples) >= 100 else None,
    }


def _power(edits: list[float], random: np.random.Generator) -> dict[str, Any]:
    """Low while the plan is written, high while it is painted, with noise."""
    whole = sum(edits)
    watts, began = [], 0.0
    for seconds in edits:
        for at in np.arange(0, seconds, 0.1):
            level = 31 if at / seconds < 0.65 else 46
            watts.append([round(began + float(at), 3), round(level + float(random.normal(0, 1.5)), 3)])
        began += seconds
    mean = float(np.mean([each for _, each in watts]))
    return {
        "meter": "tegrastats VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0",
        "scope": "the module without its carrier board",
        "seconds": whole,
        "watts": watts,
        "mean_watts": mean,
        "idle_watts": 9.4,
        "rails": {"VDD_GPU_SOC": mean * 0.6, "VDD_CPU_CV": mean * 0.15, "VIN_SYS_5V0": mean * 0.25},
        "joules": mean * whole,
        "edits": len(edits),
        "joules_per_edit": mean * whole / len(edits),
    }
