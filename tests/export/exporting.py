"""Exports that a test runs in a process of their own, to be killed or measured.

`python exporting.py CHECKPOINT OUT RECIPE` prints a line for each event. A checkpoint "random:WIDTH" is a model of
random numbers, of a size that the width sets.
"""

import json
import sys
from pathlib import Path
from tempfile import mkdtemp

from tiny import tiny_tokenizer

from dimrt.export import graphs
from dimrt.export.model.checkpoint import read_parts
from dimrt.export.model.config import DIMConfig, PainterConfig
from dimrt.export.model.random import RandomCheckpoint
from dimrt.export.pipeline import export_bundle
from dimrt.export.precision import RECIPES
from dimrt.manifest import Decoding, Prompt, Resolution, Schedule

REFERENCE = Path(__file__).parent.parent / "fixtures" / "reference"


def random_model(width: int, depth: int, vocabulary: int = 600) -> RandomCheckpoint:
    """A model like the tiny fixtures, `width` wide (a multiple of 64) and `depth` deep, of random numbers."""
    folder = Path(mkdtemp())
    tiny = REFERENCE / "designer_tiny"
    facts = json.loads((tiny / "config.json").read_text())
    heads = width // 16
    facts |= {
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "vocab_size": vocabulary,
    }
    facts["vision_config"] |= {"out_hidden_size": width, "hidden_size": width, "num_heads": heads, "depth": depth}
    facts["vision_config"] |= {"intermediate_size": 2 * width}
    (folder / "config.json").write_text(json.dumps(facts))
    for name in ("generation_config.json", "preprocessor_config.json"):
        (folder / name).write_bytes((tiny / name).read_bytes())
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    painter = PainterConfig("edit", 8, width, depth, width // 16, 16, width, 64)
    config = DIMConfig(
        name="random",
        licence="none: random numbers",
        painter=painter,
        schedule=Schedule(steps=4, guidance_scale=2.0, shift=3.0, seed=1),
        resolution=Resolution(side=64, multiple=32, latent_factor=32, aspect="square"),
        prompt=Prompt(system="You help.", request="Plan this edit: {instruction}"),
        decoding=Decoding(max_new_tokens=8, repetition_penalty=1.0),
        condition_side=56,
    )
    return RandomCheckpoint(config, read_parts(folder, REFERENCE / "autoencoder_tiny"), seed=3)


def main(checkpoint: str, out: str, recipe: str, only: str = "") -> None:
    """Export, and print `phase done written` for each event; `only` names the graphs (comma-separated)."""
    if only:
        graphs.graph_names = lambda config: tuple(only.split(","))  # type: ignore[assignment]
    source = random_model(*map(int, checkpoint.split(":")[1:])) if checkpoint.startswith("random:") else checkpoint
    export_bundle(
        source,
        out,
        RECIPES[recipe],
        offline=True,
        on_event=lambda event: print(event.phase, event.done, event.written, flush=True),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
