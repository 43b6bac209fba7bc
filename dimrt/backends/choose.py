"""Which backend runs a bundle: the one that was named, or the best that is ready."""

from pathlib import Path
from typing import Literal

from dimrt.backends.base import Backend
from dimrt.backends.onnxruntime import OrtBackend, best_device
from dimrt.bundle import Bundle
from dimrt.errors import InputError

DeviceName = Literal["auto", "cpu", "cuda", "tensorrt"]


def open_backend(
    bundle: Bundle, device: DeviceName, *, target: str | Path | None = None, threads: int | None = None
) -> Backend:
    """The backend for a device.

    Args:
        bundle: what is to run.
        device: "tensorrt", "cuda" and "cpu" are taken at their word. "auto" takes TensorRT when engines of this bundle
            for this GPU are in the cache, else CUDA when this ONNX Runtime has it, else the CPU.
        target: for TensorRT only.
        threads: for ONNX Runtime only.

    Raises:
        InputError: a target for a device that has none.
        ResourceError: the device can't be used.
    """
    if target is not None and device in ("cpu", "cuda"):
        raise InputError(f"--target is for TensorRT engines and --device is {device}; leave one of them out")
    if device == "tensorrt" or (device == "auto" and (target is not None or _engines_are_ready(bundle))):
        from dimrt.backends.tensorrt import TensorRtBackend

        return TensorRtBackend(bundle, target=target)
    return OrtBackend(bundle, device=best_device() if device == "auto" else device, threads=threads)


def _engines_are_ready(bundle: Bundle) -> bool:
    from dimrt.backends.tensorrt import engines_are_ready

    return engines_are_ready(bundle)
