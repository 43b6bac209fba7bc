"""Events, results and errors as JSON: what the worker process and the HTTP endpoint tell whoever they serve."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dimrt.blueprint import Blueprint
from dimrt.errors import DimrtError
from dimrt.events import Event, PhaseFinished, PhaseStarted, PlanReady, PlanText, Preview, Progress
from dimrt.result import EditResult

MAX_MESSAGE = 4000
"""Characters of an error's message; it may quote what was sent."""
PREVIEW_QUALITY = 80
"""JPEG quality of a preview: about 10 KB at 256 x 256."""


def event_json(event: Event) -> dict[str, Any]:
    """An event as JSON; its "type" is the class's name in lower case with underscores.

    Pictures are data URLs of JPEG files.
    """
    match event:
        case PhaseStarted(phase, total):
            return {"type": "phase_started", "phase": phase, "total": total}
        case Progress(phase, done):
            return {"type": "progress", "phase": phase, "done": done}
        case PlanText(text):
            return {"type": "plan_text", "text": text}
        case PlanReady(blueprint, style):
            return {"type": "plan_ready", **_plan(blueprint, style)}
        case Preview(step, image):
            height, width = image.shape[:2]
            return {"type": "preview", "step": step, "image": _data_url(image), "width": width, "height": height}
        case PhaseFinished(phase, seconds):
            return {"type": "phase_finished", "phase": phase, "seconds": round(seconds, 4)}


def plan_json(blueprint: Blueprint | None, style: str | None) -> dict[str, Any] | None:
    """A plan: its text, its style (null when it was given) and its five sections, "" for one it lacks."""
    return None if blueprint is None else _plan(blueprint, style)


def result_json(result: EditResult) -> dict[str, Any]:
    """What a finished picture is and how it came to be, without its pixels."""
    height, width = result.image.shape[:2]
    return {
        "width": width,
        "height": height,
        "plan": plan_json(result.blueprint, result.plan_style),
        "plan_tokens": None if result.writing is None else result.writing.tokens,
        "plan_passes": None if result.writing is None else result.writing.passes,
        "seed": result.seed,
        "steps": result.steps,
        "guidance_scale": result.guidance_scale,
        "guidance_interval": result.guidance_interval,
        "composite": result.composite,
        "window": result.window,
        "region": result.region,
        "painted_scale": result.painted_scale,
        "closeup": result.closeup,
        "tile": result.tile,
        "bundle": result.bundle,
        "provider": result.provider,
        "seconds": {phase: round(seconds, 4) for phase, seconds in result.timings.items()},
        "loading": {graph: round(seconds, 4) for graph, seconds in result.loading.items()},
    }


def error_json(error: BaseException) -> dict[str, Any]:
    """What went wrong: the class of dimrt's own errors, "InternalError" for any other."""
    said = str(error)
    if len(said) > MAX_MESSAGE:
        said = said[: MAX_MESSAGE // 2] + " … " + said[-MAX_MESSAGE // 2 :]
    if isinstance(error, DimrtError):
        return {"error": {"type": type(error).__name__, "message": said}}
    message = f"dimrt failed ({type(error).__name__}: {said}); please report this"
    return {"error": {"type": "InternalError", "message": message}}


def _plan(blueprint: Blueprint, style: str | None) -> dict[str, Any]:
    return {"text": blueprint.text, "style": style, "sections": blueprint.sections}


def _data_url(image: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=PREVIEW_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
