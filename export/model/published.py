"""The published DIM-4.6B: what its checkpoint does not say about itself.

Sizes follow the checkpoint's tensor shapes; 30 steps, scale 7.5, shift 3 and seed 233 are the values the published
inference really uses (its visible defaults, 20 and 4.5, have no effect).
"""

from dataclasses import replace
from typing import Literal

from dimrt.export.model.config import DIMConfig, PainterConfig
from dimrt.manifest import Decoding, PlanStyle, Prompt, Resolution, Schedule

HUB_IDS = {"edit": "stdKonjac/DIM-4.6B-Edit", "generate": "stdKonjac/DIM-4.6B-T2I"}
DESIGNER_ID = "Qwen/Qwen2.5-VL-3B-Instruct"
AUTOENCODER_ID = "mit-han-lab/dc-ae-f32c32-sana-1.1-diffusers"
LICENCE = (
    "CC-BY-NC-4.0 (DIM-4.6B, built on SANA 1.5 under the NVIDIA License), Qwen Research License (Qwen2.5-VL-3B); "
    "for DC-AE see its hub page"
)
"""Terms of the weights, which as a whole exclude commercial use."""
SYSTEM = "You are a helpful assistant."
"""The system turn that Qwen2.5-VL's chat template adds when a conversation has none."""

REQUEST = """\
You are given a picture and an instruction that says how to edit it. Before anything is painted, think the edit \
through and write down your reasoning step by step, in these five numbered lines:
1. Edit Instruction: [the instruction, as given]
2. Global Layout Perception: name the main objects of the picture and say where each one is
3. Local Object Perception: describe how each object and the background look: shape, colour, texture and state
4. Edit Area Localization: say which objects or regions the edit will change
5. Edited Image Imagination: describe how the picture will look after the edit, above all where it has changed

Answer in exactly this format and write nothing else.

Edit instruction: {instruction}"""

REQUEST_BRIEF = """\
You are given a picture and an instruction that says how to edit it. Before anything is painted, work out what the \
instruction asks for, and write it down in these two lines, with these numbers:
3. Local Object Perception: name the object or region that the edit is about, say in a few words how it looks now \
(shape, colour, texture, state), then say plainly what is done to it and how it looks afterwards
4. Edit Area Localization: say where in the picture that is, and that everything else stays as it is

Answer in exactly this format and write nothing else.

Edit instruction: {instruction}"""
"""Asks for sections 3 and 4 alone, the resolved edit and its place. It is this project's own, not the paper's: the
published painter was trained on plans of five sections, so a brief plan saves decoding at a cost that only the real
weights can tell."""

EDIT_PAINTER = PainterConfig(
    task="edit",
    latent_channels=32,
    hidden_size=2240,
    depth=20,
    cross_heads=20,
    linear_head_dim=32,
    caption_channels=2304,
    max_condition=8192,
)


def published_config(task: Literal["edit", "generate"]) -> DIMConfig:
    """Facts of DIM-4.6B-Edit or DIM-4.6B-T2I.

    The plan is decoded with the defaults of the instruct checkpoint's `generation_config.json`: temperature 1e-6, which
    is greedy, and repetition penalty 1.05.
    """
    return DIMConfig(
        name=HUB_IDS[task].rsplit("/", 1)[1],
        licence=LICENCE,
        painter=replace(EDIT_PAINTER, task=task),
        schedule=Schedule(steps=30, guidance_scale=7.5, shift=3.0, seed=233),
        resolution=Resolution(side=1024, multiple=32, latent_factor=32, aspect="free"),
        prompt=Prompt(system=SYSTEM, request=REQUEST, styles=(PlanStyle("brief", REQUEST_BRIEF),)),
        decoding=Decoding(max_new_tokens=8192, repetition_penalty=1.05),
        condition_side=1024,
    )
