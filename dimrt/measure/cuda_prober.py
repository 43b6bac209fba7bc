"""Ceilings of a card that runs TensorRT's engines: copies through the driver, products as engines of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from dimrt.backends.cuda_stream import Event
from dimrt.backends.tensorrt_products import AT_ONCE, Products
from dimrt.errors import BundleError, ResourceError
from dimrt.manifest import TensorSpec
from dimrt.measure.ceilings import Bandwidth, operands
from dimrt.measure.onnxwriter import product_model
from dimrt.measure.samples import Amount

BYTES = 2**30
"""Of the copied array: more than any card's cache."""
SHARE_OF_FREE = 4


class CudaProber:
    """See `dimrt.measure.ceilings.Prober`."""

    threads: int | None = None
    sizes: tuple[int, ...] = (4096, 8192)

    def __init__(self, target: str | Path | None = None) -> None:
        """Use the flavour of a target; None for the GPU's own."""
        self._products = Products(target)

    def close(self) -> None:
        """Give everything back."""
        self._products.close()

    def bandwidth(self, amount: Amount) -> Bandwidth:
        """Of copies on the device, timed by its own clock."""
        lane, device = self._products.lane, self._products.device
        nbytes = min(BYTES, device.memory()[0] // SHARE_OF_FREE)
        source, target = (lane.tensor((nbytes,), "int8", "the measurement of bandwidth") for _ in range(2))
        device.call("cuMemsetD8Async", source.use(lane.stream), 1, nbytes, lane.stream.handle)
        lane.copy(target.use(lane.stream), source.use(lane.stream), nbytes)
        seconds = []
        for _ in amount.turns():
            begin, end = Event(device, timing=True), Event(device, timing=True)
            begin.record(lane.stream)
            lane.copy(target.use(lane.stream), source.use(lane.stream), nbytes)
            end.record(lane.stream)
            end.synchronize()
            seconds.append(end.seconds_since(begin))
        return Bandwidth(None, 2 * nbytes / min(seconds), nbytes, "copies on the device")

    def product(self, kind: str, size: int) -> tuple[Callable[[], None], int]:
        """An engine of one product, of float16 (or float32) in and out."""
        ports: Literal["float32", "float16"] = "float32" if kind == "float32" else "float16"
        model = product_model(kind, size, operands(kind, size)[1], ports)
        x, y = (TensorSpec(name, ports, (size, size)) for name in "xy")
        try:
            return self._products.load(f"{kind} {size}", model, x, y), AT_ONCE
        except BundleError as error:
            raise ResourceError(str(error)) from error
