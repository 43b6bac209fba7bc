"""Draw-In-Mind image editing on the edge: a designer writes a plan, a painter paints it.

The names below are loaded when first used, so that `import dimrt` itself costs next to nothing.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# ONNX Runtime from 1.29 on reports usage to its maker and keeps a device id in the home folder, unless this is set
# before it is first imported. dimrt sends nothing; whoever wants the reports sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from dimrt.blueprint import Blueprint
    from dimrt.bundle import Bundle
    from dimrt.editor import Editor
    from dimrt.errors import (
        AlteredBundle,
        BundleError,
        Cancelled,
        CheckFailed,
        CheckpointError,
        DimrtError,
        InputError,
        ResourceError,
    )
    from dimrt.events import Event, PhaseFinished, PhaseStarted, PlanReady, PlanText, Preview, Progress
    from dimrt.interop import DeviceArray
    from dimrt.options import EditOptions
    from dimrt.photo.read import Photo, read_photo
    from dimrt.photo.write import write_photo
    from dimrt.result import Design, EditResult
    from dimrt.session import Session
    from dimrt.warming import Warmth

    load = Editor.load

__all__ = [
    "AlteredBundle",
    "Blueprint",
    "Bundle",
    "BundleError",
    "Cancelled",
    "CheckFailed",
    "CheckpointError",
    "Design",
    "DeviceArray",
    "DimrtError",
    "EditOptions",
    "EditResult",
    "Editor",
    "Event",
    "InputError",
    "PhaseFinished",
    "PhaseStarted",
    "Photo",
    "PlanReady",
    "PlanText",
    "Preview",
    "Progress",
    "ResourceError",
    "Session",
    "Warmth",
    "load",
    "read_photo",
    "write_photo",
]

_HOMES = {
    "dimrt.blueprint": ("Blueprint",),
    "dimrt.bundle": ("Bundle",),
    "dimrt.editor": ("Editor",),
    "dimrt.errors": (
        "AlteredBundle",
        "BundleError",
        "Cancelled",
        "CheckFailed",
        "CheckpointError",
        "DimrtError",
        "InputError",
        "ResourceError",
    ),
    "dimrt.events": ("Event", "PhaseFinished", "PhaseStarted", "PlanReady", "PlanText", "Preview", "Progress"),
    "dimrt.interop": ("DeviceArray",),
    "dimrt.options": ("EditOptions",),
    "dimrt.photo.read": ("Photo", "read_photo"),
    "dimrt.photo.write": ("write_photo",),
    "dimrt.result": ("Design", "EditResult"),
    "dimrt.session": ("Session",),
    "dimrt.warming": ("Warmth",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "load":
        value = import_module("dimrt.editor").Editor.load
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module 'dimrt' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
