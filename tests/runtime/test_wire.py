"""Events, results and errors as JSON."""

import base64
import io
import json
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from dimrt.blueprint import Blueprint
from dimrt.errors import Cancelled, InputError
from dimrt.events import Event, PhaseFinished, PhaseStarted, PlanReady, PlanText, Preview, Progress
from dimrt.jobs import QueueFull
from dimrt.result import EditResult
from dimrt.wire import error_json, event_json, result_json

PLAN = "1. Edit Instruction: make it red\n2. Edited Image Imagination: a red pig"
SECTIONS = {
    "Edit Instruction": "make it red",
    "Global Layout Perception": "",
    "Local Object Perception": "",
    "Edit Area Localization": "",
    "Edited Image Imagination": "a red pig",
}
PICTURE = np.full((24, 40, 3), (200, 30, 60), np.uint8)
EVENTS = [
    (PhaseStarted("paint", 30), {"type": "phase_started", "phase": "paint", "total": 30}),
    (PhaseStarted("read"), {"type": "phase_started", "phase": "read", "total": None}),
    (Progress("plan", 7), {"type": "progress", "phase": "plan", "done": 7}),
    (PlanText("1. Edit „rot“"), {"type": "plan_text", "text": "1. Edit „rot“"}),
    (
        PlanReady(Blueprint.parse(PLAN), "brief"),
        {"type": "plan_ready", "text": PLAN, "style": "brief", "sections": SECTIONS},
    ),
    (PhaseFinished("paint", 1.23456789), {"type": "phase_finished", "phase": "paint", "seconds": 1.2346}),
]


@pytest.mark.parametrize(("event", "document"), EVENTS, ids=lambda item: type(item).__name__)
def test_events(event: Event, document: dict[str, object]) -> None:
    assert event_json(event) == document
    assert json.loads(json.dumps(event_json(event))) == document


def test_every_event_has_a_form() -> None:
    assert {type(event) for event, _ in EVENTS} | {Preview} == set(get_args(Event))


def test_a_preview_is_a_small_jpeg() -> None:
    document = event_json(Preview(3, PICTURE))
    head, _, data = document.pop("image").partition(",")
    assert document == {"type": "preview", "step": 3, "width": 40, "height": 24}
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (40, 24))
        assert np.abs(np.asarray(picture).astype(int) - PICTURE).max() < 8


def test_results() -> None:
    result = EditResult(
        image=PICTURE,
        painted=PICTURE[:8, :8],
        blueprint=None,
        plan_style=None,
        seed=2**63 - 1,
        steps=4,
        guidance_scale=1.5,
        composite="tone",
        timings={"paint": 0.123456},
        bundle="nano",
        provider="onnxruntime CPUExecutionProvider",
    )
    document = json.loads(json.dumps(result_json(result)))
    assert (document["width"], document["height"], document["plan"]) == (40, 24, None)
    assert (document["seed"], document["seconds"], document["composite"]) == (2**63 - 1, {"paint": 0.1235}, "tone")


def test_errors_that_quote_a_novel_are_shortened() -> None:
    message = error_json(InputError("plan " + "x" * 100_000 + " is too long"))["error"]["message"]
    assert (message[:8], message[-11:]) == ("plan xxx", "is too long")
    assert len(message) < 4100


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (InputError("no such photo"), "InputError", "no such photo"),
        (QueueFull("try again"), "QueueFull", "try again"),
        (Cancelled(), "Cancelled", "cancelled; nothing was written"),
        (ValueError("x"), "InternalError", "dimrt failed (ValueError: x); please report this"),
    ],
)
def test_errors(error: BaseException, kind: str, message: str) -> None:
    assert error_json(error) == {"error": {"type": kind, "message": message}}
