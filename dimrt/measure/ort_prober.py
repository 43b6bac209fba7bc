"""Ceilings through ONNX Runtime, on the processor or on a CUDA card: what its own kernels reach."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native

from dimrt.backends.cores import Threads, choose_threads, usable_cores
from dimrt.backends.onnxruntime import PROVIDERS, session_options
from dimrt.errors import ResourceError
from dimrt.measure.ceilings import LARGE, Bandwidth, host_bandwidth, operands
from dimrt.measure.onnxwriter import copy_model, product_model
from dimrt.measure.samples import Amount, timed

SIZES = {"cpu": (256, 512, 1024, 2048), "cuda": (4096, 8192)}
"""Of the products. Small ones are over before a busy machine gives its cores to others."""
NO_FP8 = "ONNX Runtime has no fp8 products"
REFUSALS = (
    native.EPFail,
    native.Fail,
    native.InvalidArgument,
    native.InvalidGraph,
    native.NotImplemented,
    native.RuntimeException,
)


class OrtProber:
    """See `dimrt.measure.ceilings.Prober`."""

    def __init__(self, device: str, threads: int | None = None) -> None:
        """Use "cpu" or "cuda", with the threads that a backend would have."""
        self._device = device
        self._threads = choose_threads(usable_cores()) if threads is None else Threads(threads)
        self.threads = (self._threads.count or os.cpu_count() or 1) if device == "cpu" else None
        self.sizes: tuple[int, ...] = SIZES[device]

    def bandwidth(self, amount: Amount) -> Bandwidth:
        """Of the processor through numpy; of a card through a graph that reads and writes a large tensor."""
        if self.threads is not None:
            return host_bandwidth(self.threads, amount)
        count = LARGE // 4
        run = self._bound(copy_model(count), np.ones(count, np.float32))
        nbytes = LARGE
        seconds = timed(run, amount, warm_up=2)
        return Bandwidth(None, 2 * nbytes / min(seconds), nbytes, "a graph that reads and writes one tensor")

    def product(self, kind: str, size: int) -> tuple[Callable[[], None], int]:
        """A graph of one product; it runs one at a time."""
        if kind == "fp8":
            raise ResourceError(NO_FP8)
        left, weights = operands(kind, size)
        return self._bound(product_model(kind, size, weights, left.dtype.name), left), 1

    def close(self) -> None:
        """Sessions end with the functions that run them."""

    def _bound(self, model: bytes, values: NDArray[Any]) -> Callable[[], None]:
        """A run with its input on the device and its output left there."""
        options = session_options(self._threads)
        if self._device != "cpu":  # or what the card has no kernel for would run, and be measured, on the processor
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            session = ort.InferenceSession(model, options, providers=[PROVIDERS[self._device]])
            binding = session.io_binding()
            binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(values, self._device, 0))
            binding.bind_output("y", self._device)
            session.run_with_iobinding(binding)
            binding.bind_ortvalue_output("y", binding.get_outputs()[0])
        except REFUSALS as error:
            raise ResourceError(f"ONNX Runtime refuses it ({str(error).splitlines()[0]})") from error
        return lambda: session.run_with_iobinding(binding)
